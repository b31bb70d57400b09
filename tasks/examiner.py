"""The examiner: sets tasks, acts and judges answers, under time limits, in one process that can be killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from quintet.records import Part, Split, Task
from quintet.tasks.environment import EnvironmentFamily, Outcome
from quintet.tasks.errors import LevelError, LevelTooNarrow, TaskError, Ungrounded
from quintet.tasks.families import load_families, nearest
from quintet.tasks.family import Draft, Extracted, TaskFamily
from quintet.tasks.process import Worker, WorkerGone
from quintet.tasks.settings import TaskSettings
from quintet.tasks.splits import split_of

__all__ = ["Examiner", "Judgement", "Stepped", "Told", "load_families"]

T = TypeVar("T")
Stop = Callable[[], bool]

FULL_MARKS = 1.0 - 1e-9
"""A score from here on is correct."""


class Judgement(Part):
    """What the verifier found in one text."""

    answer: str | None
    """What the lenient extractor reads; `None` if nothing."""
    strict_answer: str | None
    """What the strict extractor reads."""
    score: float
    """Of the lenient answer, 0 to 1."""
    correct: bool
    """Whether that is full marks."""
    strict: bool
    """Whether the strict answer gets full marks."""
    error: str | None = None
    """Why the text could not be judged (exception, time limit, crash); it then scores 0."""


class Stepped(Part):
    """What came of an action in an environment."""

    outcome: Outcome | None = None
    """What it answered."""
    error: str | None = None
    """Why it gave no answer (exception, time limit, crash, nonsense); the episode is then over."""


class Told(Part):
    """What an environment family makes of words."""

    text: str = ""
    error: str | None = None
    """Why it makes nothing of them (exception, time limit, crash, nonsense)."""


class Examiner:
    """Task families and the worker process that runs their code.

    The process starts at the first request (about a second) and ends with `close`, with the parent, or when a
    request exceeds its time; then the next request starts a new one.

    Args:
        families: The families it knows; names must differ.
        settings: Shares and limits.

    Raises:
        TaskError: Two families have the same name.
    """

    def __init__(self, families: Sequence[TaskFamily], settings: TaskSettings | None = None) -> None:
        self.settings = settings or TaskSettings()
        self.families: dict[str, TaskFamily] = {}
        for family in families:
            if family.name in self.families:
                raise TaskError(f"two task families are named {family.name!r}: rename one")
            self.families[family.name] = family
            family.heed(self.settings)
        self._worker = Worker(families, self.settings.start_seconds, self.settings.memory_mb)
        # One thread makes all calls: requests queue up, and the worker lives exactly as long as that thread.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quintet-tasks")
        self._closing = threading.Event()

    async def draw(
        self, family: str, level: int, seed: int, count: int, split: Split, exclude: Container[str] = ()
    ) -> list[Task]:
        """Distinct questions of one level and split, the same for the same arguments.

        Args:
            family: The family's name.
            level: Its level, from 0.
            seed: Fixes which questions come, and their order.
            count: How many.
            split: Whose questions; a question belongs to one split under every seed.
            exclude: Canonical questions that must not come.

        Raises:
            LevelTooNarrow: The level holds fewer such questions.
            LevelError: There is no such level, its generator refuses it, or it takes too long.
            TaskError: There is no such family.
        """
        known = self._family(family)
        if not 0 <= level < known.levels:
            raise LevelError(f"{family} has levels 0 to {known.levels - 1}, not {level}")
        return await self._run(lambda stop: self._draw(family, level, seed, count, split, exclude, stop))

    async def ground(self, family: str, content: str) -> Task:
        """The task that a model's JSON proposes, its truth computed by the family's executor.

        Args:
            family: The family's name.
            content: JSON after the family's `proposal` schema.

        Raises:
            Ungrounded: It stands for no task; `reason` says why in a few stable words.
        """
        if family not in self.families:
            raise Ungrounded("unknown family", nearest(family, self.families))
        if len(content) > self.settings.text_characters:
            raise Ungrounded("malformed", f"longer than {self.settings.text_characters} characters")
        return await self._run(lambda stop: self._ground(family, content))

    def split(self, canonical: str) -> Split:
        """Who may see a question of this canonical form."""
        return split_of(canonical, self.settings.shares, self.settings.deal)

    async def read(self, family: str, texts: Sequence[str]) -> list[Extracted]:
        """The answers in each text, in order; none where the family's own code fails or takes too long.

        Raises:
            TaskError: There is no such family.
        """
        self._family(family)
        return await self._run(lambda stop: [self._read(family, text) for text in texts if not stop()])

    async def judge(self, task: Task, texts: Sequence[str]) -> list[Judgement]:
        """A judgement of each text, in order; whatever goes wrong with one costs only that one.

        Raises:
            TaskError: There is no such family.
        """
        self._family(task.family)
        return await self._run(lambda stop: [self._judge(task, text) for text in texts if not stop()])

    async def step(self, task: Task, actions: Sequence[str], known: Sequence[Outcome] = ()) -> Stepped:
        """What a task's environment answers to the last of the actions.

        All of them are done anew from its beginning, so that neither a worker's death nor a resume loses anything.

        Args:
            task: Of an environment family.
            actions: From the first on.
            known: What the earlier ones were answered; an environment that answers otherwise now is at fault.

        Raises:
            TaskError: There is no such family, or it is no environment.
        """
        self._environment(task.family)
        return await self._run(lambda stop: self._step(task, actions, known))

    async def tell(self, family: str, what: Literal["action", "invite"], words: str) -> Told:
        """What an environment family makes of words: its code is anybody's, and the words are a model's.

        Args:
            family: Its name.
            what: `action` reads the action in a reply, `invite` puts an observation into the next user message.
            words: The reply, or the observation.

        Raises:
            TaskError: There is no such family, or it is no environment.
        """
        self._environment(family)
        return await self._run(lambda stop: self._tell(family, what, words))

    def close(self) -> None:
        """End the worker process at once; the examiner is of no use after."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._worker.kill()
        self._thread.submit(self._worker.stop)
        self._thread.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self, work: Callable[[Stop], T]) -> T:
        """Do the work in the examiner's thread; if the caller is cancelled, it stops at the next request."""
        if self._closing.is_set():
            raise TaskError("the examiner is closed: make a new one")
        cancelled = threading.Event()
        try:
            done = await asyncio.get_running_loop().run_in_executor(
                self._thread, work, lambda: cancelled.is_set() or self._closing.is_set()
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise
        if self._closing.is_set():
            raise TaskError("the examiner was closed during a request")
        return done

    def _family(self, name: str) -> TaskFamily:
        if name not in self.families:
            raise TaskError(nearest(name, self.families))
        return self.families[name]

    def _environment(self, name: str) -> None:
        if not isinstance(self._family(name), EnvironmentFamily):
            raise TaskError(f"{name} is no environment: its questions are answered at once")

    def _draw(
        self,
        family: str,
        level: int,
        seed: int,
        count: int,
        split: Split,
        exclude: Container[str],
        stop: Stop,
    ) -> list[Task]:
        wanted = count
        where = f"{family} level {level}"
        while True:
            reply = self._drawn(family, level, seed, wanted, split, where)
            drafts = [Draft.model_validate(draft) for draft in reply["drafts"]]
            fresh = [draft for draft in drafts if draft.canonical not in exclude]
            if len(fresh) >= count or stop():
                return [self._task(family, draft, level) for draft in fresh[:count]]
            if reply["end"] == "time":
                seconds = self.settings.draw_seconds
                raise LevelError(
                    f"{where}: only {len(fresh)} of {count} questions within {seconds:g} s; raise draw_seconds"
                )
            if reply["end"] == "exhausted":
                raise LevelTooNarrow(family, level, split, found=len(fresh), needed=count)
            # The same draw again, longer: `exclude` may be any container, so it cannot be sent along.
            wanted = 2 * wanted + count

    def _drawn(self, family: str, level: int, seed: int, count: int, split: Split, where: str) -> dict[str, Any]:
        seconds = self.settings.draw_seconds
        request = {
            "do": "draw",
            "family": family,
            "level": level,
            "seed": seed,
            "count": count,
            "split": split,
            "shares": self.settings.shares,
            "deal": self.settings.deal,
            "patience": self.settings.patience,
            "seconds": 0.9 * seconds,
        }
        try:
            reply = self._worker.call(request, seconds)
        except WorkerGone as gone:
            advice = "; raise draw_seconds under [tasks]" if gone.timed_out else ""
            raise LevelError(f"{where}: its generator {gone}{advice}", fault=True) from gone
        if "error" in reply:
            raise LevelError(f"{where}: its generator failed: {reply['error']}")
        return reply

    def _ground(self, family: str, content: str) -> Task:
        try:
            reply = self._worker.call(
                {"do": "ground", "family": family, "content": content}, self.settings.verify_seconds
            )
        except WorkerGone as gone:
            raise Ungrounded("executor timed out" if gone.timed_out else "executor failed", str(gone)) from gone
        if "reason" in reply:
            raise Ungrounded(reply["reason"], reply.get("detail", ""), reply.get("canonical", ""))
        draft = Draft.model_validate(reply["draft"])
        return self._task(family, draft, draft.level)

    def _read(self, family: str, text: str) -> Extracted:
        request = {"do": "read", "family": family, "text": text[-self.settings.text_characters :]}
        try:
            reply = self._worker.call(request, self.settings.verify_seconds)
        except WorkerGone:
            # What the verifier makes of the text is on record with its reason; this is but the answer as read.
            return Extracted(lenient=None, strict=None)
        return Extracted(lenient=reply["lenient"], strict=reply["strict"])

    def _step(self, task: Task, actions: Sequence[str], known: Sequence[Outcome]) -> Stepped:
        request = {
            "do": "step",
            "family": task.family,
            "truth": task.truth,
            "actions": list(actions),
            "known": [outcome.model_dump(mode="json") for outcome in known],
        }
        try:
            reply = self._worker.call(request, self.settings.verify_seconds)
        except WorkerGone as gone:
            return Stepped(error=f"the environment {gone}")
        return Stepped.model_validate(reply)

    def _tell(self, family: str, what: str, words: str) -> Told:
        request = {"do": "tell", "family": family, "what": what, "words": words}
        try:
            reply = self._worker.call(request, self.settings.verify_seconds)
        except WorkerGone as gone:
            return Told(error=f"{what} {gone}")
        return Told.model_validate(reply)

    def _judge(self, task: Task, text: str) -> Judgement:
        request = {
            "do": "judge",
            "family": task.family,
            "truth": task.truth,
            "text": text[-self.settings.text_characters :],
        }
        try:
            reply = self._worker.call(request, self.settings.verify_seconds)
        except WorkerGone as gone:
            return Judgement(
                answer=None,
                strict_answer=None,
                score=0.0,
                correct=False,
                strict=False,
                error=f"verifier {gone}",
            )
        strict_score = reply.pop("strict_score")
        if reply["error"]:
            reply["score"] = strict_score = 0.0
        return Judgement(**reply, correct=reply["score"] >= FULL_MARKS, strict=strict_score >= FULL_MARKS)

    def _task(self, family: str, draft: Draft, level: int) -> Task:
        return Task(
            family=family,
            level=level,
            question=draft.question,
            canonical=draft.canonical,
            truth=draft.truth,
            choices=draft.choices,
            split=split_of(draft.canonical, self.settings.shares, self.settings.deal),
        )
