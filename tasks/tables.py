"""Rows of a data set, each with the place where it stands: JSON lines, CSV, Parquet, or the `datasets` library."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from quintet.tasks.errors import RowError, TaskError
from quintet.tasks.settings import DatasetSettings

_BATCH = 1024
"""Rows that are read at once where a format is read in batches."""

COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip", ".lz4")
"""Suffixes of files whose rows have no place that could be gone back to."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row, before anything in it is known to be right."""

    place: str
    """Where it stands, for messages: `FILE:LINE`, or `FILE row NUMBER`, both counted from 1."""
    cells: Mapping[str, Any]
    """What it holds, by column."""

    def wrong(self, said: str, reason: str = "wrong value") -> RowError:
        """The error that says what is wrong with this row."""
        return RowError(f"{self.place}: {said}", reason)

    def cell(self, column: str) -> Any:
        """What stands in a column.

        Raises:
            TaskError: There is no such column.
        """
        if column not in self.cells:
            raise _no_column(self.place, column, self.cells)
        return self.cells[column]

    def text(self, column: str) -> str:
        """What stands in a column, as text.

        Raises:
            TaskError: There is no such column, nothing in it, or something that is neither text nor a number.
        """
        cell = self.cell(column)
        missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
        if missing or (isinstance(cell, str) and not cell.strip()):
            raise self.wrong(f"{column!r} is empty", "empty cell")
        if not isinstance(cell, str | int | float):
            raise self.wrong(f"{column!r} is a {type(cell).__name__}, not text: {cell!r:.60}", "wrong type")
        return str(cell)


def rows(settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool, network: bool) -> Iterator[Row]:
    """The rows of a data set, read as they are asked for.

    Args:
        settings: Which data set.
        path: Its path, made absolute; used unless it is one of the hub's.
        needed: Columns that must be there.
        whole: Whether all columns are wanted, rather than the needed ones.
        network: Whether a hub data set may be downloaded.

    Raises:
        TaskError: There is no such data set, it is not what its name says, or the library that reads it is missing.
    """
    found = _open(settings, path, needed, whole, network)
    return islice(found, settings.limit)


def library(name: str, use: str) -> Any:
    """An optional library.

    Raises:
        TaskError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        lacking = name.partition(".")[0].replace("_", "-")
        raise TaskError(f'{use} needs {lacking} ({error}): pip install "quintet[data]"') from error


def _open(settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool, network: bool) -> Iterator[Row]:
    name = settings.path
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" if path.is_file():
            return _json_lines(name, path)
        case ".csv" if path.is_file():
            return _separated(name, path, needed, ",")
        case ".tsv" if path.is_file():
            return _separated(name, path, needed, "\t")
        case ".parquet" if path.is_file():
            return _parquet(name, path, needed, whole)
    refuse_unreadable(settings, path)
    return _arrow(name, arrow(settings, path, network), needed, whole)


def refuse_unreadable(settings: DatasetSettings, path: Path) -> None:
    """Say why no reader reads this path, unless it is a folder or may be a data set of the hub.

    Raises:
        TaskError: It is neither.
    """
    name = settings.path
    if path.is_dir():
        return
    if path.exists() and path.suffix.lower() in COMPRESSED:
        raise TaskError(f"{name}: compressed; unpack it first, since rows are read again where they stand")
    if path.exists():
        raise TaskError(
            f"{name}: {path.suffix or 'a file without a suffix'} cannot be read; there are .jsonl, .ndjson, .csv, "
            ".tsv, .parquet, and folders written by save_to_disk"
        )
    if not _HUB.fullmatch(name) or path.suffix in (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"):
        raise TaskError(f"{name}: no such file or folder in {path.parent}")


def arrow(settings: DatasetSettings, path: Path, network: bool) -> Any:
    """The `datasets.Dataset` of a folder or of the hub.

    Raises:
        TaskError: There is none, or the library is missing.
    """
    return _saved(settings, path) if path.is_dir() else _from_hub(settings, network)


def decoded(name: str, number: int, line: bytes) -> str:
    """A line as text.

    Raises:
        RowError: It is not UTF-8.
    """
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"{name}:{number}: not UTF-8: {error.reason} at byte {error.start}", "not UTF-8") from error


def _lines(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number; a line ends at a line feed only, whatever else Unicode calls a line's end."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, decoded(name, number, line)
    except OSError as error:
        raise TaskError(f"{name}: {error.strerror or error}") from error


def _json_lines(name: str, path: Path) -> Iterator[Row]:
    for number, line in _lines(name, path):
        if not line.strip():
            continue
        yield json_row(f"{name}:{number}", line)


def json_row(place: str, line: str) -> Row:
    """The row that a line of JSON is.

    Raises:
        RowError: It is none.
    """
    try:
        cells = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise RowError(f"{place}: not JSON: {error.msg} (column {error.colno})", "not JSON") from error
    except (ValueError, RecursionError) as error:
        raise RowError(f"{place}: not JSON that can be read: {error}", "not JSON") from error
    if not isinstance(cells, dict):
        said = f'{place}: a {type(cells).__name__}, not an object such as {{"question": "..."}}'
        raise RowError(said, "not JSON")
    return Row(place, cells)


def _separated(name: str, path: Path, needed: Collection[str], separator: str) -> Iterator[Row]:
    reader = csv.reader((line for _, line in _lines(name, path)), delimiter=separator, strict=True)
    columns: list[str] | None = None
    while True:
        # A quoted cell may hold line feeds: a row's place is where it begins.
        place = f"{name}:{reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise no_cells(place, path, error) from error
        if cells is None:
            return
        if not cells:
            continue
        if columns is None:
            columns = [cell.strip() for cell in cells]
            check_columns(place, needed, columns)
            continue
        yield separated_row(place, columns, cells)


def no_cells(place: str, path: Path, error: Exception) -> RowError:
    """The error that says why a line of CSV or TSV holds no cells."""
    return RowError(f"{place}: not {path.suffix[1:].upper()}: {error}", f"not {path.suffix[1:].upper()}")


def separated_row(place: str, columns: Sequence[str], cells: Sequence[str]) -> Row:
    """The row of these cells.

    Raises:
        RowError: There are more or fewer than columns.
    """
    if len(cells) != len(columns):
        said = f"{place}: {len(cells)} cells, but there are {len(columns)} columns: {', '.join(columns)}"
        raise RowError(said, "wrong number of cells")
    return Row(place, dict(zip(columns, cells, strict=True)))


def _parquet(name: str, path: Path, needed: Collection[str], whole: bool) -> Iterator[Row]:
    arrow = library("pyarrow", f"{name}: reading Parquet")
    parquet = library("pyarrow.parquet", f"{name}: reading Parquet")
    try:
        with parquet.ParquetFile(path) as file:
            check_columns(name, needed, file.schema_arrow.names)
            batches = file.iter_batches(_BATCH, columns=None if whole else list(needed))
            yield from _numbered(name, batches)
    except (arrow.ArrowException, OSError) as error:
        _check_memory(name, error)
        raise TaskError(f"{name}: not Parquet that can be read: {_first_line(error)}") from error


def _arrow(name: str, dataset: Any, needed: Collection[str], whole: bool) -> Iterator[Row]:
    """The rows of a `datasets.Dataset`, as Arrow holds them: pictures and sound are not decoded."""
    check_columns(name, needed, dataset.column_names)
    if not whole:
        dataset = dataset.select_columns(list(needed))
    return _numbered(name, dataset.with_format("arrow").iter(_BATCH))


def _numbered(name: str, batches: Iterable[Any]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for cells in batch.to_pylist():
            number += 1
            yield Row(f"{name} row {number}", cells)


def _saved(settings: DatasetSettings, path: Path) -> Any:
    """What `save_to_disk` wrote; of several splits, the one named."""
    datasets = library("datasets", f"{settings.path}: reading a folder")
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:
        _check_memory(settings.path, error)
        said = _first_line(error)
        raise TaskError(f"{settings.path}: not a folder that save_to_disk wrote: {said}") from error
    if not isinstance(found, datasets.DatasetDict):
        return found
    if settings.split not in found:
        raise TaskError(f"{settings.path}: no split {settings.split!r}; there are {', '.join(found)}")
    return found[settings.split]


def _from_hub(settings: DatasetSettings, network: bool) -> Any:
    """A hub data set; without the network only what an earlier download left in the cache."""
    name = settings.path
    datasets = library("datasets", f"{name}: no such file or folder here, and a data set of the hub")
    config = settings.config or None
    try:
        if network:
            return datasets.load_dataset(name, config, split=settings.split)
        # `load_dataset` would ask the hub first; its offline switch is one for the whole process.
        cache = importlib.import_module("datasets.packaged_modules.cache.cache")
        short = name.partition("/")[2]
        builder = cache.Cache(dataset_name=short, repo_id=name, config_name=config, version="auto", hash="auto")
        return builder.as_dataset(settings.split)
    except Exception as error:
        _check_memory(name, error)
        said = f"{type(error).__name__}: {_first_line(error)}"
        if network:
            raise TaskError(f"{name}: the hub data set cannot be read: {said}") from error
        raise TaskError(
            f"{name}: no such file or folder here, and the local cache has no such data set of the hub ({said}); "
            "network = true downloads it"
        ) from error


def check_columns(place: str, needed: Collection[str], columns: Collection[str]) -> None:
    """See that all columns are there, each once.

    Raises:
        TaskError: One is not.
    """
    for column in sorted(needed):
        if column not in columns:
            raise _no_column(place, column, columns)
    if len(set(columns)) < len(columns):
        raise TaskError(f"{place}: two columns have the same name: {', '.join(columns)}")


def _no_column(place: str, column: str, columns: Collection[str]) -> RowError:
    return RowError(f"{place}: no column {column!r}; there are {', '.join(columns) or 'none'}", "missing column")


def _check_memory(name: str, error: Exception) -> None:
    """Say so where it is the memory that is wrong, not the data: the worker process may take only so much."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        raise TaskError(f"{name}: does not fit the memory of the process; raise memory_mb under [tasks]") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
