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
from quintet.records import Attempt, Completion, Critique, Task, digest

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


class Metric(ABC):
    """Scores a round's attempts, all at once."""

    name: ClassVar[str]
    """As its entry point calls it: settings choose it, and its scores are recorded, under this name."""
    paper: ClassVar[str] = ""
    """Where it is from."""

    @abstractmethod
    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """One finite score for each candidate, in order; they shall depend on nothing but the ledger."""


def load_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        PluginError: There is none.
        AgentError: It is no metric.
    """
    found = plugin(GROUP, name, "selection metric")
    metric = found.found() if isinstance(found.found, type) else found.found
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


class Correct(Metric):
    """1 where the verifier accepts the attempt, else 0."""

    name = "correct"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the critiques."""
        return [float(candidate.critique.correct) for candidate in candidates]


class PassRate(Metric):
    """Share of the task's first attempts that are right: 1 is easy, near 0 is hard."""

    name = "pass_rate"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the critiques."""
        marks: dict[str, list[bool]] = {}
        for candidate in candidates:
            if candidate.attempt.turn == 0:
                marks.setdefault(candidate.task.id, []).append(candidate.critique.correct)
        rates = {task: sum(right) / len(right) for task, right in marks.items()}
        return [rates.get(candidate.task.id, 0.0) for candidate in candidates]


class Novelty(Metric):
    """Cosine distance of the question to the nearest one of earlier rounds; 1 where there is none."""

    name = "novelty"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the shared memory."""
        return await _distances(candidates, table, candidates[0].round if candidates else 1)


class HeldOutDistance(Metric):
    """Cosine distance of the question to the nearest evaluation item."""

    name = "held_out_distance"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the shared memory, where evaluation items are known as of before the first round."""
        return await _distances(candidates, table, 0)


class Tokens(Metric):
    """Length of the completion, in tokens."""

    name = "tokens"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """As generated."""
        return [float(len(candidate.completion.tokens)) for candidate in candidates]


class Confidence(Metric):
    """Mean log-probability of the completion's tokens under the model that wrote it, in nats; 0 is certain."""

    name = "confidence"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """As recorded when it was generated; 0 where a model does not tell."""
        known = [candidate.completion.logprobs for candidate in candidates]
        return [sum(logprobs) / len(logprobs) if logprobs else 0.0 for logprobs in known]


class Random(Metric):
    """A number from 0 to 1 that says nothing: choosing by it is what choosing by another metric is held against."""

    name = "random"
    paper = ""

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """A hash of the run's seed and the attempt, so that a resumed run chooses the same rows."""
        return [int(digest((table.seed, one.attempt.id))[:8], 16) / 16**8 for one in candidates]


async def _distances(candidates: Sequence[Candidate], table: Table, before: int) -> list[float]:
    questions = {candidate.task.id: candidate.task.question for candidate in candidates}
    distances = await table.memory.novelty(list(questions.values()), Task, before=before)
    far = dict(zip(questions, distances, strict=True))
    return [far[candidate.task.id] for candidate in candidates]
