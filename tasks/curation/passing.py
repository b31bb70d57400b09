"""What becomes of one row by itself: a question that passes, or a reason why it is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quintet.tasks.curation.filters import Filter
from quintet.tasks.curation.index import Rejections
from quintet.tasks.curation.sources import Found
from quintet.tasks.dataset import Item, Reader
from quintet.tasks.errors import RowError
from quintet.tasks.settings import FilterSettings
from quintet.tasks.tables import Row


class Sieve:
    """Lets rows pass that can be read and that no filter rejects.

    Args:
        reader: Makes questions of rows.
        settings: What becomes of bad rows, and where ids stand.
        filters: Asked in this order.
        place: The place of a row by its number, for messages.
        rejections: Where all others are written down.
    """

    def __init__(
        self,
        reader: Reader,
        settings: FilterSettings,
        filters: Sequence[Filter],
        place: Callable[[int], str],
        rejections: Rejections,
    ) -> None:
        self._reader, self._settings, self._filters = reader, settings, filters
        self._place, self._rejections = place, rejections

    def passed(self, found: Found) -> tuple[Item, int] | None:
        """The question of a row and the hash of its id, unless it is left out.

        Raises:
            RowError: The row is wrong, and wrong rows are refused.
        """
        row = found.row
        try:
            if row is None:
                raise found.error or RowError(f"{self._place(found.spot.number)}: no row", "no row")
            item = self._reader.item(row)
            id = hash64(row.text(self._settings.id)) if self._settings.id else 0
        except RowError as error:
            if self._settings.bad_rows == "refuse":
                raise
            place = self._place(found.spot.number)
            beginning = found.beginning or _beginning(row)
            self._rejections.add(place, error.reason, str(error).removeprefix(f"{place}: "), beginning)
            return None
        answer = right_answer(item.truth)
        for rule in self._filters:
            try:
                said = str(rule.reject(item.question, answer) or "")
            except Exception as error:
                # It may be the user's own code: what it cannot judge is left out, and says why.
                detail = f"{type(error).__name__}: {error}"
                self._rejections.add(row.place, f"filter {rule.name} failed", detail, item.question, raised=True)
                return None
            if said:
                reason, _, detail = said.partition(": ")
                self._rejections.add(row.place, reason, detail, item.question)
                return None
        return item, id


def hash64(text: str) -> int:
    """A text as 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def right_answer(truth: Mapping[str, Any]) -> str:
    """The right answer of a row as text; empty where only a predicate knows it."""
    if "options" in truth:
        return str(truth["options"][truth["right"]])
    answer = truth.get("answer", "")
    return answer if isinstance(answer, str) else ""


def _beginning(row: Row | None) -> str:
    cells = row.cells if row else {}
    return " | ".join(f"{value:.100}" for value in cells.values() if isinstance(value, str))
