"""Whether it helped: evaluations, decisions, and what a round leaves to the next."""

from __future__ import annotations

from pydantic import Field

from quintet.records.base import BASE, GREEDY, Link, Links, MaybeLink, Part, Record, Split


class Answer(Part):
    """A model's greedy answer to an evaluation item."""

    task: str
    text: str
    answer: str | None
    score: float
    correct: bool
    """By the lenient extractor."""
    strict: bool
    """By the strict extractor."""


class Evaluation(Record):
    """One adapter on one suite."""

    later = frozenset({"strategy", "tokens"})

    round: int
    suite: Split
    """Whose items these are; `train` for fresh practice questions, which no round had been asked."""
    adapter: MaybeLink = BASE
    strategy: str = GREEDY
    """How the answers were got out of the model."""
    tasks: Links
    """Items, in order."""
    answers: tuple[Answer, ...]
    """One for each task, in the same order."""
    tokens: int | None = None
    """Tokens generated for all answers together, where a strategy gave them."""

    @property
    def n(self) -> int:
        """How many items."""
        return len(self.answers)

    @property
    def correct(self) -> int:
        """Items right by the lenient extractor."""
        return sum(answer.correct for answer in self.answers)

    @property
    def strict(self) -> int:
        """Items right by the strict extractor."""
        return sum(answer.strict for answer in self.answers)


class Decision(Record):
    """The gate's decision about a candidate."""

    round: int
    candidate: MaybeLink = None
    """`None` where the round trained nothing."""
    incumbent: MaybeLink = BASE
    promoted: bool
    reason: str
    evaluations: Links = ()
    """Gate: incumbent, candidate; retention: incumbent, candidate."""
    won: int = 0
    """Gate items only the candidate has right."""
    lost: int = 0
    """Gate items only the incumbent has right."""
    effect: float = 0.0
    """Candidate's minus incumbent's share of gate items right."""
    effect_low: float = 0.0
    effect_high: float = 0.0
    p_value: float = 1.0
    alpha: float = 0.0
    """What the p-value had to be below in this round."""


class Rollback(Record):
    """Promoted adapters taken back; an earlier one, or the base, is the incumbent again."""

    round: int
    """The last round before it."""
    adapter: MaybeLink = BASE
    """The incumbent from here on."""
    retired: Links
    """The adapters taken back."""
    reason: str
    number: int
    """How many rollbacks the run has had, this one included."""


class Curriculum(Record):
    """The training levels that a round leaves to the next, and why."""

    round: int
    levels: dict[str, int]
    """Family to training level."""
    reason: str
    evidence: dict[str, float] = Field(default_factory=dict)
    """Pass rate by family at the level trained on."""


class Monitors(Record):
    """A round's watch for the known failures."""

    round: int
    values: dict[str, float]
    alarms: tuple[str, ...] = ()


class Opening(Record):
    """An opening of the final suite; every one is on record."""

    round: int
    number: int
    """How many openings the run has had, this one included."""
    tasks: Links


class Verification(Record):
    """The run's result: base against promoted on a final suite nobody has seen."""

    round: int
    opening: Link
    base: Link
    """Evaluation of the base model."""
    promoted: MaybeLink = None
    """Evaluation of the promoted adapter; `None` if none was promoted."""
    effect: float = 0.0
    effect_low: float = 0.0
    effect_high: float = 0.0
    p_value: float = 1.0


class Stage(Record):
    """The end of a stage of a round; its seconds stand in the ledger's column."""

    round: int
    name: str
