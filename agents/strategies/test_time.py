"""Test-time training: a short LoRA step on what the model's own answers agree on, discarded after use."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.solver import Solver
from quintet.agents.strategies.desk import EVER, Desk, Sample
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.agents.table import Question
from quintet.records import BASE, TEMPORARY, Message, Row, Task, digest
from quintet.tasks.environment import EnvironmentFamily
from quintet.training.errors import TrainError

if TYPE_CHECKING:
    from quintet.agents.table import Table
    from quintet.training.settings import TrainingSettings

T = TypeVar("T")


@dataclass
class Voted:
    """A question, and what the samples of it say."""

    desk: Desk
    replies: list[Sample]

    @property
    def tally(self) -> Counter[str]:
        """Votes by answer; a reply without one, or one that was cut off, votes for nothing."""
        return Counter(reply.answer for reply in self.replies if reply.answer is not None and reply.finished)

    def agreed(self, share: float, least: int) -> str | None:
        """The answer of at least that share of all replies, and of so many, if there is one."""
        most = max(self.tally.items(), key=lambda vote: (vote[1], vote[0]), default=("", 0))
        return most[0] if self.replies and most[1] >= max(share * len(self.replies), least) else None


class TrainedAtTestTime(Strategy):
    """Trains on the questions' own majority answers, answers, and forgets (TTRL, Zuo et al. 2025, arXiv 2504.16084).

    All questions of a family that are going to be asked are sampled first, without their truths; where enough samples
    agree, those are rows of a short LoRA step, whose adapter answers greedily and is deleted. Where TTRL rewards the
    majority answer by reinforcement learning, this fits the samples that gave it. Such scores are of a model that has
    seen the questions of the suite: they are recorded under the strategy's name and no gate reads them.
    """

    name = "test_time"
    method = "test-time training"
    paper: ClassVar[str] = "Zuo et al. 2025, arXiv 2504.16084"
    agreement: ClassVar[float] = 0.5
    """Share of the samples that must give an answer before it is a pseudo-label."""
    least_votes: ClassVar[int] = 2
    """Samples that must give it at least: one alone agrees with nobody."""
    rows_each: ClassVar[int] = 2
    """Most rows of one question, the likeliest different samples."""
    least_rows: ClassVar[int] = 4
    """Fewer rows than this are not worth a training."""
    related: ClassVar[int] = 8
    """Questions of the same family that join one that is asked alone."""
    epochs: ClassVar[int] = 1
    """Passes over the rows."""

    def __init__(self, samples: int = 8) -> None:
        super().__init__(samples)
        self._solved: dict[Desk, Solution] = {}

    async def prepare(self, desks: Sequence[Desk]) -> None:
        """Sample, train, answer all questions and delete the adapter, a family at a time."""
        self._solved = {}
        groups: dict[tuple[str, str], list[Desk]] = {}
        for desk in desks:
            groups.setdefault((desk.family.name, desk.question.adapter), []).append(desk)
        for group in groups.values():
            self._solved |= await self._answer(group)

    async def solve(self, desk: Desk) -> Solution:
        """What was answered under the adapter that is gone by now.

        Raises:
            AgentError: `prepare` was not told of this desk.
        """
        if desk not in self._solved:
            raise AgentError(f"{self.name} answers all questions in prepare(), and was not told of this one")
        return self._solved[desk]

    async def _answer(self, desks: list[Desk]) -> dict[Desk, Solution]:
        beside = await self._related(desks[0]) if len(desks) == 1 else []
        table, adapter = desks[0].table, desks[0].question.adapter
        asked = await _together([self._vote(desk) for desk in (*desks, *beside)], table)
        voted = [one for one in asked if one]
        rows = [row for one in voted for row in self._rows(one)]
        votes = {one.desk: _said(one.tally) for one in voted}
        if len(rows) < self.least_rows:
            why = f"{len(rows)} samples agree, {self.least_rows} are needed"
            return await _greedy(desks, adapter, votes, Step(what="not trained", text=why))
        name = f"{TEMPORARY}{digest([row.id for row in rows])[:16]}"
        try:
            with table.registry.temporary(name) as folder:
                fitted = await self._train(table, adapter, rows, folder)
                async with table.lend(name, folder):
                    told = f"{len(rows)} rows of {len({row.task for row in rows})} questions, {fitted}"
                    return await _greedy(desks, name, votes, Step(what="trained", text=told))
        except TrainError as error:
            return await _greedy(desks, adapter, votes, Step(what="not trained", text=str(error)))

    async def _vote(self, desk: Desk) -> Voted | None:
        # The last reply that a budget holds is for the answer.
        n = min(self.samples, desk.room() - 1)
        try:
            return Voted(desk, await desk.sample(n, about="vote")) if n > 0 else None
        except NoAnswerError:
            return None

    def _rows(self, voted: Voted) -> list[Row]:
        """The likeliest different samples that gave the agreed answer, as rows that nobody keeps."""
        agreed = voted.agreed(self.agreement, self.least_votes)
        if agreed is None:
            return []
        texts: dict[str, Sample] = {}
        for reply in sorted(voted.replies, key=lambda reply: (-reply.likelihood, reply.text)):
            if reply.answer == agreed and reply.finished:
                texts.setdefault(" ".join(reply.text.split()), reply)
        prompt = _prompt(voted.desk)
        about = voted.desk.question.task or digest(voted.desk.asked)[:16]
        made = {"round": voted.desk.question.round, "task": about, "attempt": "pseudo-label", "selection": "majority"}
        return [Row(**made, prompt=prompt, completion=one.text) for one in list(texts.values())[: self.rows_each]]

    async def _related(self, desk: Desk) -> list[Desk]:
        """Questions near this one that were asked before, of the same family where that is known."""
        if desk.budget is not None:
            return []
        table, families = desk.table, desk.table.examiner.families
        family = desk.family.name if desk.family.name in families else None
        own = [desk.question.task] if desk.question.task else []
        asked, count = desk.question.question, self.related
        found = await table.memory.recall(asked, Task, before=EVER, family=family, count=count, exclude=own)
        return [
            Desk(table, Question(task.question, desk.question.round, desk.question.adapter, task.id), reading)
            for task, _ in found
            if (reading := families.get(task.family)) and not isinstance(reading, EnvironmentFamily)
        ]

    async def _train(self, table: Table, adapter: str, rows: list[Row], folder: Path) -> str:
        """Make the adapter, from the one that is asked or from the base; what it came to, for people.

        Raises:
            TrainError: It cannot be made.
        """
        from quintet.training.spec import TrainSpec
        from quintet.training.train import train

        async with table.make_room():
            result = await train(
                TrainSpec(
                    model=table.base.path,
                    name=table.base.name,
                    revision=table.base.revision,
                    chat_template=table.base.chat_template,
                    start=None if adapter == BASE else table.registry.path(adapter),
                    rows=tuple(rows),
                    settings=self._settings(table),
                    seed=int(digest((table.seed, self.name, [row.id for row in rows]))[:8], 16),
                    out=folder,
                ),
                lambda progress: table.progress({"event": "step", "stage": self.name, **progress.model_dump()}),
            )
        metrics = result.metrics
        return f"{metrics['steps']:.0f} steps, loss {metrics['first_loss']:.3f} → {metrics['last_loss']:.3f}"

    def _settings(self, table: Table) -> TrainingSettings:
        """The run's recipe, but by plain likelihood and few steps, within what the run's budget leaves."""
        own, left = table.training, table.seconds_left()
        seconds = own.max_seconds if left is None else min(own.max_seconds, max(left, 1.0))
        changes = {"objective": "sft", "objective_options": {}, "epochs": self.epochs, "max_seconds": seconds}
        return own.model_copy(update=changes)


async def _greedy(desks: list[Desk], adapter: str, votes: dict[Desk, str], did: Step) -> dict[Desk, Solution]:
    """The likeliest reply to each question under an adapter."""

    async def one(desk: Desk) -> Solution:
        steps = (Step(what="votes", text=votes.get(desk, "none")), did)
        asked, desk.question = desk.question, replace(desk.question, adapter=adapter)
        try:
            [only] = await desk.sample(temperature=0.0)
        except NoAnswerError:
            return Solution(text="", answer=None, steps=steps)
        finally:
            desk.question = asked
        return Solution(text=only.text, answer=only.answer, steps=steps)

    return dict(zip(desks, await _together([one(desk) for desk in desks], desks[0].table), strict=True))


async def _together(work: Sequence[Coroutine[Any, Any, T]], table: Table) -> list[T]:
    """Do what many do at once, all in the same waves."""

    async def seated(one: Coroutine[Any, Any, T]) -> T:
        async with table.seated():
            return await one

    return list(await asyncio.gather(*map(seated, work)))


def _prompt(desk: Desk) -> tuple[Message, ...]:
    """The question as the solver is asked it."""
    solver = Solver().sit(desk.table)
    words = solver.render(ask=desk.asked, lessons=[], wrong=False, feedback=[])
    return (*solver.opening(), Message(role="user", content=words))


def _said(tally: Counter[str]) -> str:
    votes = sorted(tally.items(), key=lambda vote: (-vote[1], vote[0]))
    return ", ".join(f"{answer} × {count}" for answer, count in votes) or "none"
