"""Tables whose rows are numbered: Parquet, and what the `datasets` library wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from quintet.tasks import tables
from quintet.tasks.curation.sources import Found, Source, Spot, hasher
from quintet.tasks.errors import TaskError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row


class Table(Source):
    """A table whose rows are numbered."""

    def place(self, number: int) -> str:
        """As other tables say it."""
        return f"{self.name} row {number}"


class Parquet(Table):
    """Parquet, read a row group at a time."""

    def __init__(self, settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> None:
        super().__init__(settings, path, needed, whole)
        self._settings = settings
        with self._file() as file:
            self.total = file.metadata.num_rows
            groups = file.metadata.num_row_groups
            self._groups = [file.metadata.row_group(number).num_rows for number in range(groups)]

    def _read(self) -> Iterator[Found]:
        for number, row in enumerate(tables.rows(self._settings, self.path, self.needed, self.whole, network=False)):
            yield Found(Spot(number, 0, number + 1), row)

    def at(self, spots: Sequence[Spot]) -> Iterator[Row]:
        """Each row group that is wanted is read once."""
        found: dict[int, dict[str, Any]] = {}
        columns = None if self.whole else sorted(self.needed)
        wanted = sorted({spot.offset for spot in spots})
        with self._file() as file:
            before = 0
            for group, size in enumerate(self._groups):
                inside = [row for row in wanted if before <= row < before + size]
                if inside:
                    rows = file.read_row_group(group, columns=columns).take([row - before for row in inside])
                    found.update(zip(inside, rows.to_pylist(), strict=True))
                before += size
        for spot in spots:
            yield Row(self.place(spot.number), found[spot.offset])

    def digest(self) -> str:
        """Of the file's bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, hasher).hexdigest()

    def _file(self) -> Any:
        arrow = tables.library("pyarrow", f"{self.name}: reading Parquet")
        parquet = tables.library("pyarrow.parquet", f"{self.name}: reading Parquet")
        try:
            return parquet.ParquetFile(self.path)
        except (arrow.ArrowException, OSError) as error:
            said = str(error).splitlines()[0][:200]
            raise TaskError(f"{self.name}: not Parquet that can be read: {said}") from error


class Arrow(Table):
    """A folder that `datasets` wrote, or a data set of the hub in the local cache."""

    def __init__(self, settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> None:
        super().__init__(settings, path, needed, whole)
        dataset = tables.arrow(settings, path, network=settings.network)
        tables.check_columns(self.name, needed, dataset.column_names)
        dataset = dataset if whole else dataset.select_columns(sorted(needed))
        self._dataset = dataset.with_format("arrow")
        self.total = len(dataset)
        self._files = [Path(file["filename"]) for file in dataset.cache_files]

    def _read(self) -> Iterator[Found]:
        number = 0
        for batch in self._dataset.iter(1024):
            for cells in batch.to_pylist():
                yield Found(Spot(number, 0, number + 1), Row(self.place(number + 1), cells))
                number += 1

    def at(self, spots: Sequence[Spot]) -> Iterator[Row]:
        """By row; the files are mapped into memory, not read."""
        rows = self._dataset[[spot.offset for spot in spots]].to_pylist() if spots else []
        for spot, cells in zip(spots, rows, strict=True):
            yield Row(self.place(spot.number), cells)

    def digest(self) -> str:
        """Of all files' bytes."""
        found = hasher()
        for path in self._files:
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, hasher).digest())
        return str(found.hexdigest())

    def stamp(self) -> list[int]:
        """Of all files."""
        return [number for path in self._files for number in (path.stat().st_size, path.stat().st_mtime_ns)]
