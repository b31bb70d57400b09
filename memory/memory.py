"""Memory: recall over a run's ledger by meaning, for exemplars, lessons and past tasks, and novelty against them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.index import Entry, Hit, Index, Query, cosine
from quintet.memory.settings import MemorySettings
from quintet.records import Lesson, Proposal, Record, Row, Task

if TYPE_CHECKING:
    from quintet.memory.ledger import RunLedger

T = TypeVar("T")
R = TypeVar("R", bound=Record)

BEFORE_ALL = -1
"""The round of what was there before the first: evaluation items."""


class Memory:
    """What one run remembers: its accepted tasks, its lessons and rows, and the items it is evaluated on.

    What is remembered follows from the ledger alone, and only records of earlier rounds come back, so a resumed node
    recalls what it would have recalled unbroken. Evaluation items count for novelty and are never recalled.
    """

    def __init__(self, ledger: RunLedger, index: Index, settings: MemorySettings | None = None) -> None:
        self.ledger, self.index, self.settings = ledger, index, settings or MemorySettings()
        self._seq = 0
        self._known: set[str] = set()
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
        family: str | None = None,
        count: int | None = None,
        exclude: Collection[str] = (),
    ) -> list[tuple[R, float]]:
        """The memories nearest to a query, each with its cosine distance, nearest first.

        Args:
            query: A text.
            kind: `Task`, `Lesson` or `Row` (an exemplar, found by its task's question).
            before: Only what was made in rounds before this one.
            family: Only memories of tasks of this family.
            count: How many at most; by default as the settings say.
            exclude: Ids of tasks that no memory may be about.

        Raises:
            LedgerError: Neither the index nor one made anew can be read.
        """
        excludes = [exclude]
        return (
            await self.recall_many([query], kind, before=before, families=[family], count=count, excludes=excludes)
        )[0]

    async def recall_many(
        self,
        queries: Sequence[str],
        kind: type[R],
        *,
        before: int,
        families: Sequence[str | None] | None = None,
        count: int | None = None,
        excludes: Sequence[Collection[str]] | None = None,
    ) -> list[list[tuple[R, float]]]:
        """`recall` for many queries at once: one embedding batch, and one Chroma query for each family.

        Args:
            queries: Texts.
            kind: As in `recall`.
            before: As in `recall`.
            families: One for each query.
            count: As in `recall`.
            excludes: One collection of task ids for each query.

        Raises:
            LedgerError: Neither the index nor one made anew can be read.
        """
        wanted = count or self.settings.recall
        of = list(families or [None] * len(queries))
        barred = [frozenset(ids) for ids in excludes or [()] * len(queries)]

        def search() -> list[list[Hit]]:
            self.index.embedder.embed(queries)
            found: list[list[Hit]] = [[] for _ in queries]
            for family in dict.fromkeys(of):
                places = [place for place, other in enumerate(of) if other == family]
                about = Query(
                    run=self.ledger.run, kind=kind.kind, before=before, count=wanted, family=family, split="train"
                )
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
        about = Query(run=self.ledger.run, kind=kind.kind, before=before, count=1)
        found = await self._do(lambda: self.index.query(texts, about))
        return [hits[0].distance if hits else 1.0 for hits in found]

    async def near_duplicates(self, texts: Sequence[str], threshold: float | None = None) -> list[int | None]:
        """For each text the place of the earlier, kept one that it nearly repeats; `None` where it is kept.

        Args:
            texts: A batch, in order of preference.
            threshold: Cosine distance up to which two texts are duplicates; by default as the settings say.
        """
        limit = self.settings.duplicate_distance if threshold is None else threshold
        vectors = await self._in_thread(lambda: self.index.embedder.embed(texts))
        found: list[int | None] = []
        kept: list[int] = []
        for place, vector in enumerate(vectors):
            near = [other for other, far in zip(kept, cosine(vector, vectors[kept]), strict=True) if far <= limit]
            found.append(near[0] if near else None)
            if not near:
                kept.append(place)
        return found

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
            self.index.delete()
            return self._sync()

        return await self._in_thread(anew)

    async def stats(self) -> dict[str, int]:
        """How many memories of each kind the run has."""
        await self._do(lambda: None)
        kinds = [id.partition("-")[0] for id in self._known]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _do(self, work: Callable[[], T]) -> T:
        """Work on an index that is up to date with the ledger; made anew, once, if it turns out damaged."""

        def attempt() -> T:
            try:
                self._catch_up()
                return work()
            except IndexDamaged as error:
                self._rebuild(error)
                return work()

        return await self._in_thread(attempt)

    def _catch_up(self) -> None:
        if not self._synced:
            self._sync()
        elif entries := self._gained():
            self.index.add(self.ledger.run, entries)

    def _sync(self) -> int:
        self._seq, self._synced = 0, False
        self._known.clear()
        entries = self._gained()
        try:
            held = self.index.ids(self.ledger.run)
            missing = [entry for entry in entries if entry.id not in held]
            self.index.add(self.ledger.run, missing)
            self.index.remove(self.ledger.run, sorted(held - self._known))
            if not self.index.holds(self.ledger.run, [*entries[:1], *entries[len(entries) // 2 :][:1], *entries[-1:]]):
                raise IndexDamaged(f"index {self.index.folder} does not hold the vectors it lists")
            self._synced = True
            return len(missing)
        except IndexDamaged as error:
            return self._rebuild(error)

    def _rebuild(self, damage: IndexDamaged) -> int:
        logging.getLogger(__name__).warning("%s; it is made anew from the ledger", damage)
        self._seq, self._synced = 0, False
        self._known.clear()
        entries = self._gained()
        try:
            # Gentle first: where the folder is sound, others in this process may have it open.
            self.index.clear()
            self.index.add(self.ledger.run, entries)
        except IndexDamaged:
            self.index.delete()
            self.index.add(self.ledger.run, entries)
        self._synced = True
        return len(entries)

    def _gained(self) -> list[Entry]:
        """Entries for what the ledger holds beyond the last event seen."""
        entries, newest = [], self.ledger.newest()
        while events := self.ledger.events(self._seq, 5000, [Task, Proposal, Lesson, Row]):
            for event in events:
                entry = self._entry(event.record)
                if entry is not None and entry.id not in self._known:
                    self._known.add(entry.id)
                    entries.append(entry)
            self._seq = events[-1].seq
        # Most events are no memories; without this, each recall would read past all of them again.
        self._seq = max(self._seq, newest)
        return entries

    def _entry(self, record: Record) -> Entry | None:
        match record:
            case Task() if record.split != "train":
                return _entry(record, record, record.question, BEFORE_ALL)
            case Proposal(task=str()) if record.accepted:
                task = self._task(record)
                return _entry(task, task, task.question, record.round)
            case Lesson():
                return _entry(record, self._task(record), record.text, record.round)
            case Row():
                task = self._task(record)
                return _entry(record, task, task.question, record.round)
            case _:
                return None

    def _task(self, record: Proposal | Lesson | Row) -> Task:
        task = self.ledger.get(record.task or "")
        if not isinstance(task, Task):
            raise LedgerError(f"{record.id} is about {record.task}, which is not in the ledger of {self.ledger.run!r}")
        return task


def _entry(record: Record, task: Task, text: str, round: int) -> Entry:
    return Entry(
        id=record.id,
        text=text,
        kind=record.kind,
        family=task.family,
        level=task.level,
        round=round,
        task=task.id,
        split=task.split,
    )
