"""A data set as a task family: its rows are the questions, its settings say how they are asked and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from quintet.tasks import tables
from quintet.tasks.checks import Check, Choice, Exact, Mathematical, Number
from quintet.tasks.errors import LevelError, RowError, TaskError
from quintet.tasks.family import Draft, TaskFamily
from quintet.tasks.predicate import Predicate
from quintet.tasks.settings import DatasetSettings

MOST_LEVELS = 100
"""A column with more different numbers than this holds no difficulty."""

MOST_ANSWERS = 50
"""Answers that recur, but are more than this, are as good as free."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it."""

CHECKS: dict[str, type[Check]] = {
    "exact": Exact,
    "number": Number,
    "math": Mathematical,
    "choice": Choice,
    "predicate": Predicate,
}


class Item(NamedTuple):
    """One question, known to be right."""

    question: str
    canonical: str
    key: str
    truth: dict[str, Any]
    level: int
    """As in the column at first, then its rank."""


class Reader:
    """Makes questions of a data set's rows.

    Args:
        settings: How they are asked and checked.

    Raises:
        TaskError: What checks the answers is missing.
    """

    def __init__(self, settings: DatasetSettings) -> None:
        self.settings = settings
        # The worker may be started when the current directory is another one.
        self.path = Path(settings.path).absolute()
        self.check = CHECKS[settings.check](settings)
        self._pieces = settings.pieces()

    def columns(self) -> set[str]:
        """The columns that every row must have."""
        more = {self.settings.level, self.settings.filters.id} - {""}
        return {column for _, column in self._pieces if column} | self.check.columns() | more

    def rows(self, network: bool) -> Iterator[tables.Row]:
        """All rows, read as they are asked for.

        Raises:
            TaskError: The data set cannot be read.
        """
        return tables.rows(self.settings, self.path, self.columns(), self.check.whole, network)

    def item(self, row: tables.Row) -> Item:
        """The question of a row.

        Raises:
            RowError: The row is wrong.
        """
        truth = self.check.truth(row)
        asked = "".join(literal + (row.text(column) if column else "") for literal, column in self._pieces).strip()
        item = Item(
            question=self.check.shown(asked, truth),
            canonical=self.check.meaning(asked, truth),
            key=self.check.key(truth),
            truth={**truth, "source": row.place},
            level=self._level(row),
        )
        # All of it goes to the ledger; a predicate's row has more in it than is shown.
        said = f"{item.question}{item.key}{json.dumps(item.truth, ensure_ascii=False)}"
        if "\0" in item.question + item.key or _NUL.search(said):
            raise row.wrong("a NUL character is no text", "NUL")
        try:
            said.encode()
        except UnicodeEncodeError as error:
            raise row.wrong('half a surrogate pair, as in "\\ud83d" alone, is no text', "not UTF-8") from error
        return item

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
            raise row.wrong(f"{column!r} is no level: {cell!r:.60}; levels are whole numbers", "no level")
        return level


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
        self._begin(name, settings)
        items = self._read(settings.network)
        self.levels = 1 + max(item.level for item in items)
        self._answers = _closed(items)
        self.fingerprint = self._fingerprint(items)
        """What the questions, answers and levels are, in whatever order, and the predicate's code."""
        self._items: list[Item] | None = None

    def _begin(self, name: str, settings: DatasetSettings) -> None:
        self.name = name
        self.settings = settings
        self._reader = Reader(settings)
        self._check = self._reader.check
        self.form = self._check.form

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

    def _read(self, network: bool) -> list[Item]:
        """Every row, checked; rows that say the same twice are one.

        Raises:
            TaskError: A row is wrong, two contradict each other, or there are none.
        """
        items: dict[bytes, tuple[Item, str]] = {}
        for row in self._reader.rows(network):
            item = self._reader.item(row)
            first, place = items.setdefault(_hash(item.canonical), (item, row.place))
            if first.key != item.key:
                raise contradiction(row, place, item.question)
        if not items:
            raise TaskError(f"{self.settings.path}: no rows")
        levels = sorted({item.level for item, _ in items.values()})
        if len(levels) > MOST_LEVELS:
            raise too_many_levels(self.settings, len(levels))
        # A curriculum climbs one by one: no level may be empty.
        return [item._replace(level=levels.index(item.level)) for item, _ in items.values()]

    def _fingerprint(self, items: list[Item]) -> str:
        content = self._check.content
        lines = sorted(_hash(f"{item.canonical}\0{content(item.truth)}\0{item.level}") for item in items)
        return hashlib.blake2b(b"".join([*lines, self._check.digest.encode()]), digest_size=16).hexdigest()


def contradiction(row: tables.Row, place: str, question: str) -> RowError:
    """The error about two rows with one question and different answers."""
    return row.wrong(f"the same question as at {place}, with another answer: {question!r:.80}", "contradiction")


def too_many_levels(settings: DatasetSettings, levels: int) -> TaskError:
    """The error about a column that holds no difficulty."""
    return TaskError(f"{settings.path}: {settings.level!r} has {levels} levels: {MOST_LEVELS} at most")


def _closed(items: list[Item]) -> int | None:
    """How many different answers there are, where they are few and recur: `wrong` then tells much of the right one."""
    keys = [item.key for item in items if item.key]
    return closed(len(set(keys)), len(keys))


def closed(answers: int, questions: int) -> int | None:
    """How many different answers there are, if that is few beside the questions."""
    return answers if 0 < answers <= MOST_ANSWERS and 2 * answers <= questions else None


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
