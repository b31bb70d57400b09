"""A data set as a task family: its rows are the questions, its settings say how they are asked and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from quintet.tasks import tables
from quintet.tasks.checks import Check, Choice, Exact, Mathematical, Number
from quintet.tasks.errors import LevelError, TaskError
from quintet.tasks.family import Draft, TaskFamily
from quintet.tasks.predicate import Predicate
from quintet.tasks.settings import DatasetSettings

MOST_LEVELS = 100
"""A column with more different numbers than this holds no difficulty."""

MOST_ANSWERS = 50
"""Answers that recur, but are more than this, are as good as free."""

CHECKS: dict[str, type[Check]] = {
    "exact": Exact,
    "number": Number,
    "math": Mathematical,
    "choice": Choice,
    "predicate": Predicate,
}


class _Item(NamedTuple):
    """One question, known to be right."""

    question: str
    canonical: str
    key: str
    truth: dict[str, Any]
    level: int
    """As in the column at first, then its rank."""


class DatasetFamily(TaskFamily):
    """Questions and answers from a file, a folder or the hub.

    Making one reads and checks every row, so that a bad file is refused before a run starts; the rows are then
    forgotten, and read again where questions are first drawn.

    Args:
        name: The family's name.
        settings: Where the data are, and how they are checked.

    Raises:
        TaskError: The data set cannot be read, or a row is wrong; the message names file and line.
    """

    def __init__(self, name: str, settings: DatasetSettings) -> None:
        self.name = name
        self.settings = settings
        # The worker may be started when the current directory is another one.
        self._path = Path(settings.path).absolute()
        self._check = CHECKS[settings.check](settings)
        self._pieces = settings.pieces()
        self.form = self._check.form
        items = self._read(settings.network)
        self.levels = 1 + max(item.level for item in items)
        self._answers = _closed(items)
        self.fingerprint = self._fingerprint(items)
        """What the questions, answers and levels are, in whatever order, and the predicate's code."""
        self._items: list[_Item] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_items": None}

    def prepare(self) -> None:
        """Load what judging needs; the rows wait until a draw, since a worker that only judges needs none."""
        self._check.prepare()

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Every row of a level once, in an order that depends on the seed and the questions, not on the file's order.

        Raises:
            LevelError: The data changed since the family was made.
        """
        if self._items is None:
            self._items = self._read(network=False)
            if self._fingerprint(self._items) != self.fingerprint:
                self._items = None
                raise LevelError(f"{self.settings.path} changed since the run began: leave it alone, or start anew")
        items = [item for item in self._items if item.level == level]
        items.sort(key=lambda item: _hash(f"{seed}/{item.canonical}"))
        for item in items:
            yield Draft(
                question=item.question,
                canonical=item.canonical,
                truth=item.truth,
                choices=self._check.choices(item.truth) or self._answers,
                level=level,
            )

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """What the check of the settings says."""
        return self._check.score(truth, answer)

    def ask(self, question: str) -> str:
        """The question, and the form of answer that the check reads best."""
        if self.settings.check == "choice":
            return f"{question}\nEnd with: Answer: <letter>"
        return super().ask(question)

    def _read(self, network: bool) -> list[_Item]:
        """Every row, checked; rows that say the same twice are one.

        Raises:
            TaskError: A row is wrong, two contradict each other, or there are none.
        """
        level = {self.settings.level} - {""}
        needed = {column for _, column in self._pieces if column} | self._check.columns() | level
        items: dict[bytes, tuple[_Item, str]] = {}
        for row in tables.rows(self.settings, self._path, needed, self._check.whole, network):
            item = self._item(row)
            first, place = items.setdefault(_hash(item.canonical), (item, row.place))
            if first.key != item.key:
                raise row.wrong(f"the same question as at {place}, with another answer: {item.question!r:.80}")
        if not items:
            raise TaskError(f"{self.settings.path}: no rows")
        levels = sorted({item.level for item, _ in items.values()})
        if len(levels) > MOST_LEVELS:
            raise TaskError(
                f"{self.settings.path}: {self.settings.level!r} has {len(levels)} levels: {MOST_LEVELS} at most"
            )
        # A curriculum climbs one by one: no level may be empty.
        return [item._replace(level=levels.index(item.level)) for item, _ in items.values()]

    def _item(self, row: tables.Row) -> _Item:
        truth = self._check.truth(row)
        asked = "".join(literal + (row.text(column) if column else "") for literal, column in self._pieces).strip()
        item = _Item(
            question=self._check.shown(asked, truth),
            canonical=self._check.meaning(asked, truth),
            key=self._check.key(truth),
            truth={**truth, "source": row.place},
            level=self._level(row),
        )
        try:
            # All of it goes to the ledger; a predicate's row has more in it than is shown.
            f"{item.question}{item.key}{json.dumps(item.truth, ensure_ascii=False)}".encode()
        except UnicodeEncodeError as error:
            raise row.wrong('half a surrogate pair, as in "\\ud83d" alone, is no text') from error
        return item

    def _fingerprint(self, items: list[_Item]) -> str:
        content = self._check.content
        lines = sorted(_hash(f"{item.canonical}\0{content(item.truth)}\0{item.level}") for item in items)
        return hashlib.blake2b(b"".join([*lines, self._check.digest.encode()]), digest_size=16).hexdigest()

    def _level(self, row: tables.Row) -> int:
        column = self.settings.level
        if not column:
            return 0
        cell = row.cell(column)
        try:
            level = int(cell)
            whole = level == float(cell) and not isinstance(cell, bool)
        except (TypeError, ValueError, OverflowError):
            level, whole = 0, False
        if not whole:
            raise row.wrong(f"{column!r} is no level: {cell!r:.60}; levels are whole numbers")
        return level


def _closed(items: list[_Item]) -> int | None:
    """How many different answers there are, where they are few and recur: `wrong` then tells much of the right one."""
    keys = [item.key for item in items if item.key]
    answers = len(set(keys))
    return answers if 0 < answers <= MOST_ANSWERS and 2 * answers <= len(keys) else None


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
