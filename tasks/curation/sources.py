"""Rows of a data set as a stream in which a bad one ends nothing, and each can be read again where it stands."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from quintet.tasks.errors import RowError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row


class Spot(NamedTuple):
    """Where a row can be read again."""

    offset: int
    """Bytes before it in the file; of a table, rows before it."""
    size: int
    """Its bytes; 0 in a table."""
    number: int
    """Its first line, or its row, from 1."""


class Found(NamedTuple):
    """A row, or what is wrong with it."""

    spot: Spot
    row: Row | None
    error: RowError | None = None
    beginning: str = ""
    """How it begins, where it is no row."""


class Source(ABC):
    """A data set that can be read from end to end and at any spot.

    Args:
        settings: Which data set.
        path: Its path, made absolute.
        needed: Columns that must be there.
        whole: Whether all columns are wanted, rather than the needed ones.
    """

    total: int
    """How far reading goes: bytes of a file, rows of a table."""

    def __init__(self, settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> None:
        self.name, self.path, self.needed, self.whole = settings.path, path, needed, whole
        self.longest = settings.filters.row_bytes
        self.limit = settings.limit

    def __iter__(self) -> Iterator[Found]:
        """Every row, or as many as the settings allow, with those that are none."""
        return islice(self._read(), self.limit)

    def place(self, number: int) -> str:
        """The place of a row, for messages."""
        return f"{self.name}:{number}"

    @abstractmethod
    def _read(self) -> Iterator[Found]: ...

    @abstractmethod
    def at(self, spots: Sequence[Spot]) -> Iterator[Row]:
        """The rows at these spots, in this order.

        Raises:
            RowError: There is none any more.
        """

    @abstractmethod
    def digest(self) -> str:
        """A hash of all that it holds."""

    def stamp(self) -> list[int]:
        """What is different after a change and found without reading: size and time of the last change."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns]


def hasher() -> Any:
    """What hashes a data set's bytes."""
    return hashlib.blake2b(digest_size=16)
