"""Collects model requests into waves, so that batches depend on what is asked and never on who asked first.

A wave is what the barrier lets through at once. It is answered from the call log if the log holds all of it, and
otherwise generated whole, in a worker thread, so that the event loop stays alive. What the log holds stands all the
same; of an engine whose replies depend on chance, it is not even generated again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Protocol

from quintet.models.barrier import Barrier, Pending, seat
from quintet.models.errors import ModelError, SpentError, StoppingError
from quintet.models.requests import Progress, Reply, Request
from quintet.records import Call, Part


class Meter(Protocol):
    """What may still be generated."""

    def meter(self) -> Callable[[int], str]:
        """A function of the tokens of a wave that begins now: why it must stop, or nothing. Called from any thread."""


class CallLog(Protocol):
    """What was answered before."""

    def lookup(self, request: str) -> Call | None:
        """The call with this request hash, if it was answered."""


class Generator(Protocol):
    """What generates a wave: the engine, or a stand-in."""

    def key(self, request: Request) -> str:
        """Hash of everything that determines the replies."""

    def generate(
        self,
        requests: Sequence[Request],
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        """A reply for each request, in order."""


class Wave(Part):
    """How far a wave has come."""

    number: int
    """Counted from 1 over the life of a `Waves`."""
    progress: Progress
    from_log: bool = False
    """Whether it is answered from the log."""
    done: bool = False


class Waves:
    """The way to an engine for everything that runs at once in one event loop.

    Who sits at a `Barrier` waits there for the others; all others are answered as soon as they ask.
    """

    def __init__(
        self,
        engine: Generator,
        log: CallLog | None = None,
        on_wave: Callable[[Wave], None] | None = None,
        budget: Meter | None = None,
        thread: ThreadPoolExecutor | None = None,
        repeats: bool = True,
    ) -> None:
        """Nothing starts before the first request.

        Args:
            engine: Generates.
            log: Answers what was asked before; none: everything is generated.
            on_wave: Told, in the event loop, when a wave starts, goes on and ends.
            budget: Asked before each wave and at each of its steps; each call has the engine's own time limit besides.
            thread: Generates in this one thread, which its owner ends; none: in one of its own.
            repeats: Whether the engine answers the same wave with the same replies.
        """
        self.engine, self.log, self.on_wave, self.budget = engine, log, on_wave, budget
        self._repeats = repeats
        self._owns_thread = thread is None
        self._thread = thread or ThreadPoolExecutor(1, "quintet-engine")
        self._closed = Event()
        self._outside = Barrier()
        self._running: set[asyncio.Task[None]] = set()
        self._count = 0

    async def submit(self, request: Request) -> tuple[str, Reply, bool]:
        """Ask, and wait for the wave.

        Returns:
            The request's key, the reply, and whether it came from the log.

        Raises:
            ModelError: The engine failed, or is closed.
        """
        if self._closed.is_set():
            raise ModelError("the model is closed; open a new one to go on")
        key = self.engine.key(request)
        barrier, me = seat.get() or (self._outside, None)
        reply, from_log = await barrier.wait(key, request, self._fire, me)
        return key, reply, from_log

    def submit_sync(self, request: Request) -> tuple[str, Reply, bool]:
        """Ask from a thread without an event loop: a wave of its own.

        Raises:
            ModelError: The engine failed, or is closed.
        """
        key = self.engine.key(request)
        call = self.log.lookup(key) if self.log is not None else None
        if call is not None:
            return key, _reply(call), True
        try:
            reply = self._thread.submit(self._generate, [request], None, self._closed.is_set).result()[0]
        except Exception as error:
            raise _told(error) from error
        return key, reply, False

    def close(self) -> None:
        """Stop what is being generated at its next step, and end the thread if it is our own."""
        self._closed.set()
        if self._owns_thread:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _fire(self, wave: list[Pending]) -> None:
        task = asyncio.get_running_loop().create_task(self._run(wave))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, wave: list[Pending]) -> None:
        wave.sort(key=lambda pending: (pending.request.adapter, pending.key))
        self._count += 1
        try:
            replies, logged = await self._answer(self._count, wave)
        except Exception as error:
            for pending in wave:
                if not pending.future.done():
                    # One for each: an exception gathers the traceback of whoever it is raised to.
                    failure = _told(error)
                    failure.__cause__ = error
                    pending.future.set_exception(failure)
            return
        finally:
            for pending in wave:
                # Only if this task itself is cancelled: nobody may wait for ever.
                if not pending.future.done() and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    pending.future.cancel()
        for pending in wave:
            if not pending.future.done():
                pending.future.set_result((replies[pending.key], pending.key in logged))

    async def _answer(self, number: int, wave: list[Pending]) -> tuple[dict[str, Reply], Collection[str]]:
        """Replies by key, and the keys of those that came from the log."""
        requests = {pending.key: pending.request for pending in wave}
        calls = {key: self.log.lookup(key) for key in requests} if self.log is not None else {}
        known = {key: _reply(call) for key, call in calls.items() if call is not None}
        if len(known) == len(requests):
            self._tell(Wave(number=number, progress=_beginning(requests), from_log=True, done=True))
            return known, known
        asked = requests if self._repeats else {key: one for key, one in requests.items() if key not in known}
        total = _beginning(asked)
        spent = self.budget.meter() if self.budget is not None else _unlimited
        if why := spent(0):
            raise SpentError(why)
        self._tell(Wave(number=number, progress=total))
        loop = asyncio.get_running_loop()
        latest = total

        def report(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            if self.on_wave is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._tell, Wave(number=number, progress=progress))

        def abandoned() -> bool:
            done = self._closed.is_set() or all(pending.future.done() for pending in wave)
            return done or bool(spent(latest.prompt_tokens + latest.tokens))

        replies = await loop.run_in_executor(self._thread, self._generate, list(asked.values()), report, abandoned)
        self._tell(Wave(number=number, progress=latest, done=True))
        if why := spent(latest.prompt_tokens + latest.tokens):
            # What was generated is not recorded: some of it was cut off, and a resumed run does the wave again, whole.
            raise SpentError(why)
        # What is on record stands: asked in another wave before, it may come out otherwise in this one, and a resumed
        # run would find the record.
        return dict(zip(asked, replies, strict=True)) | known, known

    def _generate(
        self,
        requests: list[Request],
        report: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool],
    ) -> list[Reply]:
        return self.engine.generate(requests, report, cancelled)

    def _tell(self, wave: Wave) -> None:
        if self.on_wave is not None:
            self.on_wave(wave)


def _beginning(requests: Mapping[str, Request]) -> Progress:
    return Progress(requests=len(requests), sequences=sum(request.n for request in requests.values()))


def _unlimited(tokens: int) -> str:
    return ""


def _told(error: Exception) -> ModelError:
    """What went wrong with a wave, for one of those who wait for it."""
    if isinstance(error, StoppingError):
        return type(error)(str(error))
    if isinstance(error, ModelError):
        return ModelError(str(error), fault=error.fault)
    return ModelError(f"generation failed: {type(error).__name__}: {error}", fault=True)


def _reply(call: Call) -> Reply:
    return Reply(completions=call.completions, prompt_tokens=call.prompt_tokens, error=call.error)
