"""Holds requests back until all who sit together ask, so that what is answered together depends on no timing.

One barrier may stand before several models: who waits for one of them is not going to ask another, so that nobody waits
for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from quintet.models.clock import clock
from quintet.models.requests import Reply, Request

# Requests wait until nothing new has come for this long and for so many turns of the event loop: tasks that were
# started together then ask together.
_TICK_SECONDS, _TICK_TURNS = 0.005, 10


@dataclass(eq=False)
class Pending:
    """A request that waits for its wave."""

    key: str
    request: Request
    fire: Callable[[list[Pending]], None]
    participant: object | None
    future: asyncio.Future[tuple[Reply, bool]]


class Barrier:
    """What all who sit together wait at, whichever model they ask."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._pending: list[Pending] = []
        self._timer: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def participant(self) -> AsyncIterator[None]:
        """An open episode: until it ends, the requests of all others wait for its next one.

        Tasks started inside belong to it. Enter all participants that start together before any of them asks; those
        that enter within a few milliseconds of one another are waited for.
        """
        me = object()
        self._open.add(me)
        token = seat.set((self, me))
        try:
            with clock().seats(me):
                yield
        finally:
            seat.reset(token)
            self._open.discard(me)
            self._wake()

    async def wait(
        self, key: str, request: Request, fire: Callable[[list[Pending]], None], participant: object | None
    ) -> tuple[Reply, bool]:
        """Hold a request back until it may go, then fire it with those that go to the same place, and wait.

        Returns:
            The reply, and whether it came from the log.
        """
        mine = Pending(key, request, fire, participant, asyncio.get_running_loop().create_future())
        self._pending.append(mine)
        self._wake()
        try:
            with clock().waits(participant):
                return await mine.future
        finally:
            # A cancelled request no longer counts as one that its participant waits for.
            if mine in self._pending:
                self._pending.remove(mine)
                self._wake()

    def _wake(self) -> None:
        """Something changed that may let requests through; look again when the event loop has settled."""
        if self._pending and (self._timer is None or self._timer.done()):
            self._timer = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        seen: list[Pending] = []
        while (ready := self._ready()) and ready != seen:
            seen = ready
            for _ in range(_TICK_TURNS):
                await asyncio.sleep(0)
            await asyncio.sleep(_TICK_SECONDS)
        # Nothing is awaited from here on, so what is ready now is what fires.
        fired = set(ready)
        self._pending = [pending for pending in self._pending if pending not in fired]
        waves: dict[Callable[[list[Pending]], None], list[Pending]] = {}
        for pending in ready:
            waves.setdefault(pending.fire, []).append(pending)
        for fire, wave in waves.items():
            fire(wave)

    def _ready(self) -> list[Pending]:
        """Requests that need not wait: those outside any participant, and the others once all participants ask."""
        asking = {pending.participant for pending in self._pending if pending.participant in self._open}
        if asking == self._open:
            return list(self._pending)
        return [pending for pending in self._pending if pending.participant not in self._open]


seat: ContextVar[tuple[Barrier, object] | None] = ContextVar("seat", default=None)
"""Where whoever calls sits: the barrier, and the participant."""
