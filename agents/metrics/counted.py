"""Metrics that are read off the ledger: what the verifier found, and what was recorded when an attempt was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.metrics.port import Candidate, Metric
from quintet.agents.table import Table
from quintet.records import digest


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


class Learnability(Metric):
    """How much there is to learn: 4p(1 − p) of the task's pass rate p (Foster & Foerster 2025, arXiv 2502.12272).

    1 where half of the first attempts are right, 0 where all or none are.
    """

    name = "learnability"
    paper: ClassVar[str] = "Foster & Foerster 2025, arXiv 2502.12272"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the pass rates."""
        rates = await PassRate().score(candidates, table)
        return [4 * rate * (1 - rate) for rate in rates]


class Balance(Metric):
    """Share of the family's right attempts of the round that give another answer than this one: 1 is a rare answer.

    Rejection sampling keeps what is right, so an answer that is often right by chance crowds the rows, and then the
    model's guesses.
    """

    name = "balance"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the critiques; wrong attempts are measured against the right ones."""
        right = [(one.task.family, one.attempt.answer) for one in candidates if one.critique.correct]
        same, all_ = Counter(right), Counter(family for family, _ in right)
        return [1 - same[one.task.family, one.attempt.answer] / max(all_[one.task.family], 1) for one in candidates]


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
