"""The Chroma index: which remembered texts are nearest to a text; it can be rebuilt from the ledger at any time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quintet.memory.chroma import store
from quintet.memory.embedder import Embedder, Embeds, embedder_folder
from quintet.memory.entries import POOLS, Entry
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.queries import Hit, Query, Whole, by_distance, cosine
from quintet.memory.settings import MemorySettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Index", "embedder_folder"]

VERSION = "2"
"""Of what is kept beside a vector; collections of another version are made anew."""

HNSW = {"space": "cosine", "ef_construction": 200, "ef_search": 200, "max_neighbors": 32, "num_threads": 1}
"""A wide search, so that the approximate candidates seldom miss one; one thread, so that the graph is repeatable."""

PAGE = 1000
"""Entries written to Chroma at once."""

AT_ONCE = 64
"""Texts looked up at once: a candidate's vector of Python floats takes 12 KB, and a text has 32 candidates or more."""


class Index:
    """A Chroma collection for each pool of each run. Not for concurrent use: `Memory` calls it from one thread.

    Chroma evaluates a condition by listing all entries that meet it (100,000 take it 0.2 s), but searches a collection
    without conditions in milliseconds; so what every query asks for, run and pool, is a collection of its own.

    Args:
        folder: Where the collections lie, unless the settings name a server.
        settings: Server, embedder and search width.
        embedder: What makes the vectors, instead of the settings' embedder.
    """

    def __init__(
        self, folder: str | Path, settings: MemorySettings | None = None, embedder: Embeds | None = None
    ) -> None:
        settings = settings or MemorySettings()
        self.store, self._oversample = store(Path(folder), settings.index), settings.oversample
        self.embedder: Embeds = embedder or Embedder(settings.embedder, settings.embed_batch)
        self._client: Any = None
        self._collections: dict[tuple[str, str], Any] = {}
        self._wholes: dict[tuple[str, str], Whole] = {}

    @property
    def place(self) -> str:
        """Folder or URL."""
        return self.store.place

    def close(self) -> None:
        """Let go of folder or server."""
        opened, self._client = self._client is not None, None
        self._collections.clear()
        self._wholes.clear()
        if opened:
            with self._guarded():
                self.store.close()

    def clear(self, run: str | None = None) -> None:
        """Forget a run's entries, or all runs'.

        Raises:
            IndexDamaged: The index cannot be written.
        """
        # Opened anew: what is open may be a folder that is there no more.
        self.close()
        with self._guarded():
            client = self._opened()
            begin = f"{self.store.prefix}-" if run is None else self._name(run, "")
            for collection in client.list_collections():
                if collection.name.startswith(begin):
                    client.delete_collection(collection.name)

    def delete(self) -> None:
        """Delete the whole index, damaged or not; the next use makes a new one.

        Raises:
            LedgerError: It cannot be deleted.
        """
        try:
            self.close()
        except IndexDamaged:
            logging.getLogger(__name__).debug("a damaged index did not close", exc_info=True)
        self.store.delete()

    def tidy(self) -> None:
        """Delete what another version of this index left behind.

        Raises:
            IndexDamaged: The index cannot be written.
        """
        if self.store.exists():
            with self._guarded():
                for collection in self._opened().list_collections():
                    of_ours = collection.name.startswith(self.store.prefix)
                    if of_ours and (collection.metadata or {}).get("version") != VERSION:
                        self._client.delete_collection(collection.name)

    def add(self, run: str, entries: Sequence[Entry], vectors: NDArray[np.float32] | None = None) -> None:
        """Add entries, or replace those with the same id.

        Args:
            run: Whose.
            entries: Which.
            vectors: Of their texts, of shape (entries, dimensions), where they are known; else the texts are embedded.

        Raises:
            IndexDamaged: The index cannot be written.
            LedgerError: The disk is full, or the server is not there.
        """
        self._wholes.clear()
        for pool in POOLS:
            places = [place for place, entry in enumerate(entries) if entry.pool == pool]
            for first in range(0, len(places), PAGE):
                some = places[first : first + PAGE]
                page = [entries[place] for place in some]
                known = self.embedder.embed([entry.text for entry in page]) if vectors is None else vectors[some]
                with self._guarded():
                    self._made(run, pool).upsert(
                        ids=[entry.id for entry in page],
                        embeddings=known,
                        metadatas=[entry.model_dump(exclude={"id", "text", "kind", "split"}) for entry in page],
                    )

    def ids(self, run: str) -> dict[str, set[str]]:
        """Ids of a run's entries by pool. Nothing is created by asking.

        Raises:
            IndexDamaged: The index cannot be read.
            LedgerError: The server is not there.
        """
        found: dict[str, set[str]] = {pool: set() for pool in POOLS}
        if self._client is not None or self.store.exists():
            for pool in POOLS:
                with self._guarded():
                    collection = self._there(run, pool)
                    found[pool] = set(collection.get(include=[])["ids"]) if collection else set()
        return found

    def remove(self, run: str, ids: Mapping[str, Sequence[str]]) -> None:
        """Forget some of a run's entries, by pool.

        Raises:
            IndexDamaged: The index cannot be written.
        """
        self._wholes.clear()
        for pool, some in ids.items():
            for first in range(0, len(some), PAGE):
                with self._guarded():
                    self._made(run, pool).delete(ids=list(some[first : first + PAGE]))

    def holds(self, run: str, entries: Sequence[Entry], crowded: Collection[str] = ()) -> bool:
        """Whether these entries' vectors are there and are found: a check for files that were lost or replaced.

        Args:
            run: Whose.
            entries: Which.
            crowded: Pools where not all are found; see `Query`.

        Raises:
            IndexDamaged: The index cannot be read.
        """
        return all(
            self._holds(run, pool, some, pool not in crowded)
            for pool in POOLS
            if (some := [one for one in entries if one.pool == pool])
        )

    def _holds(self, run: str, pool: str, entries: Sequence[Entry], findable: bool) -> bool:
        texts = {entry.id: entry.text for entry in entries}
        ids, vectors = list(texts), self.embedder.embed(list(texts.values()))
        with self._guarded():
            collection = self._there(run, pool)
            if collection is None:
                return False
            got = collection.get(ids=ids, include=["embeddings"])
            near = collection.query(query_embeddings=vectors, n_results=1, include=["distances"])
        held = dict(zip(got["ids"], got["embeddings"], strict=True))
        same = all(
            id in held and np.allclose(held[id], vector, atol=1e-3) for id, vector in zip(ids, vectors, strict=True)
        )
        # One is enough: an approximate search may miss any.
        return same and (not findable or any(some and some[0] < 1e-3 for some in near["distances"]))

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
            LedgerError: The server is not there.
        """
        vectors = self.embedder.embed(texts)
        by_pool = [self._query(vectors, pool, query, exclude) for pool in query.pools]
        every = [[hit for hits in some for hit in hits] for some in zip(*by_pool, strict=True)]
        return [sorted(hits, key=by_distance)[: query.count] for hits in every]

    def _query(
        self, vectors: NDArray[np.float32], pool: str, query: Query, exclude: Sequence[frozenset[str]]
    ) -> list[list[Hit]]:
        if pool in query.crowded:
            return self._compared(vectors, pool, query, exclude)
        found: list[list[Hit]] = [[] for _ in vectors]
        wanted, fetch = list(range(len(vectors))), max(self._oversample, 4 * query.count)
        while wanted:
            short = []
            for place, candidates in zip(wanted, self._in_parts(vectors[wanted], pool, query, fetch), strict=True):
                barred = exclude[place] if exclude else frozenset()
                hits = [hit for hit, task in candidates if task not in barred and hit.id not in query.without]
                found[place] = hits[: query.count]
                full = len(hits) >= query.count and found[place][-1].distance < candidates[-1][0].distance
                if not full and len(candidates) == fetch:
                    short.append(place)
            wanted, fetch = short, fetch * 4
        return found

    def _compared(
        self, vectors: NDArray[np.float32], pool: str, query: Query, exclude: Sequence[frozenset[str]]
    ) -> list[list[Hit]]:
        """The same by comparison with every entry."""
        with self._guarded():
            collection = self._there(query.run, pool)
            whole = self._whole(query.run, pool, collection) if collection is not None and collection.count() else None
        if whole is None:
            return [[] for _ in vectors]
        fitting, barred = whole.fitting(query), exclude or [frozenset()] * len(vectors)
        return [whole.nearest(vector, fitting, query.count, some) for vector, some in zip(vectors, barred, strict=True)]

    def _whole(self, run: str, pool: str, collection: Any) -> Whole:
        held = self._wholes.get((run, pool))
        if held is None or len(held) != collection.count():
            ids = sorted(collection.get(include=[])["ids"])
            vectors, about = list[Any](), list[Any]()
            for first in range(0, len(ids), PAGE):
                page = collection.get(ids=ids[first : first + PAGE], include=["embeddings", "metadatas"])
                by_id = {id: place for place, id in enumerate(page["ids"])}
                places = [by_id[id] for id in ids[first : first + PAGE]]
                vectors.append(np.asarray(page["embeddings"], np.float32)[places])
                about += [page["metadatas"][place] for place in places]
            held = self._wholes[run, pool] = Whole(ids, np.concatenate(vectors), about)
        return held

    def _in_parts(
        self, vectors: NDArray[np.float32], pool: str, query: Query, fetch: int
    ) -> Iterator[list[tuple[Hit, str]]]:
        """Candidates of a few texts at a time: Chroma returns each one's vector as a list of Python floats."""
        for first in range(0, len(vectors), AT_ONCE):
            yield from self._candidates(vectors[first : first + AT_ONCE], pool, query, fetch)

    def _candidates(
        self, vectors: NDArray[np.float32], pool: str, query: Query, fetch: int
    ) -> Iterator[list[tuple[Hit, str]]]:
        included = ["embeddings", "metadatas"]
        with self._guarded():
            collection = self._there(query.run, pool)
            if collection is not None:
                got = collection.query(query_embeddings=vectors, n_results=fetch, where=query.where(), include=included)
        if collection is None:
            yield from ([] for _ in vectors)
            return
        for vector, ids, near, metadata in zip(vectors, got["ids"], got["embeddings"], got["metadatas"], strict=True):
            distances = cosine(vector, np.asarray(near)).tolist() if ids else []
            hits = [
                (Hit(id=id, distance=distance), str(about["task"]))
                for id, distance, about in zip(ids, distances, metadata, strict=True)
            ]
            yield sorted(hits, key=lambda hit: by_distance(hit[0]))

    def _opened(self) -> Any:
        if self._client is None:
            self._client = self.store.open()
        self.store.check()
        return self._client

    def _name(self, run: str, pool: str) -> str:
        # Chroma admits few characters in a name; a run's may hold any.
        return f"{self.store.prefix}-{hashlib.sha256(run.encode()).hexdigest()[:16]}-{pool}"

    def _there(self, run: str, pool: str) -> Any:
        """The collection, if it is there and its vectors are of this embedder."""
        from chromadb.errors import NotFoundError

        client = self._opened()
        if (run, pool) not in self._collections:
            try:
                found = client.get_collection(self._name(run, pool), embedding_function=None)
            except NotFoundError:
                return None
            if self._is_stale(found):
                return None
            self._collections[run, pool] = found
        return self._collections[run, pool]

    def _made(self, run: str, pool: str) -> Any:
        """The collection, which is created where it is not there, and emptied where it is stale."""
        client, name = self._opened(), self._name(run, pool)
        if (run, pool) not in self._collections:
            about = {"embedder": self.embedder.fingerprint, "version": VERSION, "run": run}
            chosen: dict[str, Any] = {"embedding_function": None, "configuration": {"hnsw": HNSW}, "metadata": about}
            made = client.get_or_create_collection(name, **chosen)
            if self._is_stale(made):
                client.delete_collection(name)
                made = client.get_or_create_collection(name, **chosen)
            self._collections[run, pool] = made
        return self._collections[run, pool]

    def _is_stale(self, collection: Any) -> bool:
        """Vectors of another model mean nothing here, nor does what another version wrote beside them."""
        about = collection.metadata or {}
        return about.get("embedder") != self.embedder.fingerprint or about.get("version") != VERSION

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
            raise self.store.blamed(error) from error
