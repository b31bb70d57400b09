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
    metrics: dict[str, float] = Field(default_factory=dict)
    """Measured in training: first and last loss, rows, tokens, steps."""
    by: By = "rule"

    def identity(self) -> dict[str, Any]:
        """What it was made of; the weights follow from that."""
        return self.model_dump(mode="json", include={"round", "start", "rows", "recipe"})
