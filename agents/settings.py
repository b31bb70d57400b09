"""Settings of the five players, and of any role that joins them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from quintet.records import Part
from quintet.tasks.written import NAME as WRITTEN

Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[int, Field(ge=0)]

PLAYERS = ("proposer", "solver", "critic", "curator", "trainer")
"""The five whose settings are a section each."""


class RoleSettings(Part):
    """What every role has."""

    persona: str | None = None
    """Replaces the role's persona (its system message); `None` keeps the class's own."""
    template: str | None = None
    """Replaces the role's words: a Jinja template, or the path of one; `None` keeps the class's own."""
    temperature: float = Field(0.8, ge=0)
    """Sampling temperature; 0 is greedy. A small model babbles at 1."""
    top_k: int = Field(20, ge=0)
    """Sample among the k likeliest tokens; 0 is all of them."""
    max_tokens: int = Field(48, gt=0)
    """Longest reply, in tokens."""
    seconds: float = Field(900.0, gt=0)
    """Longest time for one act, in seconds; past it the reply is lost, not the round. Waiting for a model that Quintet
    serves does not count: its calls have a limit of their own, `model.call_seconds`."""
    chat: str = ""
    """Chat model it speaks through, a section of `chats`; empty is the model that is trained. Not for the solver, whose
    attempts are what is trained on."""
    adapter: str = ""
    """Adapter it speaks under: an id from `quintet adapters`, `base`, or empty for the incumbent, which changes as
    rounds promote. Not for the solver."""


class JoinedSettings(RoleSettings):
    """Settings of a role that joined the five."""

    max_tokens: int = Field(96, gt=0)
    """Longest reply, in tokens."""
    rounds: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Rounds in which it speaks; `None` is every round."""


class ProposerSettings(RoleSettings):
    """Settings of the proposer."""

    families: tuple[str, ...] = ("chain_sum", "products", "gcd")
    """Task families to train on."""
    start_level: dict[str, Level] = Field(default_factory=dict)
    """Level at which training begins, by family (0 where none is named), or one number for all; it climbs as the
    model learns. Best is a level where the model as found is right now and then."""
    tasks: int = Field(32, gt=0)
    """Tasks drawn for each family and round, at its present level."""
    invented: int = Field(6, ge=0)
    """Proposals asked of the model for each family and round, besides the drawn ones."""
    sources: tuple[str, ...] = Field(("drawn", "invented"), min_length=1)
    """Where tasks come from, in the order in which they are asked: names from the entry-point group `quintet.sources`.
    How many of `drawn` and `invented` there are say `tasks` and `invented`."""
    each: int = Field(4, ge=0)
    """Proposals asked of every other source for each family and round."""
    mix: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """The same by source, where it is to be another number."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of sources, a section each: the arguments of their constructors."""
    temperature: float = Field(1.0, ge=0)
    """Higher than the solver's: the schema keeps the form, and variety is wanted."""
    allocate: str = ""
    """How a round's tasks are shared out among sources and families, from the entry-point group `quintet.bandits`:
    `uniform`, `thompson` or `linucb`, which learn from the steer suite; empty gives each its fixed number."""
    least_share: Share = 0.05
    """Least share of a round's tasks that an arm gets, so that none starves; one arm's even share at most."""
    warm_up: int = Field(1, ge=0)
    """Rounds of even shares before the steer suite is heeded."""
    near_levels: bool = False
    """Whether the levels beside a family's present one are arms of their own; drawn tasks only."""

    @model_validator(mode="before")
    @classmethod
    def _one_start_level_is_that_of_all(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(level := given.get("start_level"), int):
            families = given.get("families", cls.model_fields["families"].default)
            return {**given, "start_level": dict.fromkeys(families, level)}
        return given

    @field_validator("families")
    @classmethod
    def _they_can_be_drawn_from(cls, families: tuple[str, ...]) -> tuple[str, ...]:
        if WRITTEN in families:
            raise ValueError(
                f"{WRITTEN!r} is where sources such as self_instruct put questions in free words, and nobody draws "
                "from it: name what they start from, such as chain_sum, and them in proposer.sources"
            )
        return families

    @model_validator(mode="after")
    def _start_levels_are_of_families(self) -> Self:
        if unknown := set(self.start_level) - set(self.families):
            raise ValueError(
                f"start_level names {', '.join(sorted(unknown))}, which proposer.families does not "
                f"({', '.join(self.families)})"
            )
        return self

    @model_validator(mode="after")
    def _sources_are_each_named_once(self) -> Self:
        if len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources names one twice: {', '.join(self.sources)}")
        for section in ("mix", "options"):
            if unknown := [name for name in getattr(self, section) if name not in self.sources]:
                there = ", ".join(self.sources)
                raise ValueError(f"{section} names {unknown[0]!r}, which proposer.sources does not ({there})")
        for name, setting in (("drawn", "tasks"), ("invented", "invented")):
            if name in self.mix:
                raise ValueError(f"mix names {name!r}: how many of these there are says proposer.{setting}")
        return self

    def levels(self) -> dict[str, int]:
        """The level of each family in the first round."""
        return {family: self.start_level.get(family, 0) for family in self.families}


class SolverSettings(RoleSettings):
    """Settings of the solver."""

    samples: int = Field(8, gt=0)
    """First attempts at a task (k). More find right answers to harder tasks, at a cost in proportion."""
    turns: int = Field(2, gt=0)
    """Turns of an episode: 1 is a first attempt only, each further one a revision."""
    revise: int = Field(1, ge=0)
    """Failed attempts revised per task and turn."""
    revise_below: Share = 0.5
    """Revise only where a smaller share of first attempts was right: elsewhere there is enough to learn from."""
    revise_share: Share = 1.0
    """Share of tasks that may be revised at all, chosen by their ids: revision rescues few attempts of a small model
    for the tokens it takes."""
    show_failed: bool = False
    """Whether a revision sees the failed attempt. A small model repeats it: of SmolLM2-135M's revisions 4 of 384 were
    right where it did, and 53 where exemplars and advice alone were shown; 29 of 384 fresh samples were right."""
    exemplars: int = Field(1, ge=0)
    """Own verified attempts at other tasks recalled for a revision."""
    lessons: int = Field(1, ge=0)
    """Lessons recalled for a revision."""
    recall_at_first: bool = False
    """Whether first attempts of training episodes recall too."""

    @model_validator(mode="after")
    def _speaks_as_the_incumbent(self) -> Self:
        for name in ("chat", "adapter"):
            if getattr(self, name):
                raise ValueError(f"{name}: the solver speaks through the model that is trained, under the incumbent")
        return self


class CriticSettings(RoleSettings):
    """Settings of the critic."""

    temperature: float = Field(0.0, ge=0)
    """Greedy: advice gains nothing from variety."""
    max_tokens: int = Field(40, gt=0)
    """Longest feedback, its JSON braces included."""
    advise: bool = True
    """Whether it tells the solver what to mend; if not, failed attempts are revised without a word from it."""


class CuratorSettings(RoleSettings):
    """Settings of the curator."""

    rows_per_task: int = Field(4, gt=0)
    """Most rows from one task, the shortest first: neither easy tasks nor ramblings shall crowd out the rest. Here a
    trajectory counts as one."""
    row_budget: int = Field(400, gt=0)
    """Most rows in a round; the hardest and newest tasks come first. A trajectory in an environment gives one for each
    action, all of them or none."""
    metrics: tuple[str, ...] = ()
    """Further metrics of each attempt that are computed and recorded, from the entry-point group `quintet.metrics`;
    correctness, pass rate, novelty, distance to evaluation items and tokens always are."""
    prefer: tuple[str, ...] = ("pass_rate", "-novelty")
    """Metrics by which rows are ranked when there are more than the budget, the smallest first; a `-` before a name
    puts the largest first. By default the hardest tasks, and of these the newest."""
    rules: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Further rankings by name, each written as `prefer` is, among which `allocate` shares out the row budget."""
    allocate: str = ""
    """How the row budget is shared out among `rules`: a name from the entry-point group `quintet.bandits`, as for
    `proposer.allocate`, whose `least_share` and `warm_up` hold here too; empty ranks by `prefer` alone."""
    weights: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Weights by metric; a negative one says that smaller is better. Each metric's scores become ranks from 0 to 1
    among the round's attempts worth learning, and the weighted sum is recorded as the score `worth`. With weights, the
    worthiest rows of a task are kept instead of the shortest; across tasks, say `prefer = ["-worth"]`."""
    per_family: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Largest share of `row_budget` that one family may take, so that none crowds out the others."""
    per_answer: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Largest share of a family's rows in a round that may give one and the same answer: an answer that is often right
    by chance crowds the rows otherwise, and then the guesses. Families with fewer than ten possible answers are left
    out."""
    rescore: int = Field(0, ge=0)
    """Old rows scored anew each round under the incumbent, the stalest first, by those of `metrics` that can be:
    `perplexity` and `ifd`."""
    at_least: dict[str, float] = Field(default_factory=dict)
    """Bounds by metric: an attempt that scores less gives no row."""
    at_most: dict[str, float] = Field(default_factory=dict)
    """Bounds by metric: an attempt that scores more gives no row."""
    easy: Share = 1.0
    """Tasks whose pass rate is above this teach nothing more and give no rows; 1 keeps all."""
    longest: int = Field(48, gt=0)
    """Longest completion worth learning, in tokens."""
    duplicate_distance: float = Field(0.02, ge=0)
    """Free-text tasks closer than this (cosine) to a remembered one are near-duplicates."""

    @model_validator(mode="after")
    def _metrics_are_computed(self) -> Self:
        computed = {"correct", "pass_rate", "novelty", "held_out_distance", "tokens", *self.metrics}
        if self.weights and "worth" in computed:
            raise ValueError("the score `worth` is what weights make of the others: no metric may have its name")
        if self.allocate and len(self.rules) < 2:
            raise ValueError("allocate shares rows out among rules: name two or more, as in rules.hardest = [...]")
        if self.rules and not self.allocate:
            raise ValueError('rules are rankings for a bandit to choose among: set allocate = "linucb", or use prefer')
        if odd := [name for name in self.rules if "@" in name or "/" in name]:
            raise ValueError(
                f"rules names {odd[0]!r}: a rule's name holds no @ and no /, which stand for levels and arms"
            )
        ranked = [name.removeprefix("-") for order in (self.prefer, *self.rules.values()) for name in order]
        if self.rescore and not self.metrics:
            raise ValueError('rescore needs a metric that can score old rows anew: metrics = ["perplexity"], or ifd')
        if "worth" in ranked and not self.weights:
            raise ValueError("prefer names 'worth', which weights make of other metrics: set weights.METRIC = NUMBER")
        used = [*(name for name in ranked if name != "worth"), *self.weights, *self.at_least, *self.at_most]
        if missing := [name for name in used if name not in computed]:
            raise ValueError(
                f"metric {missing[0]!r} is not computed: add it to metrics, or use {', '.join(sorted(computed))}"
            )
        return self


class TrainerSettings(RoleSettings):
    """Settings of the trainer as a role; how it trains stands under `training`."""

    seconds: float = Field(86_400.0, gt=0)
    """Longest time for one act; the training in it has a limit of its own, `training.max_seconds`."""
    least_rows: int = Field(8, gt=0)
    """Fewer rows than this are not worth a training."""
    row_budget: int = Field(1600, gt=0)
    """Most rows of one training; it bounds its time. Those of one trajectory are taken all or none."""
    replay: Literal["newest", "learnability"] = "newest"
    """Which rows are taken where there are more: the newest, or (as in AdaSTaR, arXiv 2505.16322) those trained on
    longest ago, and of these the ones whose tasks teach most now."""


class SelfPlaySettings(Part):
    """Which roles learn, and how. By default the solver alone does."""

    roles: tuple[Literal["solver", "proposer"], ...] = Field(("solver",), min_length=1)
    """Roles that learn. The proposer learns from what its proposals earn, which needs a source that rewards them, such
    as `challenger`, and an objective that learns from rewards, such as `grpo`."""
    adapters: Literal["shared", "each"] = "shared"
    """`shared`: the roles learn in one adapter, which the gate judges by the solver's suites. `each`: every role
    besides the solver has an adapter of its own, which begins at the base and is continued, unless what is said under
    it rings an alarm."""
    train: Literal["together", "turns"] = "together"
    """`together`: all roles learn in every round. `turns`: one a round, in the order of `roles`."""
    baseline: Literal["role", "group"] = "role"
    """What the proposer's rewards are measured against. `role`: a running mean of its own rewards in the family
    (role-conditioned advantage estimation, SPIRAL, arXiv 2506.24119). `group`: the mean of the replies to one prompt.
    The solver's are measured against the mean of a task's attempts."""
    decay: float = Field(0.95, ge=0, lt=1)
    """By how much one more reward leaves the running mean as it was; SPIRAL's value."""

    @model_validator(mode="after")
    def _there_are_roles_for_it(self) -> Self:
        if len(set(self.roles)) < len(self.roles):
            raise ValueError(f"roles names one twice: {', '.join(self.roles)}")
        if self.train == "turns" and len(self.roles) < 2:
            raise ValueError('train = "turns" needs two roles that learn: roles = ["solver", "proposer"]')
        if self.adapters == "each" and not self.others:
            raise ValueError('adapters = "each" needs a role besides the solver: roles = ["solver", "proposer"]')
        return self

    @property
    def others(self) -> tuple[str, ...]:
        """The roles that learn, besides the solver."""
        return tuple(role for role in self.roles if role != "solver")

    def learning(self, round: int) -> tuple[str, ...]:
        """The roles that learn in a round."""
        return self.roles if self.train == "together" else (self.roles[(round - 1) % len(self.roles)],)


class AgentSettings(Part):
    """The players' settings, a section each."""

    proposer: ProposerSettings = ProposerSettings()
    """Sets tasks."""
    solver: SolverSettings = SolverSettings()
    """Attempts them."""
    critic: CriticSettings = CriticSettings()
    """Judges the attempts."""
    curator: CuratorSettings = CuratorSettings()
    """Selects what is worth learning."""
    trainer: TrainerSettings = TrainerSettings()
    """Turns rows into an adapter."""
    roles: dict[str, JoinedSettings] = Field(default_factory=dict)
    """Settings of roles that joined, by name."""
    self_play: SelfPlaySettings = SelfPlaySettings()
    """Which roles learn."""

    @model_validator(mode="after")
    def _who_learns_speaks_as_what_is_trained(self) -> Self:
        for role in self.self_play.others:
            for name in ("chat", "adapter"):
                if given := getattr(self.of(role), name):
                    raise ValueError(
                        f"self_play.roles names {role}, which learns from what it says itself: leave {role}.{name} "
                        f"empty, or out of roles; it is {given!r}"
                    )
        return self

    def of(self, role: str) -> RoleSettings:
        """The settings of a role, built-in or joined."""
        if role in PLAYERS:
            return getattr(self, role)  # type: ignore[no-any-return]
        return self.roles.get(role) or JoinedSettings()

    def speaking(self) -> dict[str, RoleSettings]:
        """The settings of the five players and of every role that has some, by role."""
        return {**{name: getattr(self, name) for name in PLAYERS}, **self.roles}
