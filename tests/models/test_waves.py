from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from small_models import ask

from quintet.models.barrier import Barrier
from quintet.models.errors import ModelError, ServerError
from quintet.models.requests import Progress, Reply, Request
from quintet.models.waves import Wave, Waves
from quintet.records import Call, Completion


class Engine:
    """Answers each request with its own text, and remembers the waves."""

    def __init__(self) -> None:
        self.waves: list[list[str]] = []
        self.fail: Exception | None = None
        self.hold: threading.Event | None = None
        self.was_cancelled = False

    def key(self, request: Request) -> str:
        return request.messages[0].content

    def generate(
        self,
        requests: Sequence[Request],
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        self.waves.append([self.key(request) for request in requests])
        if progress:
            progress(Progress(requests=len(requests), sequences=len(requests), tokens=1))
        while self.hold and not self.hold.wait(0.005):
            if cancelled and cancelled():
                self.was_cancelled = True
                break
        if self.fail:
            raise self.fail
        return [Reply(completions=(Completion(text=self.key(request)),)) for request in requests]


class Log(dict[str, Call]):
    def lookup(self, request: str) -> Call | None:
        return self.get(request)

    def put(self, key: str) -> None:
        self[key] = Call(
            request=key, round=0, role="solver", model="m", messages=(), completions=(Completion(text=f"logged {key}"),)
        )


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def barrier() -> Barrier:
    return Barrier()


async def text(waves: Waves, what: str) -> str:
    return (await waves.submit(ask(what)))[1].completions[0].text


async def test_a_wave_waits_for_every_open_participant(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)

    async def episode(name: str, delay: float, turns: int) -> list[str]:
        async with barrier.participant():
            said = []
            for turn in range(turns):
                await asyncio.sleep(delay)
                said.append(await text(waves, f"{turn}{name}"))
            return said

    said = await asyncio.gather(episode("b", 0.08, 2), episode("a", 0, 3), episode("c", 0.02, 1))
    assert engine.waves == [["0a", "0b", "0c"], ["1a", "1b"], ["2a"]]
    assert list(said) == [["0b", "1b"], ["0a", "1a", "2a"], ["0c"]]


async def test_a_wave_of_thousands_fires_without_delay(engine: Engine, barrier: Barrier) -> None:
    # What a wave costs besides generating grows with its requests, not with their square.
    waves = Waves(engine)

    async def episode(number: int) -> None:
        async with barrier.participant():
            await text(waves, str(number))

    began = time.monotonic()
    await asyncio.gather(*(episode(number) for number in range(3000)))
    assert [len(wave) for wave in engine.waves] == [3000]
    assert time.monotonic() - began < 10


async def test_what_is_generated_can_share_a_thread(engine: Engine) -> None:
    with ThreadPoolExecutor(1) as thread:
        waves = Waves(engine, thread=thread)
        assert await text(waves, "a") == "a"
        waves.close()
        assert thread.submit(lambda: "still open").result() == "still open"


async def test_a_participant_that_ends_or_raises_lets_the_others_go_on(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)

    async def asks() -> str:
        async with barrier.participant():
            return await text(waves, "x")

    async def leaves(error: bool) -> None:
        async with barrier.participant():
            await asyncio.sleep(0.05)
            if error:
                raise RuntimeError("episode failed")

    done = await asyncio.wait_for(
        asyncio.gather(asks(), leaves(False), leaves(True), return_exceptions=True), timeout=2
    )
    assert done[0] == "x"


async def test_a_cancelled_participant_does_not_hold_up_the_others(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)
    never = asyncio.Event()

    async def stuck() -> None:
        async with barrier.participant():
            await never.wait()

    async def asks(name: str) -> str:
        async with barrier.participant():
            return await text(waves, name)

    stalled = asyncio.create_task(stuck())
    first, second = asyncio.create_task(asks("a")), asyncio.create_task(asks("b"))
    await asyncio.sleep(0.05)
    assert engine.waves == []
    first.cancel()
    stalled.cancel()
    assert await asyncio.wait_for(second, 2) == "b"
    assert engine.waves == [["b"]]


async def test_a_request_that_times_out_leaves_its_participant_thinking(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)

    async def impatient() -> str:
        async with barrier.participant():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(text(waves, "first"), 0.03)
            return await text(waves, "second")

    async def slow() -> str:
        async with barrier.participant():
            await asyncio.sleep(0.1)
            return await text(waves, "slow")

    assert list(await asyncio.gather(impatient(), slow())) == ["second", "slow"]
    assert engine.waves == [["second", "slow"]]


async def test_tasks_started_inside_belong_to_the_participant(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)

    async def one() -> None:
        async with barrier.participant():
            await asyncio.gather(text(waves, "a1"), text(waves, "a2"))

    async def other() -> None:
        async with barrier.participant():
            await asyncio.sleep(0.05)
            await text(waves, "b")

    await asyncio.gather(one(), other())
    assert engine.waves == [["a1", "a2", "b"]]


async def test_of_an_engine_that_does_not_repeat_itself_nothing_on_record_is_generated_again(
    engine: Engine, barrier: Barrier
) -> None:
    log = Log()
    log.put("a")
    waves = Waves(engine, log, repeats=False)

    async def episode(name: str) -> tuple[str, bool]:
        async with barrier.participant():
            _, reply, from_log = await waves.submit(ask(name))
            return reply.completions[0].text, from_log

    assert await asyncio.gather(episode("a"), episode("b")) == [("logged a", True), ("b", False)]
    assert engine.waves == [["b"]]
    # One that repeats itself does the wave again, whole: a reply depends on what is in its batch.
    assert await asyncio.gather(*(text(Waves(engine, log), name) for name in ("a", "b"))) == ["logged a", "b"]


async def test_an_error_that_ends_the_run_is_no_failed_rollout_among_others(engine: Engine) -> None:
    engine.fail = ServerError("the server is gone")
    with pytest.raises(ServerError, match="the server is gone"):
        await text(Waves(engine), "a")


async def test_who_waits_for_one_model_is_not_waited_for_by_another(barrier: Barrier) -> None:
    one, other = Engine(), Engine()
    first, second = Waves(one), Waves(other)

    async def episode(waves: Waves, name: str) -> str:
        async with barrier.participant():
            return await text(waves, name)

    asked = [episode(first, "a"), episode(second, "b"), episode(second, "c")]
    assert await asyncio.wait_for(asyncio.gather(*asked), 2) == ["a", "b", "c"]
    assert (one.waves, other.waves) == ([["a"]], [["b", "c"]])


@pytest.mark.parametrize("seed", range(5))
async def test_what_forms_a_wave_of_either_model_depends_on_no_timing(barrier: Barrier, seed: int) -> None:
    # What each episode asks, turn by turn: of the one model, of the other, or of both at once.
    asks = {"p": ["1", "2", "1"], "q": ["2", "2"], "r": ["12", "1", "2", "1"], "s": []}
    timing = random.Random(seed)

    class Slow(Engine):
        def generate(self, requests: Sequence[Request], *rest: Any) -> list[Reply]:
            time.sleep(timing.choice([0, 0.02, 0.06]))
            return super().generate(requests, *rest)

    engines = {"1": Slow(), "2": Slow()}
    waves = {name: Waves(engine) for name, engine in engines.items()}

    async def episode(name: str) -> None:
        async with barrier.participant():
            for turn, models in enumerate(asks[name]):
                await asyncio.sleep(timing.choice([0, 0.02, 0.06]))
                await asyncio.gather(*(text(waves[model], f"{turn}{name}") for model in models))

    await asyncio.wait_for(asyncio.gather(*(episode(name) for name in asks)), 10)
    assert engines["1"].waves == [["0p", "0r"], ["1r"], ["2p"], ["3r"]]
    assert engines["2"].waves == [["0q", "0r"], ["1p", "1q"], ["2r"]]


async def test_requests_outside_fire_together_and_wait_for_no_participant(engine: Engine, barrier: Barrier) -> None:
    waves = Waves(engine)
    async with barrier.participant():
        outside = [asyncio.create_task(text(waves, name)) for name in ("b", "a")]
        await asyncio.gather(*outside)
    engine.waves.clear()
    opened, close = asyncio.Event(), asyncio.Event()

    async def busy() -> None:
        async with barrier.participant():
            opened.set()
            await close.wait()

    task = asyncio.create_task(busy())
    await opened.wait()
    said = await asyncio.wait_for(asyncio.gather(*[text(waves, name) for name in "edc"]), 2)
    close.set()
    await task
    assert list(said) == ["e", "d", "c"]
    assert engine.waves == [["c", "d", "e"]]


async def test_a_wave_is_sorted_by_adapter_and_key_whoever_asked_first(engine: Engine) -> None:
    waves = Waves(engine)
    asked = [ask("d", adapter="y"), ask("b", adapter="y"), ask("c", adapter="x"), ask("a", adapter="z")]
    await asyncio.gather(*[waves.submit(request) for request in asked])
    assert engine.waves == [["c", "b", "d", "a"]]


async def test_equal_requests_are_generated_once(engine: Engine) -> None:
    waves = Waves(engine)
    said = await asyncio.gather(*[text(waves, name) for name in ("a", "b", "a")])
    assert list(said) == ["a", "b", "a"]
    assert engine.waves == [["a", "b"]]


async def test_a_complete_wave_is_answered_from_the_log(engine: Engine) -> None:
    log = Log()
    log.put("a")
    log.put("b")
    waves = Waves(engine, log)
    replies = await asyncio.gather(waves.submit(ask("a")), waves.submit(ask("b")))
    assert [(key, reply.completions[0].text, logged) for key, reply, logged in replies] == [
        ("a", "logged a", True),
        ("b", "logged b", True),
    ]
    assert engine.waves == []


async def test_an_incomplete_wave_is_generated_whole_and_what_is_on_record_stands(engine: Engine) -> None:
    log = Log()
    log.put("a")
    waves = Waves(engine, log)
    replies = await asyncio.gather(waves.submit(ask("a")), waves.submit(ask("b")))
    assert [(reply.completions[0].text, logged) for _, reply, logged in replies] == [("logged a", True), ("b", False)]
    assert engine.waves == [["a", "b"]]


@pytest.mark.parametrize("error", [ModelError("adapter x is damaged"), RuntimeError("out of memory")])
async def test_a_failing_engine_fails_all_who_wait_and_serves_the_next_wave(engine: Engine, error: Exception) -> None:
    waves = Waves(engine)
    engine.fail = error
    got = await asyncio.wait_for(asyncio.gather(text(waves, "a"), text(waves, "b"), return_exceptions=True), 2)
    assert [type(item) for item in got] == [ModelError, ModelError]
    assert all(str(error) in str(item) for item in got)
    engine.fail = None
    assert await text(waves, "c") == "c"


async def test_a_broken_log_fails_the_wave_and_hangs_nobody(engine: Engine) -> None:
    class Broken(Log):
        def lookup(self, request: str) -> Call | None:
            raise OSError("disk")

    with pytest.raises(ModelError, match="disk"):
        await asyncio.wait_for(text(Waves(engine, Broken()), "a"), 2)


async def test_the_event_loop_stays_alive_and_hears_of_progress(engine: Engine) -> None:
    heard: list[Wave] = []
    engine.hold = threading.Event()
    waves = Waves(engine, on_wave=heard.append)
    task = asyncio.create_task(text(waves, "a"))
    await asyncio.sleep(0.1)
    assert [(wave.done, wave.progress.tokens) for wave in heard] == [(False, 0), (False, 1)]
    engine.hold.set()
    await task
    assert [(wave.number, wave.done, wave.progress.tokens) for wave in heard[2:]] == [(1, True, 1)]


async def test_a_wave_that_nobody_waits_for_any_more_is_cancelled(engine: Engine) -> None:
    engine.hold = threading.Event()
    waves = Waves(engine)
    task = asyncio.create_task(text(waves, "a"))
    while not engine.waves:
        await asyncio.sleep(0.01)
    task.cancel()
    for _ in range(100):
        await asyncio.sleep(0.01)
        if engine.was_cancelled:
            break
    assert engine.was_cancelled


async def test_closing_stops_generation_and_refuses_more(engine: Engine) -> None:
    engine.hold = threading.Event()
    waves = Waves(engine)
    task = asyncio.create_task(text(waves, "a"))
    while not engine.waves:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    await asyncio.to_thread(waves.close)
    assert time.monotonic() - began < 2
    await task
    with pytest.raises(ModelError, match="closed"):
        await waves.submit(ask("b"))


def test_sync_requests_need_no_event_loop_and_use_the_log(engine: Engine) -> None:
    log = Log()
    log.put("b")
    waves = Waves(engine, log)
    assert waves.submit_sync(ask("a"))[1].completions[0].text == "a"
    assert waves.submit_sync(ask("b"))[2]
    assert engine.waves == [["a"]]
    waves.close()


def test_one_waves_serves_several_event_loops_in_turn(engine: Engine) -> None:
    waves = Waves(engine)
    assert [asyncio.run(text(waves, name)) for name in "ab"] == ["a", "b"]
