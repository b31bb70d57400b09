"""Many requests in flight at once, each with its time limit, while the server is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from quintet.models.vllm.client import Client, LostError, RefusedError, completed, made

_TICK_SECONDS = 0.25
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Sent:
    """What is sent, and how many samples it asks for."""

    body: dict[str, Any]
    samples: int


@dataclass(frozen=True)
class Limits:
    """What a flight may take."""

    parallel: int
    """Samples at once."""
    seconds: float
    """For one answer, from when it is sent."""
    stall_seconds: float
    """Without a sign of work."""


Landed = Callable[[int, dict[str, Any] | RefusedError | None], None]
"""Takes an answer: the place it belongs to, and what came: the response, a refusal, or nothing in time."""


def fly(
    client: Client,
    sent: Mapping[int, Sent],
    limits: Limits,
    gone: Callable[[], str],
    stopped: Callable[[], bool],
    landed: Landed,
) -> None:
    """Ask all, and hand over each answer as it comes.

    Args:
        client: Of the server.
        sent: By place, in the order in which they are sent.
        limits: Of samples at once and of time.
        gone: Why the server is gone, if that can be seen from outside; else nothing.
        stopped: Asked every quarter of a second; True leaves the rest unanswered.
        landed: Called for each answer.

    Raises:
        LostError: The server is gone or stalled; what has not landed may be asked again.
        ServerError: It wants another key.
    """
    asyncio.run(_Flight(client, sent, limits, gone, stopped, landed).run())


class _Flight:
    def __init__(
        self,
        client: Client,
        sent: Mapping[int, Sent],
        limits: Limits,
        gone: Callable[[], str],
        stopped: Callable[[], bool],
        landed: Landed,
    ) -> None:
        self._client, self._limits = client, limits
        self._gone, self._stopped, self._landed = gone, stopped, landed
        self._waiting = list(sent.items())
        self._flying: dict[asyncio.Task[dict[str, Any]], tuple[int, Sent]] = {}
        self._alive = 0.0
        """When the server last gave a sign of work, by the event loop's clock."""

    async def run(self) -> None:
        async with self._client.flying(self._limits.parallel + 1) as http:
            watch = asyncio.create_task(self._watch(http))
            self._alive = asyncio.get_running_loop().time()
            try:
                while (self._waiting or self._flying) and not self._stopped():
                    self._send(http)
                    await asyncio.wait(self._flying, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    await self._land()
                    self._look()
            finally:
                left = [watch, *self._flying]
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def _send(self, http: httpx.AsyncClient) -> None:
        """Send as many as may be worked on at once; a request of more samples goes alone."""
        busy = sum(sent.samples for _, sent in self._flying.values())
        while self._waiting and (not self._flying or busy + self._waiting[0][1].samples <= self._limits.parallel):
            place, sent = self._waiting.pop(0)
            busy += sent.samples
            self._flying[asyncio.create_task(self._ask(http, sent.body))] = (place, sent)

    async def _ask(self, http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(self._limits.seconds):
            return await completed(http, body)

    async def _land(self) -> None:
        """Hand over what came.

        Raises:
            LostError: Some of it says that the server is lost.
        """
        lost: LostError | None = None
        for task in [task for task in self._flying if task.done()]:
            place, _ = self._flying.pop(task)
            answer: dict[str, Any] | RefusedError | None = None
            try:
                answer = task.result()
                self._alive = asyncio.get_running_loop().time()
            except TimeoutError:
                pass
            except LostError as error:
                lost = error
                continue
            except RefusedError as error:
                if await self._is_lost(error):
                    lost = LostError(str(error))
                    continue
                answer = error
            self._landed(place, answer)
        if lost is not None:
            raise lost

    async def _is_lost(self, error: RefusedError) -> bool:
        """Whether a refusal comes from a server that works no more, or from another one, without our adapters."""
        return error.status == 404 or (error.status >= 500 and not await asyncio.to_thread(self._client.healthy))

    def _look(self) -> None:
        if why := self._gone():
            raise LostError(why)
        still = asyncio.get_running_loop().time() - self._alive
        if self._flying and still > self._limits.stall_seconds:
            raise LostError(f"vLLM at {self._client.url} made nothing for {still:.0f} s")

    async def _watch(self, http: httpx.AsyncClient) -> None:
        before = None
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(httpx.HTTPError):
                now = await made(http)
                if now != before or not now:
                    before, self._alive = now, asyncio.get_running_loop().time()
