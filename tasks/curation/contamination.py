"""Finds questions that share words with evaluation items."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from quintet.tasks.curation.filters import Filter

LEAST = 4
"""Words of an item from which another question that holds it whole is the item in disguise; of a shorter one, only the
very same question is."""

_WORD = re.compile(r"\w+|[^\w\s]")


class Contamination(Filter):
    """Leaves out questions that share a run of words with an evaluation item (Brown et al. 2020, arXiv 2005.14165).

    A run that several items share is their template's and counts for nothing; so short and templated items are found
    by the whole of them.

    Args:
        items: Questions of the evaluation.
        run: Words of a run.
    """

    name = "contamination"
    paper: ClassVar[str] = "Brown et al. 2020 (GPT-3, appendix C), arXiv 2005.14165"

    def __init__(self, items: Sequence[str], run: int) -> None:
        texts = sorted({" ".join(words(item)) for item in items} - {""})
        counted: Counter[str] = Counter()
        for text in texts:
            counted.update(set(_runs(text.split(" "), run)))
        self._run = run
        self._own: dict[str, str] = {}
        """By run of words, the one item that has it."""
        self._begin: dict[str, list[list[str]]] = {}
        """By its first words, the items that may be held whole."""
        self._same: set[str] = set()
        for text in texts:
            parts = text.split(" ")
            self._own |= {one: text for one in _runs(parts, run) if counted[one] == 1}
            if len(parts) < LEAST:
                self._same.add(text)
            else:
                self._begin.setdefault(" ".join(parts[:LEAST]), []).append(parts)

    def reject(self, question: str, answer: str) -> str:
        """Alike under case, spacing and Unicode's many forms of a letter."""
        parts = words(question)
        if (whole := " ".join(parts)) in self._same:
            return f"evaluation item: {whole:.80}"
        for start, run in enumerate(_runs(parts, LEAST)):
            for item in self._begin.get(run, ()):
                if parts[start : start + len(item)] == item:
                    return f"evaluation item: {' '.join(item):.80}"
        for run in _runs(parts, self._run):
            if run in self._own:
                return f"evaluation item: {self._own[run]:.80}"
        return ""


def words(text: str) -> list[str]:
    """Words, numbers and signs of a text, folded."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _runs(parts: Sequence[str], size: int) -> Iterator[str]:
    for start in range(len(parts) - size + 1):
        yield " ".join(parts[start : start + size])
