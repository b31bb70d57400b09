"""What is asked: tasks, how they were come by, and how effort is shared out among them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from quintet.records.base import Link, Links, MaybeLink, Record, Split


class Task(Record):
    """A question with a way to check its answer."""

    later = frozenset({"grounding"})

    family: str
    """The task family that can verify it."""
    level: int
    """Difficulty within the family, from 0."""
    question: str
    """What the solver reads."""
    canonical: str
    """The question's meaning, alike for questions that differ in wording or operand order only."""
    truth: dict[str, Any]
    """What the verifier needs. It never enters a prompt or a row."""
    choices: int | None = None
    """How many answers are possible, where that is fewer than a verdict could hide; `None` means many."""
    split: Split = "train"
    """Who may see it."""
    grounding: Literal["executor", "agreement"] = "executor"
    """What the truth rests on: an executor, data or a rule, or only that the model's own answers agreed."""

    def blind(self) -> Self:
        """The same task under the same id, without the truth: for whoever may not see it."""
        known = self.id
        copy = self.model_copy(update={"truth": {}})
        copy.__dict__["id"] = known
        return copy


class Proposal(Record):
    """The proposer's suggestion of a task, and what became of it."""

    later = frozenset({"how", "seeds", "trial"})

    round: int
    origin: str
    """The source that it is of, such as `drawn` (from a family's generator) or `invented` (by the model)."""
    number: int
    """Its place among the round's proposals of that origin."""
    family: str
    level: int
    task: MaybeLink = None
    """The grounded task, if there is one."""
    call: MaybeLink = None
    """The model call that invented it."""
    content: str = ""
    """What the model wrote, for an invented one."""
    accepted: bool
    reason: str
    """Why it was accepted or dropped."""
    seeds: Links = ()
    """Tasks that it was made from."""
    how: str = ""
    """What was done to them, such as `harder`."""
    trial: MaybeLink = None
    """The call in which the solver tried it before it was accepted."""


class Reward(Record):
    """What a role earned by something it said, once it is known what came of that."""

    round: int
    role: str
    about: Link
    """The record that it is the reward of, such as a proposal."""
    value: float
    reason: str
    """What it was computed from, such as `pass rate 0.25`."""


class Curation(Record):
    """A data set read through its filters: how many rows were kept, and why the others were not."""

    round: int
    family: str
    """The task family that the data set is."""
    read: int
    """Rows read."""
    kept: int
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rows left out, by reason."""
    examples: dict[str, str] = Field(default_factory=dict)
    """By reason, where one such row stands and how it begins."""
    file: str = ""
    """Where every rejected row stands with its reason, relative to the workspace."""


class Allocation(Record):
    """How a round's effort is shared out among what may be practised, and why."""

    round: int
    """The round that it is for."""
    shares: dict[str, float]
    """Share of the round's tasks by arm, such as `drawn/products`; they sum to 1."""
    reason: str
    evidence: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By arm, what the choice rests on: gains seen, tokens spent, the estimate and how unsure it is."""
