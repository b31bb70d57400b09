"""Talks with a run's model: a thread of its own holds model and workspace while it is asked, and lets go soon after."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from quintet.errors import QuintetError
from quintet.records import BASE, Adapter, Message, Part

if TYPE_CHECKING:
    from quintet.graph.solving import Side

ANSWER_SECONDS = 120.0
"""How long both sides together may take over a question, once the model is loaded."""

IDLE_SECONDS = 60.0
"""How long the model stays loaded, and so no run can begin, after the last answer."""

CLOSING_SECONDS = 30.0
"""How long a model that is being loaded is waited for at the end."""

MAX_TOKENS = 200
"""Longest reply."""

SAMPLES = 8
"""Replies of a strategy that asks for several."""


class Turn(Part):
    """What was said before."""

    question: str = Field(max_length=20_000)
    answers: tuple[str, str]


class Question(Part):
    """What both sides are asked."""

    run: str
    adapters: tuple[str, str]
    """Full ids, or `base`."""
    question: str = Field(min_length=1, max_length=20_000)
    strategy: str = ""
    """Empty: a conversation, decoded greedily; else each question is put by itself, as to the solver."""
    history: tuple[Turn, ...] = Field((), max_length=100)


class Told(Part):
    """Something that the page shows."""

    event: Literal["waiting", "loading", "begun", "text", "draft", "step", "answered", "failed", "done"]
    """`text` and `draft` are all that was said so far: `draft` of a strategy that has not settled yet. `failed` with a
    side concerns that side alone."""
    side: int | None = None
    """0 is left, 1 right."""
    text: str = ""
    what: str = ""
    """What a step is."""


Sign = Literal["leave", "end"]
"""What may come instead of a question: let go of the model, or of everything."""


class Talk:
    """Conversations of all visitors, one question at a time. Nothing is loaded before the first."""

    def __init__(self, workspace: Path, idle: float = IDLE_SECONDS, limit: float = ANSWER_SECONDS) -> None:
        """Nothing begins yet.

        Args:
            workspace: Where the runs lie.
            idle: Seconds after the last answer until the model, and with it the workspace, is let go.
            limit: Seconds that a question may take.
        """
        self._path, self._idle, self._limit = workspace, idle, limit
        self._asked: queue.Queue[_Asked | Sign] = queue.Queue()
        self._now: _Asked | None = None
        self._thread: threading.Thread | None = None
        self.holding = ""
        """The run whose model is loaded, or being loaded."""

    async def ask(self, question: Question) -> AsyncGenerator[Told, None]:
        """Put a question; leaving the loop early stops the answer."""
        told: asyncio.Queue[Told | None] = asyncio.Queue()
        asked = _Asked(question, asyncio.get_running_loop(), told)
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="quintet-chat", daemon=True)
            self._thread.start()
        if self._now is not None:
            asked.tell(Told(event="waiting"))
        self._asked.put(asked)
        try:
            while (one := await told.get()) is not None:
                yield one
        finally:
            asked.stop()

    def leave(self) -> None:
        """Let go of the model as soon as nobody waits for an answer."""
        self._asked.put("leave")

    def close(self) -> None:
        """Stop answering, and let go of everything."""
        self._asked.put("end")
        if (now := self._now) is not None:
            now.stop()
        if self._thread is not None:
            self._thread.join(CLOSING_SECONDS)

    def _listen(self) -> None:
        asked: _Asked | Sign = "leave"
        while asked != "end":
            if isinstance(asked, _Asked) and not asked.stopped:
                asked = asyncio.run(self._sit(asked))
            else:
                asked = self._asked.get()

    async def _sit(self, asked: _Asked) -> _Asked | Sign:
        """Answer questions on one run with its model loaded; returns what comes next and is none."""
        from quintet.graph.solving import beside

        run, now = asked.question.run, asked
        following: _Asked | Sign = "leave"
        self.holding, self._now = run, asked
        asked.tell(Told(event="loading"))
        try:
            async with beside(self._path, run, [BASE]) as side:
                while True:
                    await self._answer(side, now)
                    self._now = None
                    following = await asyncio.to_thread(self._next)
                    if not isinstance(following, _Asked) or following.question.run != run:
                        return following
                    self._now = now = following
                    following = "leave"
        except Exception as error:
            now.end(Told(event="failed", text=_reason(error)))
            return following
        finally:
            self.holding, self._now = "", None

    def _next(self) -> _Asked | Sign:
        try:
            return self._asked.get(timeout=self._idle)
        except queue.Empty:
            return "leave"

    async def _answer(self, side: Side, asked: _Asked) -> None:
        answering = asyncio.create_task(self._both(side, asked))
        asked.begun(answering)
        done, _ = await asyncio.wait([answering], timeout=self._limit)
        if not done:
            answering.cancel()
            await asyncio.wait([answering])
            asked.end(Told(event="failed", text=f"no answer within {self._limit:g} s"))
        elif answering.cancelled():
            asked.end(Told(event="failed", text="stopped"))
        elif error := answering.exception():
            asked.end(Told(event="failed", text=_reason(error)))
        else:
            asked.end(Told(event="done"))

    async def _both(self, side: Side, asked: _Asked) -> None:
        for place, adapter in enumerate(asked.question.adapters):
            asked.tell(Told(event="begun", side=place))
            try:
                record = side.table.ledger.get(adapter) if adapter != BASE else None
                if isinstance(record, Adapter):
                    await side.table.serve(record)
                text = await self._one(side, asked, place, adapter)
            except QuintetError as error:
                # The other side may still answer.
                asked.tell(Told(event="failed", side=place, text=_reason(error)))
            else:
                asked.tell(Told(event="answered", side=place, text=text))

    async def _one(self, side: Side, asked: _Asked, place: int, adapter: str) -> str:
        from quintet.graph.solving import reply, solve

        question = asked.question

        def heard(text: str) -> None:
            asked.tell(Told(event="draft" if question.strategy else "text", side=place, text=text))

        if not question.strategy:
            return await reply(side, adapter, _messages(question, place), 0.0, MAX_TOKENS, heard)
        # What a strategy says on the way; of several replies at once nothing is told.
        side.emit.listen(lambda event: heard(event["text"]) if event["event"] == "wave" and event["text"] else None)
        of_one = replace(side, adapters=[adapter])
        [solved] = await solve(of_one, question.question, question.strategy, SAMPLES)
        for step in solved.solution.steps:
            asked.tell(Told(event="step", side=place, what=step.what, text=step.text))
        return solved.solution.text


class _Asked:
    """A question on its way, and where what is said of it goes."""

    def __init__(self, question: Question, loop: asyncio.AbstractEventLoop, told: asyncio.Queue[Told | None]) -> None:
        self.question, self._loop, self._told = question, loop, told
        self.stopped = False
        """Whether nobody waits for the answer any more."""
        self._answering: asyncio.Task[None] | None = None
        self._answered: set[int] = set()

    def begun(self, answering: asyncio.Task[None]) -> None:
        """It is being answered by this task of the running loop."""
        self._answering = answering
        if self.stopped:
            answering.cancel()

    def stop(self) -> None:
        """Answer no further. May be called from any thread."""
        self.stopped = True
        if (answering := self._answering) is not None:
            # Its loop may be gone, with the answer given.
            with contextlib.suppress(RuntimeError):
                answering.get_loop().call_soon_threadsafe(answering.cancel)

    def tell(self, told: Told) -> None:
        """Say something of it."""
        # A reply's last piece may come after the reply.
        if told.side in self._answered:
            return
        if told.side is not None and told.event in ("answered", "failed"):
            self._answered.add(told.side)
        self._put(told)

    def end(self, told: Told) -> None:
        """Say the last of it."""
        self._put(told)
        self._put(None)

    def _put(self, told: Told | None) -> None:
        # Whoever left listens no more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._told.put_nowait, told)


def _messages(question: Question, place: int) -> list[Message]:
    said = []
    for turn in question.history:
        said.append(Message(role="user", content=turn.question))
        said.append(Message(role="assistant", content=turn.answers[place]))
    return [*said, Message(role="user", content=question.question)]


def _reason(error: BaseException) -> str:
    reason = " ".join(str(error).split())
    return reason if isinstance(error, QuintetError) and reason else f"{type(error).__name__}: {reason}"
