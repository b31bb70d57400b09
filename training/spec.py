"""What a training process is told, and what it tells: the frozen values that cross the process boundary."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from quintet.records import Contrast, Experience, Message, Part, Row, digest
from quintet.training.settings import TrainingSettings

FORMAT = 1
"""Version of the adapter folder; part of every spec's digest."""

PROBE = (
    Message(role="user", content="What is 34 + 7?\nEnd with: Answer: <final answer>"),
    Message(role="assistant", content="34 + 7 = 41\nAnswer: 41"),
)
"""A short exchange whose log-probabilities tell one adapter from another."""


class TrainSpec(Part):
    """One adapter to be made. The same spec gives the same weights, bit for bit, on the same machine."""

    model: Path
    """Folder of the base model, safetensors and tokenizer."""
    name: str
    """What the base model is called in the adapter's config, where a path of this machine has no business."""
    revision: str = ""
    """SHA-256 of the base weights, where the caller knows it."""
    chat_template: str = ""
    """Text of a chat template that replaces the model's own; the one that rows were asked under."""
    start: Path | None = None
    """Folder of the adapter to continue from; `None`: a new one."""
    start_weights: str = ""
    """SHA-256 of that adapter's weights; read from its manifest by `train` where empty."""
    rows: tuple[Row, ...] = ()
    """The training examples; their order does not matter."""
    contrasts: tuple[Contrast, ...] = ()
    """What they are held against, where the objective does that."""
    experiences: tuple[Experience, ...] = ()
    """What other roles than the solver said and earned."""
    settings: TrainingSettings = TrainingSettings()
    seed: int = 0
    out: Path
    """Folder to be made."""
    probe: tuple[Message, ...] = PROBE
    """Exchange on which the adapter and its start are compared."""

    @model_validator(mode="after")
    def _there_is_something_to_learn(self) -> Self:
        if not self.rows and not self.experiences:
            raise ValueError("there are neither rows nor experiences to learn from")
        return self

    def digest(self) -> str:
        """SHA-256 of all that determines the weights and the manifest; no path is part of it."""
        body: dict[str, Any] = self.model_dump(
            mode="json", include={"name", "revision", "start_weights", "seed", "probe"}
        )
        if self.chat_template:
            body["chat_template"] = self.chat_template
        body |= {"format": FORMAT, "settings": self.settings.recipe(), "rows": sorted(row.id for row in self.rows)}
        if self.contrasts:
            body["contrasts"] = sorted(one.id for one in self.contrasts)
        if self.experiences:
            body["experiences"] = sorted(one.id for one in self.experiences)
        return digest(body)


class TrainProgress(Part):
    """How far training has come."""

    step: int
    """Optimiser steps done."""
    steps: int
    """Optimiser steps in all."""
    loss: float
    """Loss of this step, mean over completion tokens, in nats."""
    tokens_per_second: float
    """Tokens of rows (each with its own prompt) per second since the first step began."""
    seconds_left: float
    """Expected seconds to the last step."""


class Probe(Part):
    """Log-probabilities of a fixed exchange, by which a server proves which adapter it serves."""

    tokens: tuple[int, ...]
    """Token ids of the rendered exchange."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each token after the first, computed by PEFT with the adapter unmerged."""
    start_logprobs: tuple[float, ...]
    """The same where training began."""


class Manifest(Part):
    """What stands beside an adapter's weights: what they came from, and how to recognise them."""

    format: int = FORMAT
    spec: str
    """Digest of the spec."""
    weights: str
    """SHA-256 of `adapter_model.safetensors`."""
    metrics: dict[str, float]
    """First and last loss, rows, tokens, steps, rows left out."""
    probe: Probe


class TrainResult(Part):
    """An adapter that is complete on disk."""

    folder: Path
    weights: str
    """SHA-256 of `adapter_model.safetensors`."""
    metrics: dict[str, float]
    """As in the manifest: first and last loss, rows, tokens, steps, rows left out."""
    probe: Probe
    reused: bool = False
    """Whether it was there already."""
    seconds: float = 0.0
    """Seconds of the whole training process."""
    start_seconds: float = 0.0
    """Seconds of those before the first step began: imports, loading, the first probe."""
    tokens_per_second: float = 0.0
    """Tokens of rows per second, all steps together."""
    peak_rss_mb: float = 0.0
    """Peak resident memory of the training process, in MB."""
