"""A limit that waiting for a wave does not use up, and nothing else outwits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from small_models import ask

from quintet.models.barrier import Barrier
from quintet.models.clock import limited
from quintet.models.requests import Reply, Request
from quintet.models.waves import Waves
from quintet.records import Completion


class Slow:
    """Takes a while for every wave."""

    def key(self, request: Request) -> str:
        return request.messages[0].content

    def generate(self, requests: Sequence[Request], *_: object) -> list[Reply]:
        time.sleep(0.5)
        return [Reply(completions=(Completion(text=""),)) for _ in requests]


@pytest.fixture
def waves() -> Iterator[Waves]:
    waves = Waves(Slow())
    yield waves
    waves.close()


async def expired(work: Awaitable[object], seconds: float = 0.25) -> bool:
    """Whether the limit cut this short."""
    try:
        async with limited(seconds) as limit:
            await work
    except TimeoutError:
        assert limit.expired()
        return True
    return False


async def test_waiting_for_a_wave_does_not_count(waves: Waves) -> None:
    assert not await expired(waves.submit(ask("a")))


async def test_neither_does_waiting_for_others_to_ask(waves: Waves) -> None:
    barrier = Barrier()

    async def asks() -> bool:
        async with barrier.participant():
            return await expired(waves.submit(ask("a")))

    async def thinks() -> None:
        async with barrier.participant():
            await asyncio.sleep(0.4)

    assert not (await asyncio.gather(asks(), thinks()))[0]


async def test_what_comes_before_and_after_a_wave_counts(waves: Waves) -> None:
    async def act() -> None:
        await asyncio.sleep(0.15)
        await waves.submit(ask("a"))
        await asyncio.sleep(0.15)

    began = time.monotonic()
    assert await expired(act())
    assert time.monotonic() - began > 0.7
    assert not await expired(act(), 0.6)


async def test_a_request_that_fails_or_is_given_up_sets_the_clock_going(waves: Waves) -> None:
    async def act() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waves.submit(ask("a")), 0.05)
        await asyncio.sleep(60)

    assert await asyncio.wait_for(expired(act()), 5)


async def test_of_several_who_sit_under_one_limit_all_must_wait(waves: Waves) -> None:
    # One that stalls holds up the wave of the others: with the clock stopped for these, nobody would ever end it.
    barrier = Barrier()

    async def asks() -> None:
        async with barrier.participant():
            await waves.submit(ask("a"))

    async def stalls() -> None:
        async with barrier.participant():
            await asyncio.sleep(60)

    async def act(*acts: Coroutine[Any, Any, None]) -> None:
        await asyncio.gather(*acts)

    assert await asyncio.wait_for(expired(act(asks(), stalls())), 5)
    assert not await expired(act(asks(), asks()))


async def test_who_outlives_the_limit_may_still_ask(waves: Waves) -> None:
    async with limited(5):
        late = asyncio.create_task(waves.submit(ask("a")))
    assert (await late)[0] == "a"


def test_a_thread_may_ask_under_a_limit(waves: Waves) -> None:
    async def act() -> None:
        await asyncio.to_thread(waves.submit_sync, ask("a"))

    assert not asyncio.run(expired(act(), 2))
