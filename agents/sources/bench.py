"""What a source works with: the proposer's voice, the examiner, what was practised before and how it went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from quintet.agents.errors import NoAnswerError
from quintet.agents.roles import Answered, Role, RoundRole
from quintet.agents.solver import Solver
from quintet.agents.table import Question, Round, Table
from quintet.records import Attempt, Critique, Part, Proposal, Recall, Recalled, Task
from quintet.tasks.errors import Ungrounded

if TYPE_CHECKING:
    from typing import Literal

    from pydantic import BaseModel

    from quintet.agents.sources.port import Draft, Source
    from quintet.tasks.family import Draft as Worded

RECENT = 3
"""Rounds whose tasks are looked at as seeds, the last ones."""


class Seed(Part):
    """A task that was set before, and how the solver fared."""

    task: Task
    proposal: str
    """Id of the proposal that brought it."""
    rate: float | None = None
    """Share of its first attempts that were right; `None` where it is yet to be attempted."""

    @property
    def middling(self) -> float:
        """How far its pass rate is from one half, 0 to 0.5; an unknown one counts as the farthest."""
        return 0.5 if self.rate is None else abs(self.rate - 0.5)

    @property
    def fared(self) -> str:
        """How the solver fared, in words; empty where that is unknown."""
        return "" if self.rate is None else in_words(self.rate)


@dataclass(frozen=True)
class Trial:
    """What the solver said to a draft before it was accepted."""

    answers: tuple[str | None, ...]
    """As the lenient extractor reads them."""
    right: tuple[bool, ...]
    """What the verifier says to each; empty where the draft has no truth yet."""
    call: str
    """The recorded call."""

    @property
    def rate(self) -> float:
        """Share right."""
        return sum(self.right) / len(self.right) if self.right else 0.0

    def majority(self) -> tuple[str | None, int]:
        """The answer given most often, the first such one, and how often; numbers that are alike count as one."""
        counts: dict[str, int] = defaultdict(int)
        first: dict[str, str] = {}
        for answer in self.answers:
            if answer is not None:
                counts[first.setdefault(_plain(answer), answer)] += 1
        if not counts:
            return None, 0
        best = max(counts, key=lambda answer: counts[answer])
        return best, counts[best]


class Bench:
    """What a source works with in one round.

    Args:
        proposer: Seated.
        round: The round.
        asked: Canonical questions that were asked so far; what is accepted joins them.
    """

    def __init__(self, proposer: RoundRole, round: Round, asked: set[str]) -> None:
        self.proposer, self.round, self.asked = proposer, round, asked
        self.tasks: list[Task] = []
        """The round's tasks so far."""
        self.free: list[str] = []
        """The questions of those that are in the model's own words."""
        self._brought: dict[str, str] = {}

    @property
    def table(self) -> Table:
        """The table."""
        return self.proposer.table

    def took(self, draft: Draft, accepted: Proposal) -> None:
        """Note that a draft was accepted."""
        self.tasks.append(draft.task)
        self.asked.add(draft.task.canonical)
        self._brought[draft.task.id] = accepted.id
        if draft.free:
            self.free.append(draft.task.question)

    def proposable(self, family: str) -> bool:
        """Whether the model can propose typed tasks of a family."""
        return self.table.examiner.families[family].proposal is not None

    def proposal(self, source: Source, number: int, family: str, level: int, **more: Any) -> Proposal:
        """A proposal of this round that is not accepted so far.

        Args:
            source: Whose.
            number: Its place among those of the source and family.
            family: The family.
            level: Its training level.
            more: Other fields of the record: `call`, `content`, `seeds`, `how`, `reason`.
        """
        about = {"round": self.round.number, "origin": source.name, "number": number, "family": family, "level": level}
        return Proposal.model_validate({**about, "accepted": False, "reason": "", **more})

    async def ask(
        self,
        source: Source,
        n: int,
        about: str,
        reply: type[BaseModel] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        **words: Any,
    ) -> Answered:
        """Ask the model, as the proposer, in the source's words.

        Args:
            source: Whose template it is.
            n: Replies wanted.
            about: Tells the questions of one source and round apart; it goes into the seed.
            reply: Constrains the replies to this model's JSON.
            max_tokens: Longest reply; by default the proposer's.
            temperature: By default the proposer's, which is high: a schema keeps the form of typed tasks, not of words.
            words: Variables of the template.

        Raises:
            NoAnswerError: The model gave no answer.
        """
        voice = _Voice(self.proposer, source.words())
        about = f"{source.name}: {about}"
        how: dict[str, Any] = {"reply": reply, "max_tokens": max_tokens, "temperature": temperature}
        return await voice.call(self.round, n=n, about=about, **how, **words)

    async def ground(self, family: str, content: str) -> Task:
        """The typed task that a model's JSON stands for.

        Raises:
            Ungrounded: It stands for none.
        """
        return await self.table.examiner.ground(family, content)

    def task(self, family: str, worded: Worded, grounding: Literal["executor", "agreement"] = "executor") -> Task:
        """A task of a family whose questions are written, not drawn: it is for practice alone."""
        return Task(
            family=family,
            level=worded.level,
            question=worded.question,
            canonical=worded.canonical,
            truth=worded.truth,
            choices=worded.choices,
            grounding=grounding,
        )

    async def recalled(self, query: str, family: str, count: int) -> tuple[list[Task], Recall | None]:
        """Tasks of earlier rounds near a text, and the record of the recall, if anything came back."""
        found = await self.table.memory.recall(query, Task, before=self.round.number, family=family, count=count)
        if not found:
            return [], None
        items = tuple(Recalled(id=memory.id, distance=distance) for memory, distance in found)
        recall = Recall(
            round=self.round.number,
            role=self.proposer.name,
            query=query,
            items=items,
            sources=tuple(item.id for item in items),
        )
        return [memory for memory, _ in found], recall

    def seeds(self, *families: str) -> list[Seed]:
        """Tasks of the last rounds, those of middling pass rate first; in the first round, what was set in it."""
        past = [seed for seed in self._past if seed.task.family in families]
        if not past:
            past = [Seed(task=one, proposal=self._brought[one.id]) for one in self.tasks if one.family in families]
        return sorted(past, key=lambda seed: (seed.middling, seed.task.id))

    def fresh(self, source: Source, how: str, seeds: Sequence[Seed]) -> list[Seed]:
        """The seeds of which a source has not made anything in this way, and then the others."""
        used = {
            seed
            for proposal in self.table.ledger.find(Proposal)
            if proposal.round < self.round.number and (proposal.origin, proposal.how) == (source.name, how)
            for seed in proposal.seeds
        }
        return sorted(seeds, key=lambda seed: seed.task.id in used)

    @cached_property
    def _past(self) -> list[Seed]:
        ledger, now = self.table.ledger, self.round.number
        rates = pass_rates(self.table, range(max(1, now - RECENT), now))
        brought = [p for p in ledger.find(Proposal) if p.accepted and p.task and now - RECENT <= p.round < now]
        tasks = ledger.get_many({proposal.task for proposal in brought if proposal.task})
        seeds = {}
        for proposal in brought:
            task = tasks.get(proposal.task or "")
            if isinstance(task, Task) and task.split == "train":
                rate = rates.get((proposal.round, task.id))
                seeds[task.id] = Seed(task=task, proposal=proposal.id, rate=rate)
        return list(seeds.values())

    async def trial(self, draft: Draft) -> Trial:
        """The solver's first attempts at a draft, as the incumbent, without memory.

        Raises:
            Ungrounded: It gave no answer.
        """
        family, task = self.table.examiner.families[draft.task.family], draft.task
        words: dict[str, Any] = {"ask": family.ask(task.question), "lessons": [], "wrong": False, "feedback": []}
        question = Question(task.question, self.round.number, self.round.incumbent)
        solver: Role = Solver().sit(self.table)
        try:
            said = await solver.call(question, n=draft.samples, about=f"trial: {task.canonical}", **words)
        except NoAnswerError as error:
            raise Ungrounded("could not be tried", str(error)) from error
        texts = [completion.text for completion in said.completions]
        answers = await self.table.examiner.read(task.family, texts)
        judged = await self.table.examiner.judge(task, texts) if task.truth else []
        right = tuple(judgement.correct for judgement in judged)
        return Trial(tuple(answer.lenient for answer in answers), right, said.call)


class _Voice(RoundRole):
    """The proposer, in other words than its own."""

    name: ClassVar[str] = "proposer"

    def __init__(self, proposer: RoundRole, words: str) -> None:
        self.table, self._words = proposer.table, words
        self.persona = proposer.persona  # type: ignore[misc]

    def words(self) -> str:
        return self._words


def pass_rates(table: Table, rounds: Sequence[int]) -> dict[tuple[int, str], float]:
    """Share of first attempts that were right, by round and task."""
    marks: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for number in rounds:
        judged = {critique.attempt: critique.correct for critique in table.ledger.find(Critique, round=number)}
        for attempt in table.ledger.find(Attempt, round=number):
            if attempt.turn == 0 and attempt.id in judged:
                marks[number, attempt.task].append(judged[attempt.id])
    return {key: sum(right) / len(right) for key, right in marks.items()}


def in_words(rate: float) -> str:
    """A pass rate as a model is told it."""
    bounds = [(0.0, "no attempt was right"), (0.2, "few attempts were right"), (0.4, "some attempts were right")]
    bounds += [(0.6, "about half of the attempts were right"), (0.99, "most attempts were right")]
    return next((words for bound, words in bounds if rate <= bound), "every attempt was right")


def _plain(answer: str) -> str:
    """A number without trailing zeros, any other text as it is."""
    from decimal import Decimal, InvalidOperation

    try:
        return str(Decimal(answer).normalize())
    except InvalidOperation:
        return answer.strip().casefold()
