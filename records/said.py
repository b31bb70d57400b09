"""What the roles said: calls and their replies, attempts, critiques, and what was remembered from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from quintet.records.base import BASE, SCORED, Link, Links, MaybeLink, Part, Record, Verdict


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
    options: dict[str, Any] = Field(default_factory=dict)
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
    def scored(self) -> bool:
        """Whether the completion was given, and its tokens' log-probabilities asked."""
        return bool(self.options.get(SCORED))

    @property
    def completion_tokens(self) -> int:
        """Tokens generated, over all completions; none where they were given and only scored."""
        if self.scored:
            return 0
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

    later = frozenset({"transitions"})

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
    transitions: Links = ()
    """In an environment: what was done and what it answered, in order. The text then holds the actions."""


class Transition(Record):
    """One action in an environment, and what the environment answered."""

    later = frozenset({"refused"})

    round: int
    task: Link
    number: int
    """Its place in the trajectory, from 0."""
    before: MaybeLink = None
    """The transition before it."""
    call: Link
    """The call that chose the action."""
    sample: int
    """Which of the call's completions."""
    action: str
    observation: str
    reward: float = 0.0
    done: bool = False
    error: str | None = None
    """Why the environment gave no answer (raised, took too long, answered nonsense); the trajectory ends there."""
    refused: bool = False
    """Whether it was no action that could be done there; such words are never learnt from."""


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
    content: dict[str, Any] = Field(default_factory=dict)
    """The role's reply model as JSON."""
    verdict: Verdict | None = None
    error: str | None = None
    """Why there is no reply: the role raised, stalled or answered nonsense."""


class Lesson(Record):
    """What was learnt from a task that was failed first: from its rescue, or by reflection on the failure."""

    round: int
    task: Link
    attempt: Link
    """The attempt that succeeded on revision, or the failed one that was reflected on."""
    critique: Link
    """The critique whose feedback led to it."""
    text: str


class Skill(Record):
    """A function that the model wrote and that passed its tests, kept to be recalled and composed."""

    round: int
    name: str
    """The function's name."""
    about: str
    """What it does, in a line; skills are recalled by this."""
    code: str
    task: Link
    attempt: Link
    """The attempt that it is from."""
    uses: Links = ()
    """Skills that its code calls."""


class Persona(Record):
    """A new persona for a role, and whether a paired test supports it."""

    round: int
    role: str
    text: str
    parent: MaybeLink = None
    """The persona that it was made from; `None` for the role's own."""
    call: MaybeLink = None
    """The call that proposed it."""
    kept: bool = False
    reason: str
    evaluations: Links = ()
    """Of the old persona and of this one, on the same items."""
    effect: float = 0.0
    """New minus old share right."""
    effect_low: float = 0.0
    effect_high: float = 0.0
    p_value: float = 1.0


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
