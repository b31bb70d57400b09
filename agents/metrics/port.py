"""The port for selection metrics: what an attempt is worth as a training row, in numbers that the curator weighs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from quintet.agents.errors import AgentError
from quintet.agents.table import Table
from quintet.plugins import plugin
from quintet.records import BASE, Attempt, Completion, Critique, Message, Task

GROUP = "quintet.metrics"
"""The entry-point group; each names a `Metric`."""

ALWAYS = ("correct", "pass_rate", "novelty", "held_out_distance", "tokens")
"""Metrics that the curator's own rules rest on."""


@dataclass
class Candidate:
    """An attempt that may become a row, with what is known of it."""

    round: int
    attempt: Attempt
    critique: Critique
    task: Task
    completion: Completion
    """As generated, with its tokens and their log-probabilities."""
    scores: dict[str, float] = field(default_factory=dict)
    """By metric; each metric sees those of the metrics before it."""
    prompt: tuple[Message, ...] = ()
    """What the row would ask; empty for a trajectory, which gives several rows."""
    adapter: str = BASE
    """The incumbent, under which scores that ask the model are computed."""
    rows: int = 1
    """How many rows it would give: a trajectory gives one for each action worth learning."""


class Metric(ABC):
    """Scores a round's attempts, all at once."""

    name: ClassVar[str]
    """As its entry point calls it: settings choose it, and its scores are recorded, under this name."""
    paper: ClassVar[str] = ""
    """Where it is from."""
    rescores: ClassVar[bool] = False
    """Whether its score changes with the model and rests on prompt and completion alone, so that an old row can be
    scored anew."""

    @abstractmethod
    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """One finite score for each candidate, in order; they shall depend on nothing but the ledger."""


def load_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        PluginError: There is none, or it cannot be made.
        AgentError: It is no metric.
    """
    found = plugin(GROUP, name, "selection metric")
    metric = found.made()
    if not isinstance(metric, Metric):
        raise AgentError(f"{found.source} is no Metric")
    if metric.name != name:
        raise AgentError(f"{found.source} calls itself {metric.name!r}: class and entry point need one name")
    return metric


async def scored(candidates: Sequence[Candidate], names: Sequence[str], table: Table) -> None:
    """Enter the scores of these metrics, one after the other.

    Raises:
        PluginError: There is no such metric.
        AgentError: A metric returns another number of scores than it was given candidates, or one that is no number.
    """
    for name in names:
        found = await load_metric(name).score(candidates, table)
        if len(found) != len(candidates):
            raise AgentError(f"metric {name!r} gave {len(found)} scores for {len(candidates)} attempts")
        if odd := [score for score in found if not math.isfinite(score)]:
            raise AgentError(f"metric {name!r} gave {odd[0]}: a score is a finite number")
        for candidate, score in zip(candidates, found, strict=True):
            # Six decimals: enough to rank by, and alike wherever it is computed.
            candidate.scores[name] = round(float(score), 6)
