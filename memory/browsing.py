"""A run's memory as a reader meets it: search it, count it, take something out of it or put it back, rebuild it.

Chroma lets one process at a time use a folder, so an index is opened only while no run holds the workspace, and held
meanwhile. Beside a run, or where the index cannot be used, a search reads the ledger, which any number may, and embeds
what it finds there itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from quintet.memory.entries import AFTER_ALL, BEFORE_ALL, HELD, RECALLED, Entry, Remembered
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.reading.recalled import times
from quintet.memory.settings import MemorySettings
from quintet.memory.views import Asked, Found, MemoryStats, Rebuilt, Searched, Turned, said
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Lesson, Proposal, Recall, Record, Row, Skill, Task

if TYPE_CHECKING:
    from quintet.memory.embedder import Embeds
    from quintet.memory.index import Index
    from quintet.memory.ledger import Ledger, RunLedger

UP_TO_DATE = "up to date"
"""Said of an index that lacks nothing."""


def search(
    workspace: Path, asked: Asked, run: str | None = None, embedder: Embeds | None = None, *, mend: bool = True
) -> Searched:
    """The memories nearest to a text.

    Args:
        workspace: Where the run lies.
        asked: What to search for.
        run: Whose memory; the newest run's if `None`.
        embedder: What makes the vectors, if it is at hand, and as the run's settings say; loaded if not.
        mend: Whether an index that is behind is mended first, which may take long and holds the workspace meanwhile;
            else the ledger is read instead.

    Raises:
        LedgerError: There is no such run or adapter, or the embedder cannot be loaded.
    """
    place = Workspace.existing(workspace)
    with place.ledger() as ledgers:
        ledger = ledgers.run(run)
        asked = asked.model_copy(update={"adapter": _adapter(ledgers, asked.adapter)})
        settings = settings_of(ledger)
        embedder = embedder or embedder_of(settings)
        if asked.retired:
            # Few, and no query of the index asks for them.
            return _searched(ledger, asked, _read_through(ledger, asked, embedder)[0], "ledger")
        # Loaded first: no run can begin while the index is held.
        embedder.embed([asked.text])
        try:
            with _index_alone(place, settings, "quintet memory search", embedder) as index:
                near, why = None, f"{place.path} is in use"
                if index is not None and not mend and (state := _state_now(index, ledger)) != UP_TO_DATE:
                    why = f"the index is {state}"
                elif index is not None:
                    near = asyncio.run(_ask(index, ledger, asked, settings))
        except LedgerError as error:
            near, why = None, str(error)
        if near is not None:
            return _searched(ledger, asked, near, "index")
        near, read = _read_through(ledger, asked, embedder)
        note = f"{why}: {read:,} memories were read from the ledger instead of its index"
        return _searched(ledger, asked, near, "ledger", note)


def embedder_of(settings: MemorySettings) -> Embeds:
    """What makes a run's vectors; nothing is loaded before it is used."""
    from quintet.memory.embedder import Embedder

    return Embedder(settings.embedder, settings.embed_batch)


def stats(workspace: Path, run: str | None = None) -> MemoryStats:
    """How much a run remembers, and how its index stands. Nothing is mended by asking.

    Raises:
        LedgerError: There is no such run.
    """
    place = Workspace.existing(workspace)
    with place.ledger() as ledgers:
        ledger = ledgers.run(run)
        remembered, settings = Remembered(ledger), settings_of(ledger)
        remembered.read()
        retired, recalls = remembered.retired(), ledger.find(Recall)
        kinds = [kind.kind for kind in RECALLED]
        try:
            with _index_alone(place, settings, "quintet memory stats") as index:
                indexed, state = _state(index, ledger, remembered)
        except LedgerError as error:
            indexed, state = None, str(error)
        return MemoryStats(
            run=ledger.run,
            memories={kind: len(remembered.pools[kind]) for kind in kinds},
            retired={kind: len(retired & remembered.pools[kind]) for kind in kinds},
            held=len(remembered.pools[HELD]),
            recalls=len(recalls),
            recalled=sum(len(recall.items) for recall in recalls),
            index=settings.index or str(place.chroma),
            expected=sum(len(ids) for ids in remembered.pools.values()),
            indexed=indexed,
            state=state,
        )


def rebuild(workspace: Path, run: str | None = None) -> Rebuilt:
    """Make the index anew from the ledger.

    Raises:
        LedgerError: There is no such run, a run holds the workspace, or the index cannot be made.
    """
    from quintet.memory.index import Index
    from quintet.memory.memory import Memory

    place = Workspace.existing(workspace)
    with place.ledger() as ledgers, place.claim("quintet memory rebuild"):
        ledger = ledgers.run(run)
        settings = settings_of(ledger)
        memory = Memory(ledger, Index(place.chroma, settings), settings)
        try:
            return Rebuilt(run=ledger.run, index=memory.index.place, indexed=asyncio.run(memory.rebuild()))
        finally:
            memory.close()


def retire(workspace: Path, ids: Sequence[str], reason: str, run: str | None = None) -> list[Turned]:
    """Take memories out of recall, also beside a run, which heeds it from its next recall on.

    Args:
        workspace: Where the runs lie.
        ids: The beginnings of memories' ids.
        reason: Why.
        run: Whose; for each memory the newest run that holds it if `None`.

    Raises:
        LedgerError: An id stands for no memory, or for several; nothing was changed.
    """
    return _turn(workspace, ids, reason, run, retired=True)


def restore(workspace: Path, ids: Sequence[str], reason: str, run: str | None = None) -> list[Turned]:
    """Put memories back into recall; the rest as for `retire`."""
    return _turn(workspace, ids, reason, run, retired=False)


def _turn(workspace: Path, ids: Sequence[str], reason: str, run: str | None, *, retired: bool) -> list[Turned]:
    with Workspace.existing(workspace).ledger() as ledgers:
        of: dict[str, list[str]] = {}
        for id in ids:
            full = ledgers.resolve(id)
            of.setdefault(ledgers.run(run).run if run else ledgers.holder(full).run, []).append(full)
        memories = {name: Remembered(ledgers.run(name)) for name in of}
        for name, remembered in memories.items():
            remembered.check(of[name])
        turned = []
        for name, remembered in memories.items():
            done = (remembered.retire if retired else remembered.restore)(of[name], reason)
            unchanged = tuple(id for id in dict.fromkeys(of[name]) if id not in done)
            turned.append(Turned(run=name, retired=retired, ids=tuple(done), unchanged=unchanged))
        return turned


def settings_of(ledger: RunLedger) -> MemorySettings:
    """What a run remembers with, as it was recorded when the run began.

    Raises:
        LedgerError: Another Quintet recorded it, whose settings are not known here.
    """
    try:
        return MemorySettings.model_validate(ledger.info.settings.get("memory", {}))
    except ValidationError as error:
        raise LedgerError(f"run {ledger.run!r} remembers with settings unknown here: {error}") from error


@contextmanager
def _index_alone(
    place: Workspace, settings: MemorySettings, who: str, embedder: Embeds | None = None
) -> Iterator[Index | None]:
    """The index, held so that no run begins meanwhile; `None` where one lives already.

    Raises:
        LedgerError: A run began just now, or the workspace cannot be held.
    """
    if place.holder() is not None:
        yield None
        return
    from quintet.memory.index import Index

    with place.claim(who):
        index = Index(place.chroma, settings, embedder)
        try:
            yield index
        finally:
            index.close()


def _adapter(ledgers: Ledger, adapter: str | None) -> str | None:
    if adapter is None or adapter == BASE:
        return adapter
    full = ledgers.resolve(adapter)
    if not full.startswith("adapter-"):
        raise LedgerError(f"{full} is no adapter")
    return full


Near = list[tuple[str, float]]
"""Ids and distances."""


async def _ask(index: Index, ledger: RunLedger, asked: Asked, settings: MemorySettings) -> Near:
    from quintet.memory.memory import Memory

    # A reader wants to see how far the nearest is, even if no role would recall it.
    memory = Memory(ledger, index, settings.model_copy(update={"max_distance": 2.0}))
    near: Near = []
    try:
        for kind in RECALLED:
            if kind.kind in asked.kinds:
                some = await memory.recall(
                    asked.text,
                    kind,
                    before=AFTER_ALL if asked.before is None else asked.before,
                    since=asked.since,
                    family=asked.family,
                    levels=asked.levels,
                    adapter=asked.adapter,
                    count=asked.count,
                    present=True,
                )
                near += [(record.id, distance) for record, distance in some]
    finally:
        memory.close()
    return _nearest(near, asked.count)


def _read_through(ledger: RunLedger, asked: Asked, embedder: Embeds) -> tuple[Near, int]:
    """The same without an index, and how many memories there were to read."""
    from quintet.memory.queries import cosine

    remembered = Remembered(ledger)
    entries = remembered.take()
    retired = remembered.retired()
    fitting = [entry for entry in entries if (entry.id in retired) == asked.retired and _fits(entry, asked)]
    if not fitting:
        return [], 0
    vectors = embedder.embed([asked.text, *(entry.text for entry in fitting)])
    distances = cosine(vectors[0], vectors[1:]).tolist()
    near = [(entry.id, distance) for entry, distance in zip(fitting, distances, strict=True)]
    return _nearest(near, asked.count), len(fitting)


def _fits(entry: Entry, asked: Asked) -> bool:
    return (
        entry.pool in asked.kinds
        and asked.family in (None, entry.family)
        and asked.adapter in (None, entry.adapter)
        and (not asked.levels or entry.level in asked.levels)
        and (asked.since is None or entry.round >= asked.since)
        and (asked.before is None or entry.round < asked.before)
    )


def _nearest(near: Near, count: int) -> Near:
    return sorted(near, key=lambda one: (one[1], one[0]))[:count]


def _searched(
    ledger: RunLedger, asked: Asked, near: Near, through: Literal["index", "ledger"], note: str = ""
) -> Searched:
    records = ledger.get_many([id for id, _ in near])
    found = tuple(_found(ledger, records[id], distance, asked.retired) for id, distance in near if id in records)
    return Searched(run=ledger.run, asked=asked, found=found, through=through, note=note)


def _found(ledger: RunLedger, record: Record, distance: float, retired: bool) -> Found:
    task = record if isinstance(record, Task) else ledger.get(getattr(record, "task", ""))
    if not isinstance(record, Task | Lesson | Row | Skill) or not isinstance(task, Task):
        raise LedgerError(f"{record.id} is no memory")
    adapter = ""
    if isinstance(record, Task):
        rounds = [one.round for one in ledger.find(Proposal, task=task.id) if one.accepted]
        round, text = (rounds or [BEFORE_ALL])[0], record.question
    else:
        adapter = ledger.attempt_adapters([record.attempt]).get(record.attempt, "")
        round, text = record.round, said(record)
    return Found(
        id=record.id,
        kind=record.kind,
        distance=distance,
        family=task.family,
        level=task.level,
        round=round,
        adapter=adapter,
        retired=retired,
        recalls=times(ledger, record.id),
        question=task.question,
        text=text,
    )


def _state_now(index: Index, ledger: RunLedger) -> str:
    remembered = Remembered(ledger)
    remembered.read()
    return _state(index, ledger, remembered)[1]


def _state(index: Index | None, ledger: RunLedger, remembered: Remembered) -> tuple[int | None, str]:
    if index is None:
        return None, "in use by a run"
    try:
        held = index.ids(ledger.run)
    except IndexDamaged as error:
        return None, f"damaged ({error})"
    except LedgerError as error:
        return None, str(error)
    lacking = sum(len(ids - held[pool]) for pool, ids in remembered.pools.items())
    strays = sum(len(ids - remembered.pools[pool]) for pool, ids in held.items())
    amiss = [f"behind by {lacking:,}"] * bool(lacking) + [f"{strays:,} that the ledger lacks"] * bool(strays)
    return sum(len(ids) for ids in held.values()), ", ".join(amiss) or UP_TO_DATE
