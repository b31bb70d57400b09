"""Metrics by meaning: how far a question is from what is remembered, and from the others of its round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from quintet.agents.metrics.port import Candidate, Metric
from quintet.agents.table import Table
from quintet.records import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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


class Diversity(Metric):
    """What a question adds to those chosen before it: k-centre greedy over the round (Sener & Savarese 2018).

    The tasks that gave a right attempt are put in order: first the one in the middle, then again and again the one that
    is farthest from all before it (arXiv 1708.00489, algorithm 1, without the robust step). The score is that distance,
    in cosine; the first has 1. All attempts at a task share its score. Other tasks have their distance to the chosen.
    """

    name = "diversity"
    paper: ClassVar[str] = "Sener & Savarese 2018, arXiv 1708.00489"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the embeddings that the shared memory has."""
        right = {one.task.id: one.task.question for one in candidates if one.critique.correct}
        rest = {one.task.id: one.task.question for one in candidates if one.task.id not in right}
        asked = right | rest
        if not asked:
            return []
        gains = k_centre(await table.memory.vectors(list(asked.values())), len(right))
        gained = dict(zip(asked, gains, strict=True))
        return [gained[one.task.id] for one in candidates]


def k_centre(vectors: NDArray[np.float32], eligible: int) -> list[float]:
    """Each vector's distance to those chosen before it, when it was chosen.

    Args:
        vectors: Unit vectors, `(vectors, dimensions)`.
        eligible: Only the first so many are chosen; the others have their distance to the nearest of these.

    Returns:
        Cosine distances; 1 for the first one chosen, and for all where none is eligible.
    """
    import numpy as np

    gains = np.ones(len(vectors))
    if not eligible:
        return gains.tolist()
    # A narrow type would make ties of what is far apart only by rounding.
    points = vectors.astype(np.float64)
    chosen = int(np.argmax(points[:eligible] @ points[:eligible].mean(axis=0)))
    nearest = np.full(len(points), np.inf)
    waiting = np.arange(len(points)) < eligible
    for _ in range(eligible):
        gains[chosen] = min(float(nearest[chosen]), 1.0)
        waiting[chosen] = False
        nearest = np.minimum(nearest, np.maximum(1 - points @ points[chosen], 0.0))
        chosen = int(np.argmax(np.where(waiting, nearest, -1.0)))
    gains[eligible:] = nearest[eligible:]
    return gains.tolist()


async def _distances(candidates: Sequence[Candidate], table: Table, before: int) -> list[float]:
    questions = {candidate.task.id: candidate.task.question for candidate in candidates}
    distances = await table.memory.novelty(list(questions.values()), Task, before=before)
    far = dict(zip(questions, distances, strict=True))
    return [far[candidate.task.id] for candidate in candidates]
