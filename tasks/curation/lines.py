"""Text files with a row a line, or a few: JSON lines, CSV and TSV, read by byte and never longer than is allowed."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from quintet.tasks import tables
from quintet.tasks.curation.sources import Found, Source, Spot, hasher
from quintet.tasks.errors import RowError, TaskError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row

BUFFER = 1 << 20
"""Bytes that are read at once."""

BEGINNING = 300
"""Bytes of a line that cannot be read, which are shown of it."""


class JsonLines(Source):
    """JSON lines."""

    def __init__(self, settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> None:
        super().__init__(settings, path, needed, whole)
        self.total = path.stat().st_size

    def _read(self) -> Iterator[Found]:
        offset = 0
        with self._opened() as file:
            number = 0
            while line := file.readline(self.longest + 1):
                number += 1
                size = len(line)
                if size > self.longest and not line.endswith(b"\n"):
                    size += _skip(file)
                    spot = Spot(offset, size, number)
                    yield Found(spot, None, _too_long(self.place(number), size, self.longest), _shown(line))
                elif line.strip():
                    yield self._found(Spot(offset, size, number), line)
                offset += size

    def at(self, spots: Sequence[Spot]) -> Iterator[Row]:
        """By byte."""
        with self._opened() as file:
            for spot in spots:
                file.seek(spot.offset)
                line = file.read(spot.size)
                yield tables.json_row(self.place(spot.number), tables.decoded(self.name, spot.number, line))

    def digest(self) -> str:
        """Of the file's bytes."""
        with self._opened() as file:
            return hashlib.file_digest(file, hasher).hexdigest()  # type: ignore[arg-type]

    def _found(self, spot: Spot, line: bytes) -> Found:
        try:
            return Found(spot, tables.json_row(self.place(spot.number), tables.decoded(self.name, spot.number, line)))
        except RowError as error:
            return Found(spot, None, error, _shown(line))

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb", buffering=BUFFER)
        except OSError as error:
            raise TaskError(f"{self.name}: {error.strerror or error}") from error


class Separated(JsonLines):
    """CSV or TSV, with a line of column names."""

    def __init__(self, settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> None:
        super().__init__(settings, path, needed, whole)
        self.separator = "\t" if path.suffix.lower() == ".tsv" else ","
        self.columns: list[str] = []

    def _read(self) -> Iterator[Found]:
        with self._opened() as file:
            after = self._header(file)
            while True:
                cells, spot, error, line = self._record(file, after)
                if spot.size == 0:
                    return
                after = Spot(spot.offset + spot.size, 0, spot.number + (error is not None or _lines_of(line)))
                if error is not None:
                    yield Found(spot, None, error, _shown(line))
                elif cells:
                    yield self._row(spot, cells, line)

    def _row(self, spot: Spot, cells: list[str], line: bytes) -> Found:
        try:
            return Found(spot, tables.separated_row(self.place(spot.number), self.columns, cells))
        except RowError as error:
            return Found(spot, None, error, _shown(line))

    def at(self, spots: Sequence[Spot]) -> Iterator[Row]:
        """By byte; the column names are read once."""
        with self._opened() as file:
            self._header(file)
            for spot in spots:
                cells, _, error, _ = self._record(file, spot)
                if error is not None:
                    raise error
                yield tables.separated_row(self.place(spot.number), self.columns, cells)

    def _header(self, file: BinaryIO) -> Spot:
        """Where the rows begin.

        Raises:
            TaskError: The column names cannot be read, or one is missing.
        """
        after = Spot(0, 0, 1)
        cells: list[str] = []
        while not cells:
            cells, spot, error, line = self._record(file, after)
            if error is not None:
                raise error
            if spot.size == 0:
                raise TaskError(f"{self.name}: no rows, not even column names")
            after = Spot(spot.offset + spot.size, 0, spot.number + _lines_of(line))
        self.columns = [cell.strip() for cell in cells]
        tables.check_columns(self.place(after.number - _lines_of(line)), self.needed, self.columns)
        return after

    def _record(self, file: BinaryIO, start: Spot) -> tuple[list[str], Spot, RowError | None, bytes]:
        """The cells of the record that begins at a spot; of one that is none, the first line is left out.

        A quote that is never closed would take in all that follows: it costs its own line only.
        """
        file.seek(start.offset)
        taken: list[bytes] = []
        size = 0

        def lines() -> Iterator[str]:
            nonlocal size
            while line := file.readline(self.longest + 1 - size):
                taken.append(line)
                size += len(line)
                if size > self.longest:
                    raise _too_long(self.place(start.number), size, self.longest)
                yield tables.decoded(self.name, start.number + len(taken) - 1, line)

        place = self.place(start.number)
        try:
            cells = next(csv.reader(lines(), delimiter=self.separator, strict=True), [])
        except csv.Error as error:
            problem = tables.no_cells(place, self.path, error)
        except RowError as error:
            problem = error
        else:
            return cells, Spot(start.offset, size, start.number), None, b"".join(taken)
        first = len(taken[0])
        if not taken[0].endswith(b"\n"):
            file.seek(start.offset + first)
            first += _skip(file)
        return [], Spot(start.offset, first, start.number), problem, taken[0]


def _too_long(place: str, size: int, most: int) -> RowError:
    return RowError(f"{place}: longer than {most:,} bytes (filters.row_bytes)", "too long")


def _skip(file: BinaryIO) -> int:
    """Bytes up to the end of the line, which are read and forgotten."""
    size = 0
    while line := file.readline(BUFFER):
        size += len(line)
        if line.endswith(b"\n"):
            break
    return size


def _lines_of(line: bytes) -> int:
    return max(line.count(b"\n"), 1)


def _shown(line: bytes) -> str:
    return line[:BEGINNING].decode("utf-8", "replace").strip()
