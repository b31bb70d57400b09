"""A time limit that stands still while whoever it binds waits for a wave: how long a wave takes is not their doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar


@asynccontextmanager
async def limited(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """As `asyncio.timeout`, but time spent waiting for a wave does not count.

    Raises:
        TimeoutError: The time is up.
    """
    async with asyncio.timeout(seconds) as limit:
        token = _clock.set(Clock(limit))
        try:
            yield limit
        finally:
            _clock.reset(token)


def clock() -> Clock:
    """The clock of whoever calls; one without a limit where none is set."""
    return _clock.get() or Clock(None)


class Clock:
    """Runs unless those whom it binds wait: all participants that sit down under it, or whoever asks."""

    def __init__(self, limit: asyncio.Timeout | None) -> None:
        self._limit, self._left = limit, 0.0
        self._seated: list[object] = []
        self._waiting: list[object] = []

    def seats(self, who: object) -> AbstractContextManager[None]:
        """While a participant sits."""
        return self._with(self._seated, who)

    def waits(self, who: object) -> AbstractContextManager[None]:
        """While somebody waits for a wave."""
        return self._with(self._waiting, who)

    @contextmanager
    def _with(self, some: list[object], who: object) -> Iterator[None]:
        some.append(who)
        self._look()
        try:
            yield
        finally:
            some.remove(who)
            self._look()

    def _look(self) -> None:
        if self._limit is None:
            return
        still = bool(self._waiting) and set(self._seated) <= set(self._waiting)
        now, when = asyncio.get_running_loop().time(), self._limit.when()
        # A limit that is reached, or whose holder is done, cannot be changed any more; nor need it be.
        with suppress(RuntimeError):
            if still and when is not None:
                self._limit.reschedule(None)
                self._left = when - now
            elif not still and when is None:
                self._limit.reschedule(now + self._left)


_clock: ContextVar[Clock | None] = ContextVar("clock", default=None)
