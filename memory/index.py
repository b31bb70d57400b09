"""The Chroma index: which remembered texts are nearest to a text; it can be rebuilt from the ledger at any time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quintet.memory.embedder import Embedder, embedder_folder
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.settings import MemorySettings
from quintet.records import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Entry", "Hit", "Index", "Query", "cosine", "embedder_folder"]

COLLECTION = "memory"
HNSW = {"space": "cosine", "ef_construction": 200, "ef_search": 200, "max_neighbors": 32, "num_threads": 1}
"""A wide search, so that the approximate candidates seldom miss one; one thread, so that the graph is repeatable."""

PAGE = 1000
"""Entries written to Chroma at once."""

AT_ONCE = 64
"""Texts looked up at once: a candidate's vector of Python floats takes 12 KB, and a text has 32 candidates or more."""


class Entry(Part):
    """A memory as the index keeps it."""

    id: str
    """The record's id."""
    text: str
    kind: str
    family: str
    level: int
    round: int
    """The round it was made in; -1 for what was there before the first, such as evaluation items."""
    task: str
    split: str


class Hit(Part):
    """A memory near a query."""

    id: str
    distance: float
    """Cosine distance, rounded to six decimals: 0 (same) to 2."""


class Query(Part):
    """What to look for beside the text."""

    run: str
    kind: str
    before: int
    """Only entries of earlier rounds."""
    count: int
    family: str | None = None
    split: str | None = None


class Index:
    """One Chroma collection a workspace. Not for concurrent use: `Memory` calls it from one thread."""

    def __init__(self, folder: str | Path, settings: MemorySettings | None = None) -> None:
        settings = settings or MemorySettings()
        self.folder, self._oversample = Path(folder), settings.oversample
        self.embedder = Embedder(settings.embedder, settings.embed_batch)
        self._client: Any = None
        self._collection: Any = None

    def close(self) -> None:
        """Let go of the folder."""
        client, self._client, self._collection = self._client, None, None
        if client is not None:
            with self._guarded():
                client.close()

    def clear(self) -> None:
        """Forget all entries, of every run, and keep the folder.

        Raises:
            IndexDamaged: The index cannot be written.
        """
        with self._guarded():
            self._opened()
            self._client.delete_collection(COLLECTION)
        self.close()

    def delete(self) -> None:
        """Delete the folder, damaged or not; the next use makes a new one.

        Raises:
            LedgerError: The folder cannot be deleted.
        """
        try:
            self.close()
        except IndexDamaged:
            logging.getLogger(__name__).debug("a damaged index did not close", exc_info=True)
        try:
            if self.folder.is_dir() and not self.folder.is_symlink():
                shutil.rmtree(self.folder)
            elif self.folder.exists():
                self.folder.unlink()
        except OSError as error:
            raise LedgerError(f"index {self.folder} cannot be deleted: {error.strerror}", disk=True) from error

    def add(self, run: str, entries: Sequence[Entry]) -> None:
        """Add entries, or replace those with the same id.

        Raises:
            IndexDamaged: The index cannot be written.
            LedgerError: The disk is full.
        """
        for first in range(0, len(entries), PAGE):
            page = entries[first : first + PAGE]
            vectors = self.embedder.embed([entry.text for entry in page])
            with self._guarded():
                self._opened().upsert(
                    ids=[f"{run}/{entry.id}" for entry in page],
                    embeddings=vectors,
                    metadatas=[{"run": run, **entry.model_dump(exclude={"id", "text"})} for entry in page],
                )

    def ids(self, run: str) -> set[str]:
        """Ids of a run's entries.

        Raises:
            IndexDamaged: The index cannot be read.
        """
        with self._guarded():
            found = self._opened().get(where={"run": run}, include=[])["ids"]
        return {key.rpartition("/")[2] for key in found}

    def remove(self, run: str, ids: Sequence[str]) -> None:
        """Forget some of a run's entries.

        Raises:
            IndexDamaged: The index cannot be written.
        """
        for first in range(0, len(ids), PAGE):
            with self._guarded():
                self._opened().delete(ids=[f"{run}/{id}" for id in ids[first : first + PAGE]])

    def holds(self, run: str, entries: Sequence[Entry]) -> bool:
        """Whether these entries' vectors are there and are found: a check for files that were lost or replaced.

        Raises:
            IndexDamaged: The index cannot be read.
        """
        texts = {f"{run}/{entry.id}": entry.text for entry in entries}
        if not texts:
            return True
        keys, vectors = list(texts), self.embedder.embed(list(texts.values()))
        with self._guarded():
            got = self._opened().get(ids=keys, include=["embeddings"])
            near = self._opened().query(
                query_embeddings=vectors, n_results=1, where={"run": run}, include=["distances"]
            )
        held = dict(zip(got["ids"], got["embeddings"], strict=True))
        same = all(
            key in held and np.allclose(held[key], vector, atol=1e-3) for key, vector in zip(keys, vectors, strict=True)
        )
        return same and all(distances and distances[0] < 1e-3 for distances in near["distances"])

    def query(self, texts: Sequence[str], query: Query, exclude: Sequence[frozenset[str]] = ()) -> list[list[Hit]]:
        """The nearest entries to each text, by exact distance and then id.

        Chroma proposes candidates; their distances are computed anew. More are fetched for a text until a farther one
        than the last that is wanted has been seen, so that ties are broken by id and not by chance.

        Args:
            texts: What to look near to.
            query: Whose entries, which and how many.
            exclude: For each text, ids of tasks whose entries do not count.

        Raises:
            IndexDamaged: The index cannot be read.
        """
        found: list[list[Hit]] = [[] for _ in texts]
        vectors = self.embedder.embed(texts)
        wanted, fetch = list(range(len(texts))), max(self._oversample, 4 * query.count)
        while wanted:
            short = []
            for place, candidates in zip(wanted, self._in_parts(vectors[wanted], query, fetch), strict=True):
                barred = exclude[place] if exclude else frozenset()
                hits = [hit for hit, task in candidates if task not in barred][: query.count]
                found[place] = hits
                full = len(hits) == query.count and hits[-1].distance < candidates[-1][0].distance
                if not full and len(candidates) == fetch:
                    short.append(place)
            wanted, fetch = short, fetch * 4
        return found

    def _in_parts(self, vectors: NDArray[np.float32], query: Query, fetch: int) -> Iterator[list[tuple[Hit, str]]]:
        """Candidates of a few texts at a time: Chroma returns each one's vector as a list of Python floats."""
        for first in range(0, len(vectors), AT_ONCE):
            yield from self._candidates(vectors[first : first + AT_ONCE], query, fetch)

    def _candidates(self, vectors: NDArray[np.float32], query: Query, fetch: int) -> Iterator[list[tuple[Hit, str]]]:
        conditions: list[dict[str, Any]] = [
            {"run": query.run},
            {"kind": query.kind},
            {"round": {"$lt": query.before}},
            *({name: value} for name in ("family", "split") if (value := getattr(query, name)) is not None),
        ]
        with self._guarded():
            got = self._opened().query(
                query_embeddings=vectors,
                n_results=fetch,
                where={"$and": conditions},
                include=["embeddings", "metadatas"],
            )
        for vector, keys, near, metadata in zip(vectors, got["ids"], got["embeddings"], got["metadatas"], strict=True):
            distances = cosine(vector, np.asarray(near)).tolist() if keys else []
            hits = [
                (Hit(id=key.rpartition("/")[2], distance=distance), str(about["task"]))
                for key, distance, about in zip(keys, distances, metadata, strict=True)
            ]
            yield sorted(hits, key=lambda hit: (hit[0].distance, hit[0].id))

    def _opened(self) -> Any:
        if self._collection is None:
            import chromadb
            from chromadb.config import Settings

            self.folder.mkdir(parents=True, exist_ok=True)
            settings = Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(self.folder), settings=settings)
            about = {"embedder": self.embedder.fingerprint}
            chosen: dict[str, Any] = {"embedding_function": None, "configuration": {"hnsw": HNSW}, "metadata": about}
            collection = self._client.get_or_create_collection(COLLECTION, **chosen)
            if (collection.metadata or {}).get("embedder") != about["embedder"]:
                # Vectors of another model mean nothing here.
                self._client.delete_collection(COLLECTION)
                collection = self._client.create_collection(COLLECTION, **chosen)
            self._collection = collection
        return self._collection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what Chroma raises, panics of its Rust core included, into this room's errors."""
        try:
            yield
        except LedgerError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            line = f"index {self.folder}: {type(error).__name__}: {error}"
            if any(sign in str(error) for sign in ("disk is full", "No space left", "Permission denied")):
                raise LedgerError(line, disk=True) from error
            raise IndexDamaged(line) from error


def cosine(vector: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine distances, rounded to six decimals, of a unit vector (d,) to unit vectors (n, d); shape (n,).

    Each distance is summed on its own, so that it does not depend on which others it is computed with.
    """
    products = others.astype(np.float64) * vector.astype(np.float64)
    return np.asarray([max(0.0, round(1.0 - float(np.sum(row)), 6)) for row in products])
