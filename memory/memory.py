"""Memory: recall over a run's ledger by meaning, for exemplars, lessons and past tasks, and novelty against them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from quintet.memory.entries import AFTER_ALL, HELD, Entry, Remembered
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.index import Index
from quintet.memory.queries import Hit, Query
from quintet.memory.settings import MemorySettings
from quintet.records import Record, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quintet.memory.ledger import RunLedger

T = TypeVar("T")
R = TypeVar("R", bound=Record)

PAUSE = 0.5
"""Seconds before a server that failed is asked once more."""


class Memory:
    """What one run remembers: its accepted tasks, its lessons and rows, and the items it is evaluated on.

    What is remembered follows from the ledger alone, and only records of earlier rounds come back, so a resumed node
    recalls what it would have recalled unbroken. Evaluation items count for novelty and are never recalled; so do
    retired memories, since a question that was asked stays asked, whatever became of what was learnt from it. What a
    user retires beside a run is the one thing that takes effect at once.
    """

    def __init__(self, ledger: RunLedger, index: Index, settings: MemorySettings | None = None) -> None:
        self.ledger, self.index, self.settings = ledger, index, settings or MemorySettings()
        self.remembered = Remembered(ledger)
        self._synced = False
        # Chroma and the embedder are used from one thread, one call at a time.
        self._thread = ThreadPoolExecutor(1, "memory")

    def close(self) -> None:
        """Let go of the index; the memory cannot be used any more."""
        self._thread.shutdown()
        self.index.close()

    async def remember(self, *records: Record) -> None:
        """Index what the ledger has gained, so that a later recall need not.

        Args:
            records: What the caller wants remembered. A train task is a memory once a proposal of it was accepted.

        Raises:
            LedgerError: One of the records is not in the ledger, which has to come first.
        """
        for record in records:
            if self.ledger.get(record.id) is None:
                raise LedgerError(f"{record.id} is not in the ledger of run {self.ledger.run!r}: add it there first")
        await self._do(lambda: None)

    async def recall(
        self,
        query: str,
        kind: type[R],
        *,
        before: int,
        since: int | None = None,
        family: str | None = None,
        levels: Collection[int] = (),
        adapter: str | None = None,
        count: int | None = None,
        exclude: Collection[str] = (),
        present: bool = False,
    ) -> list[tuple[R, float]]:
        """The memories nearest to a query, each with its cosine distance, nearest first.

        Args:
            query: A text.
            kind: `Task`, `Lesson`, `Row` (an exemplar, found by its task's question) or `Skill` (by what it does).
            before: Only what was made in rounds before this one.
            since: Only what was made in this round or later.
            family: Only memories of tasks of this family.
            levels: Only memories of tasks of these levels, if any are named.
            adapter: Only memories made from attempts under this adapter, or `base`; no task is.
            count: How many at most; by default as the settings say.
            exclude: Ids of tasks that no memory may be about.
            present: Whether what is retired by now stays out, instead of what was when round `before` began.

        Raises:
            LedgerError: Neither the index nor one made anew can be read.
        """
        found = await self.recall_many(
            [query],
            kind,
            before=before,
            since=since,
            families=[family],
            levels=levels,
            adapter=adapter,
            count=count,
            excludes=[exclude],
            present=present,
        )
        return found[0]

    async def recall_many(
        self,
        queries: Sequence[str],
        kind: type[R],
        *,
        before: int,
        since: int | None = None,
        families: Sequence[str | None] | None = None,
        levels: Collection[int] = (),
        adapter: str | None = None,
        count: int | None = None,
        excludes: Sequence[Collection[str]] | None = None,
        present: bool = False,
    ) -> list[list[tuple[R, float]]]:
        """`recall` for many queries at once: one embedding batch, and one Chroma query for each family.

        Args:
            queries: Texts.
            kind: As in `recall`.
            before: As in `recall`.
            since: As in `recall`.
            families: One for each query.
            levels: As in `recall`.
            adapter: As in `recall`.
            count: As in `recall`.
            excludes: One collection of task ids for each query.
            present: As in `recall`.

        Raises:
            LedgerError: Neither the index nor one made anew can be read.
        """
        if not self.settings.recall:
            return [[] for _ in queries]
        wanted = count or self.settings.recall
        of = list(families or [None] * len(queries))
        barred = [frozenset(ids) for ids in excludes or [()] * len(queries)]

        def search() -> list[list[Hit]]:
            self.index.embedder.embed(queries)
            asked = Query(
                run=self.ledger.run,
                pools=(kind.kind,),
                before=before,
                since=since,
                levels=tuple(sorted(set(levels))),
                adapter=adapter,
                count=wanted,
                without=self.remembered.retired(AFTER_ALL if present else before),
            )
            found: list[list[Hit]] = [[] for _ in queries]
            for family in dict.fromkeys(of):
                places = [place for place, other in enumerate(of) if other == family]
                about = self._narrowed(asked.model_copy(update={"family": family}))
                texts = [queries[place] for place in places]
                hits = self.index.query(texts, about, [barred[place] for place in places])
                for place, some in zip(places, hits, strict=True):
                    found[place] = some
            return found

        near = await self._do(search)
        return [
            [
                (record, hit.distance)
                for hit in hits
                if hit.distance <= self.settings.max_distance and isinstance(record := self.ledger.get(hit.id), kind)
            ]
            for hits in near
        ]

    async def novelty(self, texts: Sequence[str], kind: type[Record] = Task, *, before: int) -> list[float]:
        """Cosine distance of each text to the nearest memory of rounds before this one; 1.0 if there is none.

        Raises:
            LedgerError: Neither the index nor one made anew can be read.
        """
        pools = (kind.kind, HELD) if kind is Task else (kind.kind,)
        about = Query(run=self.ledger.run, pools=pools, before=before, count=1)
        found = await self._do(lambda: self.index.query(texts, self._narrowed(about)))
        return [hits[0].distance if hits else 1.0 for hits in found]

    async def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts as the index has them, of shape (texts, dimensions).

        Raises:
            LedgerError: The embedder cannot be loaded.
        """
        return await self._in_thread(lambda: self.index.embedder.embed(texts))

    async def sync(self) -> int:
        """Compare the index with the ledger and mend it; rebuild it if it is damaged or gone.

        Returns:
            How many memories were indexed.

        Raises:
            LedgerError: It cannot be mended, for instance because the disk is full.
        """
        return await self._in_thread(self._sync)

    async def rebuild(self) -> int:
        """Make the index anew from the ledger; other runs' memories follow when they are next used.

        Returns:
            How many memories were indexed.

        Raises:
            LedgerError: It cannot be made.
        """

        def anew() -> int:
            try:
                # Not the folder itself, where that can be helped: others in this process may have it open.
                self.index.clear()
            except IndexDamaged as error:
                self._delete(error)
            return self._sync()

        return await self._in_thread(anew)

    async def retire(self, ids: Collection[str], reason: str, round: int = 0) -> list[str]:
        """Take memories out of recall; see `Remembered.retire`."""
        return await self._in_thread(lambda: self.remembered.retire(ids, reason, round))

    async def restore(self, ids: Collection[str], reason: str, round: int = 0) -> list[str]:
        """Put memories back into recall; see `Remembered.restore`."""
        return await self._in_thread(lambda: self.remembered.restore(ids, reason, round))

    def made_under(self, adapters: Collection[str]) -> list[str]:
        """What a rollback of these adapters retires; see `Remembered.made_under`. Only the ledger is asked."""
        return self.remembered.made_under(adapters)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _do(self, work: Callable[[], T]) -> T:
        """Work on an index that is up to date with the ledger; made anew, once, if it turns out damaged."""

        def caught_up() -> T:
            self._catch_up()
            return work()

        def attempt() -> T:
            try:
                return self._insisting(caught_up)
            except IndexDamaged as error:
                self._rebuild(error)
                return work()

        return await self._in_thread(attempt)

    def _catch_up(self) -> None:
        if not self._synced:
            self._sync()
        elif entries := self.remembered.take():
            # Until they are there, the index is behind.
            self._synced = False
            self.index.add(self.ledger.run, entries)
            self._synced = True

    def _insisting(self, work: Callable[[], T]) -> T:
        """Work that is done once more where a server failed: most of its troubles pass by themselves."""
        try:
            return work()
        except IndexDamaged:
            if not self.index.store.shared:
                raise
            time.sleep(PAUSE)
            return work()

    def _delete(self, damage: IndexDamaged) -> None:
        """Delete the whole index, except on a server: it holds other runs', and is sick if it cannot write ours anew.

        Raises:
            LedgerError: It is one.
        """
        if self.index.store.shared:
            raise LedgerError(f"{damage}; the server fails again and again: see its log", fault=True) from damage
        self.index.delete()

    def _sync(self) -> int:
        def mended() -> int:
            run, entries = self.ledger.run, self._from_the_start()
            self.index.tidy()
            held = self.index.ids(run)
            missing = [entry for entry in entries if entry.id not in held[entry.pool]]
            self.index.add(run, missing)
            strays = {pool: sorted(ids - self.remembered.pools[pool]) for pool, ids in held.items()}
            self.index.remove(run, {pool: ids for pool, ids in strays.items() if ids})
            if not self.index.holds(run, _sample(entries), self.remembered.crowded):
                raise IndexDamaged(f"index {self.index.place} does not hold the vectors it lists")
            self._synced = True
            return len(missing)

        try:
            return self._insisting(mended)
        except IndexDamaged as error:
            return self._rebuild(error)

    def _rebuild(self, damage: IndexDamaged) -> int:
        logging.getLogger(__name__).warning("%s; it is made anew from the ledger", damage)
        run, entries = self.ledger.run, self._from_the_start()
        try:
            # Gentle first: where only this run's part is damaged, the others' need no embedding again.
            self.index.clear(run)
            self.index.add(run, entries)
        except IndexDamaged as error:
            self._delete(error)
            self.index.add(run, entries)
        self._synced = True
        return len(entries)

    def _from_the_start(self) -> list[Entry]:
        self._synced = False
        self.remembered.forget()
        return self.remembered.take()

    def _narrowed(self, query: Query) -> Query:
        """The query without conditions that rule nothing out, which Chroma would take long to find."""
        idle = dict[str, None]()
        if query.family is not None and self.remembered.of_one_family(query.pools, query.family):
            idle["family"] = None
        if query.before is not None and query.before > self.remembered.newest(query.pools):
            idle["before"] = None
        return query.model_copy(update={**idle, "crowded": frozenset(self.remembered.crowded)})


def _sample(entries: Sequence[Entry]) -> list[Entry]:
    """A few entries of each pool, by which lost or replaced files are noticed."""
    pools: dict[str, list[Entry]] = {}
    for entry in entries:
        pools.setdefault(entry.pool, []).append(entry)
    return [pool[place] for pool in pools.values() for place in {0, len(pool) // 2, len(pool) - 1}]
