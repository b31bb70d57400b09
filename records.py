"""The frozen records that all rooms speak: what happened, and which records it came from.

A record's id is a hash of its content and its parents, never of the run or the time, so the same seed gives the
same ids and writing a record twice changes nothing. Wall time and the run are the ledger's business.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

BASE = "base"
"""The name of the model without an adapter, wherever an adapter's id is expected."""

GREEDY = "greedy"
"""The strategy by which evaluations are answered unless another is named."""

Split = Literal["train", "steer", "gate", "retention", "final"]
"""Who may see a question. A canonical question belongs to one split under every seed."""

Suite = Literal["steer", "gate", "retention", "final"]
"""The splits that are evaluated."""

Verdict = Literal["accept", "revise", "reject"]
"""What a judge at the table asks for; the strictest wins: reject > revise > accept."""

By = Literal["rule", "model"]
"""Who made a choice: a rule of ours or the model itself."""


class Parent:
    """Marks a record's field as the id (or ids) of records that it came from."""


Link = Annotated[str, Parent()]
MaybeLink = Annotated[str | None, Parent()]
Links = Annotated[tuple[str, ...], Parent()]


class Part(BaseModel):
    """A frozen value inside a record; it has no id of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Record(Part):
    """A frozen fact with a deterministic id."""

    kind: ClassVar[str]
    """The name under which the ledger keeps this type, and the prefix of its ids."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the kind after the class and enter it in the table of kinds."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.kind = cls.__name__.lower()
        KINDS[cls.kind] = cls

    def identity(self) -> dict[str, Any]:
        """The content that the id is a hash of; all of it unless a subclass says otherwise."""
        return self.model_dump(mode="json")

    @cached_property
    def id(self) -> str:
        """`kind-` and 16 hex digits of the SHA-256 of the identity."""
        return f"{self.kind}-{digest(self.identity())[:16]}"

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the records that this one came from, in field order; the base model is not a record."""
        found: list[str] = []
        for name, field in type(self).model_fields.items():
            if any(isinstance(mark, Parent) for mark in field.metadata):
                value = getattr(self, name)
                found.extend((value,) if isinstance(value, str) else value or ())
        return tuple(dict.fromkeys(id for id in found if id != BASE))

    @classmethod
    def parse(cls, kind: str, body: str | bytes) -> Record:
        """The record of this kind from its JSON body.

        Raises:
            KeyError: No record has this kind.
            pydantic.ValidationError: The body is not such a record.
        """
        return KINDS[kind].model_validate_json(body)

    def with_(self, **changes: Any) -> Self:
        """A validated copy with other values in some fields (and so another id)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


KINDS: dict[str, type[Record]] = {}


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON value with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# --- what is asked -----------------------------------------------------------------------------------------


class Task(Record):
    """A question with a way to check its answer."""

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

    def blind(self) -> Self:
        """The same task under the same id, without the truth: for whoever may not see it."""
        known = self.id
        copy = self.model_copy(update={"truth": {}})
        copy.__dict__["id"] = known
        return copy


class Proposal(Record):
    """The proposer's suggestion of a task, drawn or invented, and what became of it."""

    round: int
    origin: Literal["drawn", "invented"]
    """Drawn from a family's generator, or invented by the model."""
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


# --- what the model said -----------------------------------------------------------------------------------


class Message(Part):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Completion(Part):
    """One sampled reply."""

    text: str
    tokens: tuple[int, ...] = ()
    """Token ids, the end-of-turn token included where it was produced; empty if the model does not tell."""
    logprobs: tuple[float, ...] = ()
    """Natural log-probability of each token under the raw model (temperature 1, all tokens allowed)."""
    behaviour_logprobs: tuple[float, ...] = ()
    """The same under the distribution actually sampled from (temperature, top-k, constraint)."""
    finish: Literal["stop", "length", "time", "error"] = "stop"
    """Why it ended: its own end token, too many tokens, out of time, or a failure."""


class Call(Record):
    """A request to a chat model and its replies: the unit that resume answers from."""

    request: str
    """SHA-256 of everything that determines the replies; two calls with the same request are one."""
    round: int
    role: str
    """Who asked: a role's name, or `evaluation`."""
    task: MaybeLink = None
    turn: int = 0
    """Turn of the conversation, from 0."""
    model: str
    adapter: MaybeLink = BASE
    """The adapter that spoke; `None` for a model that has none."""
    messages: tuple[Message, ...]
    options: dict[str, Any] = {}
    """Sampling options and seed."""
    completions: tuple[Completion, ...] = ()
    prompt_tokens: int = 0
    reported_tokens: int = 0
    """Tokens generated, as its server counts them, where the completions do not hold them."""
    error: str | None = None
    """Why there is no reply, if there is none."""

    def identity(self) -> dict[str, Any]:
        """The request alone: a call is known before its reply is."""
        return {"request": self.request}

    @property
    def completion_tokens(self) -> int:
        """Tokens generated, over all completions."""
        return sum(len(completion.tokens) for completion in self.completions) or self.reported_tokens


class Recalled(Part):
    """A memory that came back, and how far it was from the query."""

    id: str
    distance: float
    """Cosine distance, 0 (same) to 2."""


class Recall(Record):
    """What a role remembered before it spoke."""

    round: int
    role: str
    task: MaybeLink = None
    turn: int = 0
    query: str
    items: tuple[Recalled, ...]
    sources: Links
    """Ids of the memories recalled."""


class Attempt(Record):
    """A solver's answer to a task: one sample of one turn."""

    round: int
    task: Link
    call: Link
    sample: int
    """Which of the call's completions, from 0."""
    turn: int
    """0 for a first attempt, then one more for each revision."""
    revises: MaybeLink = None
    """The failed attempt that this one revises."""
    adapter: MaybeLink = BASE
    text: str
    answer: str | None
    """What the lenient extractor reads in it; decisions rest on this."""
    strict_answer: str | None
    """What the strict extractor reads: only an answer given as asked for."""


class Critique(Record):
    """The critic's judgement of an attempt."""

    round: int
    task: Link
    attempt: Link
    score: float
    """The verifier's score of the lenient answer, 0 to 1."""
    correct: bool
    """Whether that score is full marks."""
    strict: bool
    """Whether the strict answer is correct too."""
    verdict: Verdict
    feedback: str = ""
    """What the critic tells the solver about a failed attempt, in the model's own words."""
    call: MaybeLink = None
    """The model call that wrote the feedback."""
    error: str | None = None
    """Why the verifier could not judge (time limit, crash); the attempt then counts as wrong."""


class Reply(Record):
    """What a joined role said in an episode or a round, or why a role said nothing."""

    round: int
    role: str
    task: MaybeLink = None
    """The episode's task; `None` for what is said of a whole round."""
    turn: int = 0
    call: MaybeLink = None
    content: dict[str, Any] = {}
    """The role's reply model as JSON."""
    verdict: Verdict | None = None
    error: str | None = None
    """Why there is no reply: the role raised, stalled or answered nonsense."""


class Lesson(Record):
    """What was learnt from a task that was failed first and solved on revision."""

    round: int
    task: Link
    attempt: Link
    """The attempt that succeeded."""
    critique: Link
    """The critique whose feedback led to it."""
    text: str


class Retirement(Record):
    """A memory taken out of recall, or put back; the memory itself stays in the ledger."""

    round: int
    """The round that it happened in, and no earlier recall knows of it; 0 where a user did it beside the rounds."""
    memory: Link
    retired: bool
    """Whether it was taken out (else put back)."""
    reason: str
    number: int
    """How many retirements and restorations the memory has had, this one included: each is an event of its own."""


# --- what is learnt ----------------------------------------------------------------------------------------


class Selection(Record):
    """The curator's choice about one attempt, with its reason."""

    round: int
    task: Link
    attempt: Link
    chosen: bool
    reason: str
    scores: dict[str, float] = {}
    """The metrics the choice rests on."""
    by: By = "rule"
    call: MaybeLink = None


class Row(Record):
    """A training example: the model's own verified words."""

    round: int
    task: Link
    attempt: Link
    selection: Link
    prompt: tuple[Message, ...]
    completion: str
    tokens: tuple[int, ...] = ()
    """Token ids of the completion as generated, end-of-turn token included."""
    weight: float = 1.0
    """Weight of its loss."""


class Adapter(Record):
    """A LoRA adapter and what it was made of."""

    round: int
    start: MaybeLink = BASE
    """The adapter whose weights training began from."""
    rows: Links
    recipe: dict[str, Any]
    """Training settings."""
    weights: str
    """SHA-256 of `adapter_model.safetensors`."""
    metrics: dict[str, float] = {}
    """Measured in training: first and last loss, rows, tokens, steps."""
    by: By = "rule"

    def identity(self) -> dict[str, Any]:
        """What it was made of; the weights follow from that."""
        return self.model_dump(mode="json", include={"round", "start", "rows", "recipe"})


# --- whether it helped -------------------------------------------------------------------------------------


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

    round: int
    suite: Suite
    adapter: MaybeLink = BASE
    strategy: str = GREEDY
    """How the answers were got out of the model."""
    tasks: Links
    """Items, in order."""
    answers: tuple[Answer, ...]
    """One for each task, in the same order."""

    def identity(self) -> dict[str, Any]:
        """All of it, but for the strategy that goes without saying: ledgers from before there were others keep ids."""
        return self.model_dump(mode="json", exclude={"strategy"} if self.strategy == GREEDY else set())

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
    evidence: dict[str, float] = {}
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
