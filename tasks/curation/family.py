"""A data set that was read through its filters, as a task family that holds nothing but where its rows stand."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quintet.records import digest
from quintet.tasks.curation import index
from quintet.tasks.curation.index import Summary
from quintet.tasks.dataset import DatasetFamily
from quintet.tasks.errors import LevelError, RowError
from quintet.tasks.family import Draft
from quintet.tasks.settings import DatasetSettings

if TYPE_CHECKING:
    from quintet.tasks.curation.sources import Source

FIRST = 4096
"""Rows that are put in order before all of a level are."""

TOGETHER = 256
"""Rows that are read at once where reading by row is slow."""


class CuratedFamily(DatasetFamily):
    """Questions and answers of the rows that were kept; each is read again where it stands when it is drawn.

    Args:
        name: The family's name.
        settings: Where the data are, and how they are checked.
        folder: What was curated.
        curated: Its summary.
    """

    def __init__(self, name: str, settings: DatasetSettings, folder: Path, curated: Summary) -> None:
        self._begin(name, settings)
        self.folder, self.curated = folder.absolute(), curated
        self.levels = curated.levels
        self.fingerprint = digest([curated.fingerprint, self._check.digest])[:32]
        self._answers = curated.answers
        self._open: tuple[Any, Source] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Every kept row of a level once, in an order that depends on the seed and the questions alone.

        Raises:
            LevelError: The data changed since they were curated.
        """
        from quintet.tasks.curation.passing import hash64
        from quintet.tasks.curation.sources import Spot

        try:
            rows, source = self._opened()
            for part in _ordered(rows, level, seed):
                spots = [Spot(int(row["offset"]), int(row["size"]), int(row["number"])) for row in rows[part]]
                for number, row in zip(part, source.at(spots), strict=True):
                    item = self._reader.item(row)
                    if hash64(item.canonical) != rows["question"][number]:
                        raise self._changed()
                    yield Draft(
                        question=item.question,
                        canonical=item.canonical,
                        truth=item.truth,
                        choices=self._check.choices(item.truth) or self._answers,
                        level=level,
                    )
        except RowError as error:
            raise self._changed() from error

    def _opened(self) -> tuple[Any, Source]:
        """The kept rows and what reads them, once it is known that the data are what they were."""
        if self._open is None:
            if not self.unchanged():
                raise self._changed()
            self._open = (index.rows(self.folder), self._source())
        return self._open

    def unchanged(self) -> bool:
        """Whether the data are what they were when they were curated.

        Raises:
            TaskError: They are not there any more.
        """
        source = self._source()
        return tuple(source.stamp()) == self.curated.stamp or source.digest() == self.curated.source

    def _source(self) -> Source:
        from quintet.tasks.curation.opening import source

        settings = self.settings.model_copy(update={"network": False})
        return source(settings, self._reader.path, self._reader.columns(), self._check.whole)

    def _changed(self) -> LevelError:
        return LevelError(f"{self.settings.path} changed since the run began: leave it alone, or start anew")


def _ordered(rows: Any, level: int, seed: int) -> Iterator[Any]:
    """The places of a level's rows in the order of a draw, some at a time; the first are found without sorting all."""
    import numpy as np

    from quintet.tasks.curation.duplicates import mixed
    from quintet.tasks.curation.passing import hash64

    ours = np.flatnonzero(rows["level"] == level)
    keys = mixed(rows["question"][ours] ^ np.uint64(hash64(f"order {seed}")))
    done = 0
    if len(ours) > 2 * FIRST:
        near = np.argpartition(keys, FIRST)[:FIRST]
        near = near[np.argsort(keys[near])]
        for done in range(0, FIRST, TOGETHER):
            yield ours[near[done : min(done + TOGETHER, FIRST)]]
        done = FIRST
    order = np.argsort(keys)
    for start in range(done, len(order), TOGETHER):
        yield ours[order[start : start + TOGETHER]]


def roughly(name: str, settings: DatasetSettings) -> CuratedFamily:
    """A filtered data set outside of a run: nothing is compared with evaluation items, and no model scores it.

    Raises:
        TaskError: The data set cannot be read, a row is wrong and refused, or none is left.
    """
    from quintet.tasks.curation.curate import Curation

    place = Path(tempfile.mkdtemp(prefix="quintet-"))
    try:
        found = CuratedFamily(name, settings, *Curation(name, settings).into(place))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(found, shutil.rmtree, place, ignore_errors=True)
    return found
