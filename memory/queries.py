"""What is looked for in an index, what comes back, and how far apart two vectors are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quintet.records import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Hit(Part):
    """A memory near a query."""

    id: str
    distance: float
    """Cosine distance, rounded to six decimals: 0 (same) to 2."""


class Query(Part):
    """What to look for beside the text. What is empty or `None` rules nothing out, and so costs nothing."""

    run: str
    pools: tuple[str, ...]
    """Kinds of memories, or the evaluation items; see `quintet.memory.entries`."""
    count: int
    since: int | None = None
    """Only entries of this round and later ones."""
    before: int | None = None
    """Only entries of earlier rounds."""
    family: str | None = None
    levels: tuple[int, ...] = ()
    adapter: str | None = None
    without: frozenset[str] = frozenset()
    """Ids of entries that do not count."""
    crowded: frozenset[str] = frozenset()
    """Pools of so many equal texts that Chroma's graph does not lead to all entries, and each must be looked at."""

    def where(self) -> dict[str, Any] | None:
        """The same as Chroma wants it."""
        conditions: list[dict[str, Any]] = [
            {name: value} for name in ("family", "adapter") if (value := getattr(self, name)) is not None
        ]
        conditions += [{"level": {"$in": list(self.levels)}}] * bool(self.levels)
        conditions += [{"round": {"$gte": self.since}}] * (self.since is not None)
        conditions += [{"round": {"$lt": self.before}}] * (self.before is not None)
        return {"$and": conditions} if len(conditions) > 1 else conditions[0] if conditions else None


class Whole:
    """All entries of a pool, for a comparison with each of them."""

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.float32], about: Sequence[Mapping[str, Any]]) -> None:
        self._ids, self._vectors = np.asarray(ids), vectors
        self._about = {
            name: np.asarray([one[name] for one in about]) for name in ("family", "level", "round", "adapter", "task")
        }

    def __len__(self) -> int:
        return len(self._ids)

    def fitting(self, query: Query) -> NDArray[np.int64]:
        """Places of the entries that a query admits."""
        about, fits = self._about, ~np.isin(self._ids, list(query.without))
        for name in ("family", "adapter"):
            if (value := getattr(query, name)) is not None:
                fits &= about[name] == value
        if query.levels:
            fits &= np.isin(about["level"], query.levels)
        if query.since is not None:
            fits &= about["round"] >= query.since
        if query.before is not None:
            fits &= about["round"] < query.before
        return np.flatnonzero(fits)

    def nearest(
        self, vector: NDArray[np.float32], fitting: NDArray[np.int64], count: int, barred: Collection[str]
    ) -> list[Hit]:
        """The nearest of the entries at these places that are not about the tasks barred."""
        if barred:
            fitting = fitting[~np.isin(self._about["task"][fitting], list(barred))]
        rough = 1.0 - self._vectors[fitting] @ vector
        if len(fitting) > count:
            # Whatever rounding may have put behind the last that is wanted, too.
            fitting = fitting[rough <= np.partition(rough, count - 1)[count - 1] + 1e-5]
        distances = cosine(vector, self._vectors[fitting]).tolist()
        hits = [Hit(id=str(id), distance=far) for id, far in zip(self._ids[fitting], distances, strict=True)]
        return sorted(hits, key=by_distance)[:count]


def by_distance(hit: Hit) -> tuple[float, str]:
    """The order in which hits come back: nearest first, ties by id."""
    return hit.distance, hit.id


def cosine(vector: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine distances, rounded to six decimals, of a unit vector (d,) to unit vectors (n, d); shape (n,).

    Each distance is summed on its own, so that it does not depend on which others it is computed with.
    """
    products = others.astype(np.float64) * vector.astype(np.float64)
    return np.asarray([max(0.0, round(1.0 - float(np.sum(row)), 6)) for row in products])
