"""Filters by rule: lengths, patterns, and the marks of text that nobody wrote to be read."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

from quintet.tasks.curation.filters import Filter
from quintet.tasks.settings import FilterSettings

RUN = 5
"""Words of a run that counts as repeated."""

COMMON = frozenset(".,;:!?'\"()-–—…")
"""Punctuation of ordinary sentences."""


class Length(Filter):
    """Leaves out questions and answers that are too short or too long (Rae et al. 2021, arXiv 2112.11446)."""

    name = "length"
    paper: ClassVar[str] = "Rae et al. 2021 (Gopher), arXiv 2112.11446"

    def __init__(self, settings: FilterSettings) -> None:
        self._bounds = (
            ("question", settings.shortest_question, settings.longest_question),
            ("answer", settings.shortest_answer, settings.longest_answer),
        )

    def reject(self, question: str, answer: str) -> str:
        """By characters; an answer that is not known has no length."""
        for (what, least, most), text in zip(self._bounds, (question, answer), strict=True):
            if what == "answer" and not text:
                continue
            if len(text) < least:
                return f"{what} too short: {len(text)} characters"
            if most is not None and len(text) > most:
                return f"{what} too long: {len(text)} characters"
        return ""


class Pattern(Filter):
    """Leaves out questions by regular expressions, each under a time limit."""

    name = "pattern"

    def __init__(self, settings: FilterSettings) -> None:
        import regex  # type: ignore[import-untyped]

        self._seconds = settings.pattern_seconds
        self._allowed: list[Any] = [regex.compile(pattern) for pattern in settings.allowed]
        self._forbidden: list[Any] = [regex.compile(pattern) for pattern in settings.forbidden]

    def reject(self, question: str, answer: str) -> str:
        """The expressions in the order of the settings."""
        pattern: Any = None
        try:
            for pattern in self._forbidden:
                if found := pattern.search(question, timeout=self._seconds):
                    return f"forbidden pattern: {pattern.pattern} matches {found[0]!r:.60}"
            for pattern in self._allowed:
                if pattern.search(question, timeout=self._seconds):
                    return ""
        except TimeoutError:
            return f"pattern took too long: {pattern.pattern}"
        return "no allowed pattern" if self._allowed else ""


class Prose(Filter):
    """Leaves out what is not written to be read: few letters, many symbols, repeated lines or words.

    After Gopher (Rae et al. 2021, arXiv 2112.11446, table A1) and FineWeb (Penedo et al. 2024, arXiv 2406.17557).
    """

    name = "prose"
    paper: ClassVar[str] = "Penedo et al. 2024 (FineWeb), arXiv 2406.17557; Rae et al. 2021 (Gopher), arXiv 2112.11446"

    def __init__(self, settings: FilterSettings) -> None:
        self.settings = settings

    def reject(self, question: str, answer: str) -> str:
        """The shares, in the order of the settings; a bound that rejects nothing is not computed."""
        bounds = self.settings
        if bounds.letters > 0 and (share := _letters(question)) < bounds.letters:
            return f"few letters: {share:.2f}"
        if bounds.symbols < 1 and (share := _symbols(question)) > bounds.symbols:
            return f"many symbols: {share:.2f}"
        if bounds.repeated_lines < 1 and (share := _repeated_lines(question)) > bounds.repeated_lines:
            return f"repeated lines: {share:.2f}"
        if bounds.repeated_words < 1 and (share := _repeated_words(question)) > bounds.repeated_words:
            return f"repeated words: {share:.2f}"
        return ""


def rules(settings: FilterSettings) -> list[Filter]:
    """The filters by rule that these settings ask for."""
    none = FilterSettings()

    def asked(*names: str) -> bool:
        return any(getattr(settings, name) != getattr(none, name) for name in names)

    found: list[Filter] = []
    if asked("shortest_question", "longest_question", "shortest_answer", "longest_answer"):
        found.append(Length(settings))
    if asked("allowed", "forbidden"):
        found.append(Pattern(settings))
    if asked("letters", "symbols", "repeated_lines", "repeated_words"):
        found.append(Prose(settings))
    return found


def _letters(text: str) -> float:
    seen = [character for character in text if not character.isspace()]
    return sum(map(str.isalpha, seen)) / max(len(seen), 1)


def _symbols(text: str) -> float:
    seen = [character for character in text if not character.isspace()]
    odd = sum(not (c.isalnum() or c in COMMON or unicodedata.combining(c)) for c in seen)
    return odd / max(len(seen), 1)


def _repeated_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _repeated_words(text: str) -> float:
    """Share of words in runs that stood there before."""
    words = text.casefold().split()
    seen: set[tuple[str, ...]] = set()
    repeated: set[int] = set()
    for start in range(len(words) - RUN + 1):
        run = tuple(words[start : start + RUN])
        if run in seen:
            repeated.update(range(start, start + RUN))
        seen.add(run)
    return len(repeated) / len(words) if words else 0.0
