"""Rows by their hashes: columns on disk, why each row is left out, and which repeat another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quintet.tasks.curation.sources import Spot

Array = np.ndarray[Any, np.dtype[Any]]

NAMES = ("offset", "size", "number", "question", "answer", "content", "level", "id")
"""What is written down of every row that passes by itself; from `question` to `content` and `id` it is a hash."""


class Columns:
    """Numbers of all rows, a file a column, of which only what is looked at is in memory.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, rows: Sequence[Sequence[int]]) -> None:
        """Add rows, each with a value for each of `NAMES`."""
        for name, values in zip(NAMES, zip(*rows, strict=True), strict=False):
            with self._path(name).open("ab") as file:
                np.array(values, dtype=np.uint64).tofile(file)

    def __len__(self) -> int:
        """How many rows."""
        path = self._path(NAMES[0])
        return path.stat().st_size // 8 if path.exists() else 0

    def __getitem__(self, name: str) -> Array:
        """A column, `(rows,)`."""
        return np.memmap(self._path(name), dtype=np.uint64, mode="r") if len(self) else np.zeros(0, dtype=np.uint64)

    def spots(self, rows: Array) -> list[Spot]:
        """Where these rows can be read again."""
        values = [self[name][rows].tolist() for name in ("offset", "size", "number")]
        return [Spot(*spot) for spot in zip(*values, strict=True)]

    def _path(self, name: str) -> Path:
        return self._folder / f"column-{name}"


class Reasons:
    """Why each row is left out.

    Args:
        rows: How many there are.
    """

    def __init__(self, rows: int) -> None:
        self._code = np.zeros(rows, dtype=np.uint8)
        self._names = [""]
        self._of: dict[str, Array] = {}
        self._details: dict[str, Array] = {}
        self._rows: dict[str, Array] = {}

    @property
    def kept(self) -> Array:
        """Rows that are not left out, in order."""
        return np.flatnonzero(self._code == 0)

    @property
    def alive(self) -> Array:
        """Whether a row is not left out, `(rows,)`."""
        alive: Array = self._code == 0
        return alive

    def mark(self, rows: Array, reason: str, of: Array | None = None, details: Array | None = None) -> None:
        """Leave out rows.

        Args:
            rows: Which.
            reason: Why.
            of: For each the row that it repeats.
            details: For each a number that says more.
        """
        self._code[rows] = len(self._names)
        order = np.argsort(rows, kind="stable")
        self._names.append(reason)
        self._rows[reason] = rows[order]
        if of is not None:
            self._of[reason] = of[order]
        if details is not None:
            self._details[reason] = details[order]

    def marked(self, reason: str) -> tuple[Array, Array | None, Array | None]:
        """The rows left out for a reason, in order, with what each repeats and what says more, where that is known."""
        return self._rows[reason], self._of.get(reason), self._details.get(reason)

    @property
    def names(self) -> list[str]:
        """The reasons, in the order in which they were found."""
        return self._names[1:]


def repeats(values: Array) -> tuple[Array, Array]:
    """The places of all values that stood there before, and for each the place of the first like it."""
    order = np.argsort(values, kind="stable")
    same = np.zeros(len(order), dtype=bool)
    same[1:] = values[order][1:] == values[order][:-1]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    return order[same], order[first[same]]
