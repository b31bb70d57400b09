"""What is learnt: selections, training rows and adapters."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from quintet.records.base import BASE, By, Link, Links, MaybeLink, Record
from quintet.records.said import Message


class Selection(Record):
    """The curator's choice about one attempt, with its reason."""

    later = frozenset({"rule"})

    round: int
    task: Link
    attempt: Link
    chosen: bool
    reason: str
    scores: dict[str, float] = Field(default_factory=dict)
    """The metrics the choice rests on."""
    by: By = "rule"
    call: MaybeLink = None
    rule: str = ""
    """The one of several ranking rules that chose it, where a bandit shares the row budget out among them."""


class Rescore(Record):
    """An old row's scores under a newer adapter."""

    round: int
    row: Link
    adapter: MaybeLink = BASE
    """The adapter that the scores were computed under."""
    scores: dict[str, float]


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


class Contrast(Record):
    """An attempt that rows of its task are held against, by objectives that learn from failures too.

    It is a wrong one, or a right one that is no row but belongs to their group. Nobody is ever shown it as an exemplar.
    """

    round: int
    task: Link
    attempt: Link
    prompt: tuple[Message, ...]
    completion: str
    tokens: tuple[int, ...] = ()
    """Token ids of the completion as generated, end-of-turn token included."""
    reward: float
    """The verifier's score, 0 to 1."""


class Baseline(Record):
    """What a role's rewards in a family are measured against: their running mean, one round further."""

    round: int
    role: str
    family: str
    value: float
    """The running mean, this round's rewards included."""
    mean: float
    """Mean of this round's rewards."""
    rewards: int
    """How many these are."""
    before: MaybeLink = None
    """The baseline of the round before."""


class Experience(Record):
    """Something that a role other than the solver said, and what it earned by it: what that role learns from."""

    round: int
    role: str
    about: Link
    """The record that it became, such as a proposal."""
    call: Link
    prompt: tuple[Message, ...]
    completion: str
    tokens: tuple[int, ...] = ()
    """Token ids of the completion as generated, end-of-turn token included."""
    reward: float
    """0 to 1."""
    baseline: float | None = None
    """What the reward is measured against; `None`: the mean of what was earned in reply to the same prompt."""


Learnable = Row | Contrast | Experience
"""What an adapter can be trained on."""


class Adapter(Record):
    """A LoRA adapter and what it was made of."""

    later = frozenset({"contrasts", "experiences", "merged", "role"})

    round: int
    start: MaybeLink = BASE
    """The adapter whose weights training began from."""
    rows: Links
    contrasts: Links = ()
    """What rows were held against, where the objective does that."""
    experiences: Links = ()
    """What other roles than the solver learnt from."""
    role: str | None = None
    """The one role that speaks under it; `None` for the adapter of all that have none of their own."""
    merged: Links = ()
    """The adapters that it was merged of; empty for one that was trained."""
    recipe: dict[str, Any]
    """Settings of training, or of merging."""
    weights: str
    """SHA-256 of `adapter_model.safetensors`."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Measured in training: first and last loss, rows, tokens, steps."""
    by: By = "rule"

    def identity(self) -> dict[str, Any]:
        """What it was made of; the weights follow from that."""
        of = {"round", "start", "rows", "recipe", *(name for name in sorted(self.later) if getattr(self, name))}
        return self.model_dump(mode="json", include=of)


class Handover(Record):
    """From the next round on, a role speaks under another adapter of its own."""

    round: int
    role: str
    adapter: MaybeLink = BASE
    """The one that it speaks under from now on."""
    before: MaybeLink = BASE
    """The one that it spoke under so far."""
    dropped: bool = False
    """Whether that one is given up, rather than continued."""
    reason: str
