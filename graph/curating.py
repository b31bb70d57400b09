"""Has a run's data sets read through their filters, with what only a run has: evaluation items and the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quintet.graph.errors import LoopError
from quintet.graph.quality import AnswerQuality
from quintet.records import Curation
from quintet.tasks.errors import TaskError

if TYPE_CHECKING:
    from quintet.graph.settings import Settings
    from quintet.memory.ledger import RunLedger
    from quintet.tasks.curation.curate import Progress
    from quintet.tasks.curation.family import CuratedFamily
    from quintet.tasks.curation.index import Summary
    from quintet.tasks.family import TaskFamily

FOLDER = "curation"
"""Folder of a workspace that holds what was curated: one folder for each data set and choice of filters."""


@dataclass(frozen=True)
class Place:
    """Where curated data sets are kept, and for which run."""

    folder: Path
    """The workspace."""
    rounds: int
    openings: int = 1
    ledger: RunLedger | None = None
    """The run's; `None` where there is none yet."""
    tell: Callable[[Progress], None] = lambda progress: None
    """Told how far it is, from another thread."""


def wanted(settings: Settings) -> list[str]:
    """Names of the families that a run with these settings asks, repeats allowed.

    Raises:
        PluginError: There is no such source of tasks.
    """
    from quintet.agents.sources import load_sources

    return [
        *settings.proposer.families,
        *settings.evaluation.families,
        *(settings.evaluation.retention_families or ()),
        *(family for source in load_sources(settings.proposer) for family in source.needs),
    ]


async def curated(
    settings: Settings, known: Mapping[str, TaskFamily], names: Sequence[str], place: Place
) -> dict[str, CuratedFamily]:
    """The filtered data sets among the families that are wanted.

    A run has its data sets curated once, when it begins; later rounds and a resumed run take what is on record.

    Args:
        settings: Of the run.
        known: All other families.
        names: Those that are wanted.
        place: Where it is kept.

    Raises:
        TaskError: A data set cannot be read, a row is wrong and refused, or none is left.
        SuiteError: The suites of the other families do not fit.
    """
    filtered = {name: one for name, one in settings.tasks.datasets.items() if one.filters.active and name in names}
    for name, one in filtered.items():
        if name in known:
            raise TaskError(f"task family {name!r} is there already, and data set {one.path} is another: rename one")
    found = {name: family for name in filtered if (family := _recorded(settings, name, place)) is not None}
    left = {name: one for name, one in filtered.items() if name not in found}
    if not left:
        return found
    items: list[str] = []
    if any(one.filters.contamination for one in left.values()):
        items = await _items(settings, known, names, place)
    with _thread() as (thread, stop):
        scorer = AnswerQuality(settings.model)
        for name in left:
            work = (settings, name, items, scorer, place, stop)
            found[name] = await asyncio.get_running_loop().run_in_executor(thread, _curate, *work)
    return found


async def curate_all(
    settings: Settings, workspace: Path, name: str | None = None, tell: Callable[[Progress], None] | None = None
) -> list[tuple[Summary, Path]]:
    """Curate data sets as a run with these settings would, which then finds the work done.

    Args:
        settings: Of the run.
        workspace: The workspace that it would run in.
        name: One data set; all that have filters if `None`.
        tell: Told how far it is, from another thread.

    Returns:
        For each what was done, and the file of the rows left out.

    Raises:
        LoopError: There is no such data set, or it has no filters.
    """
    from quintet.graph.joining import joining
    from quintet.memory.workspace import Workspace
    from quintet.tasks.curation.index import REJECTED
    from quintet.tasks.families import load_families

    filtered = [one for one, data in settings.tasks.datasets.items() if data.filters.active]
    if name is not None and name not in filtered:
        there = ", ".join(filtered) or "none"
        raise LoopError(f"no data set {name!r} with filters: there are {there}; see [tasks.datasets.NAME.filters]")
    if not filtered:
        raise LoopError("no data set has filters: name some under [tasks.datasets.NAME.filters]")
    plain = {one: data for one, data in settings.tasks.datasets.items() if one not in filtered}
    known = await asyncio.to_thread(load_families, joining(settings).tasks, plain)
    place = Place(Workspace(workspace).path, settings.rounds, tell=tell or (lambda progress: None))
    others = [one for one in wanted(settings) if one in known]
    found = await curated(settings, known, [*others, *([name] if name else filtered)], place)
    return [(family.curated, family.folder / REJECTED) for family in found.values()]


def records_of(families: Iterable[TaskFamily]) -> list[Curation]:
    """What the ledger keeps of the filtered data sets among these families."""
    from quintet.tasks.curation.family import CuratedFamily
    from quintet.tasks.curation.index import REJECTED

    return [
        Curation(
            # Before the first round.
            round=0,
            family=family.name,
            read=family.curated.read,
            kept=family.curated.kept,
            rejected=family.curated.rejected,
            examples=family.curated.examples,
            file=f"{FOLDER}/{family.folder.name}/{REJECTED}",
        )
        for family in families
        if isinstance(family, CuratedFamily)
    ]


def kept(families: Iterable[TaskFamily]) -> list[str]:
    """A line on each filtered data set: what was kept of it, and why the rest was not."""
    from quintet.tasks.curation.family import CuratedFamily

    return [f"data set {family.curated.text()}" for family in families if isinstance(family, CuratedFamily)]


def _recorded(settings: Settings, name: str, place: Place) -> CuratedFamily | None:
    """What the run had curated when it began, if that and the data are still there."""
    from quintet.tasks.curation.family import CuratedFamily
    from quintet.tasks.curation.index import load

    records = place.ledger.find(Curation) if place.ledger is not None else []
    for record in records:
        folder = (place.folder / record.file).parent
        if record.family == name and (done := load(folder)) is not None:
            family = CuratedFamily(name, settings.tasks.datasets[name], folder, done)
            return family if family.unchanged() else None
    return None


def _curate(
    settings: Settings,
    name: str,
    items: Sequence[str],
    scorer: AnswerQuality,
    place: Place,
    stop: threading.Event,
) -> CuratedFamily:
    from quintet.tasks.curation import curate
    from quintet.tasks.curation.family import CuratedFamily

    def check() -> None:
        if stop.is_set():
            raise LoopError("curation was stopped")

    one = settings.tasks.datasets[name]
    judged = one.filters.by_quality
    work = curate.Curation(
        name,
        one,
        items,
        score=scorer.score if judged else None,
        scorer=scorer.revision if judged else "",
        tell=place.tell,
        stop=check,
    )
    return CuratedFamily(name, one, *work.into(place.folder / FOLDER))


async def _items(settings: Settings, known: Mapping[str, TaskFamily], names: Sequence[str], place: Place) -> list[str]:
    """Questions of the evaluation items of all families but the filtered data sets themselves."""
    from quintet.evaluation.suites import items_of
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.families import pick

    others = pick(known, [name for name in names if name in known])
    with Examiner(others, settings.tasks) as examiner:
        within = frozenset(family.name for family in others)
        tasks = await items_of(examiner, settings.evaluation, settings.seed, place.rounds, place.openings, within)
    return [task.question for task in tasks]


@contextmanager
def _thread() -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """A thread of its own, whose OpenMP threads end with it, and what ends its work where nobody waits for it."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, "quintet-curation") as thread:
        try:
            yield thread, stop
        finally:
            stop.set()
