"""How an answer is checked against a row of a data set: by words, number, mathematics or choice."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from contextlib import suppress
from decimal import Decimal
from string import ascii_uppercase
from typing import Any

from quintet.tasks import guard
from quintet.tasks.errors import TaskError
from quintet.tasks.extraction import LATEX, MARKDOWN, PUNCTUATION, Form, boxed, lenient, strict
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row, library

TOLERANCE = 1e-6
"""Relative difference up to which two numbers are the same, unless the right one is whole."""

MOST_DIGITS = 1000
"""Digits up to which whole numbers are compared exactly: `1e999999999` must not fill the memory."""


class Check(ABC):
    """One way to check answers.

    Args:
        settings: The data set's.
    """

    form: Form = "line"
    """What answers look like, for the extractor."""
    whole = False
    """Whether it needs the whole row."""
    digest = ""
    """What code of the user's own it runs."""

    def __init__(self, settings: DatasetSettings) -> None:
        self.settings = settings

    def columns(self) -> set[str]:
        """The columns it needs besides the question's."""
        return {self.settings.answer}

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Import what `score` needs, in the worker process."""

    @abstractmethod
    def truth(self, row: Row) -> dict[str, Any]:
        """What `score` needs of a row, as JSON.

        Raises:
            TaskError: The row does not hold it; the message names its place.
        """

    def key(self, truth: dict[str, Any]) -> str:
        """A text that is alike for truths that mean the same; empty where the answer is unknown."""
        return normal(truth["answer"])

    def shown(self, question: str, truth: dict[str, Any]) -> str:
        """The question as the solver reads it."""
        return question

    def meaning(self, question: str, truth: dict[str, Any]) -> str:
        """The canonical question: alike under any case and spacing."""
        return normal(question)

    def choices(self, truth: dict[str, Any]) -> int | None:
        """How many answers the question offers, if it offers any."""
        return None

    def content(self, truth: dict[str, Any]) -> str:
        """All that answers are checked by; where it changes, so does the family's fingerprint."""
        return self.key(truth)

    @abstractmethod
    def score(self, truth: dict[str, Any], answer: str) -> float:
        """How right an answer is, 0 to 1."""

    def answer(self, row: Row) -> str:
        """The answer's cell as text, from where the settings say it begins."""
        text, mark = row.text(self.settings.answer), self.settings.answer_after
        if mark:
            _, found, text = text.rpartition(mark)
            if not found or not text.strip():
                raise row.wrong(f"{self.settings.answer!r} has nothing after {mark!r}")
        return text.strip()


def normal(text: str) -> str:
    """A text without differences of case, spacing and Unicode composition."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def words(text: str) -> str:
    """The normal form of an answer, without final punctuation (unless there is nothing else)."""
    plain = normal(text)
    return plain.rstrip(".,;:!?… ") or plain


def read(text: str) -> str:
    """The words that the extractor leaves of an answer: none, if it can read nothing in it."""
    # What was read already is read once more: quotes, dollars and the like go on both sides.
    plain = normal(lenient(f"Answer: {text}", "line") or "").lstrip(MARKDOWN)
    return plain.rstrip(f"{MARKDOWN}{PUNCTUATION}?… ") or plain.rstrip(f"{MARKDOWN}{PUNCTUATION}")


class Exact(Check):
    """The same words; case, spacing, quotes, `$`, `*` and final punctuation do not matter."""

    def truth(self, row: Row) -> dict[str, Any]:
        """The answer, which must be one line."""
        answer = self.answer(row)
        if "\n" in answer:
            raise row.wrong(
                f"{self.settings.answer!r} has several lines, but an answer is read from one: {answer!r:.60}"
            )
        if not read(answer):
            raise row.wrong(f"{self.settings.answer!r} holds nothing that could be read in a reply: {answer!r:.60}")
        return {"answer": answer}

    def key(self, truth: dict[str, Any]) -> str:
        """The words."""
        return read(truth["answer"])

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Whether the words are the same."""
        return float(read(answer) == read(truth["answer"]))


class Number(Check):
    """The same number: exactly where the right one is whole, else up to a relative difference."""

    form: Form = "number"

    def truth(self, row: Row) -> dict[str, Any]:
        """The answer, which must be a number."""
        given = self.answer(row)
        # Read as a reply's would be, so that whatever is accepted here can be answered.
        number = strict(f"Answer: {given.removeprefix('+')}", "number")
        if number is None or not math.isfinite(float(number)):
            raise row.wrong(f"{self.settings.answer!r} is not a number: {given!r:.60}")
        return {"answer": number}

    def key(self, truth: dict[str, Any]) -> str:
        """The number's value."""
        return repr(_value(truth["answer"]))

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Whether the numbers are the same."""
        right, given = _value(truth["answer"]), _value(answer)
        if isinstance(right, int):
            return float(given == right)
        try:
            return float(math.isclose(given, right, rel_tol=TOLERANCE))
        except OverflowError:
            # A whole number too large for a float, which the right one is.
            return 0.0


def _value(text: str) -> int | float:
    """A number; whole ones exactly, unless they are too large to be written down."""
    with suppress(ArithmeticError):
        exact = Decimal(text)
        if exact.adjusted() < MOST_DIGITS and exact == exact.to_integral_value():
            return int(exact)
    return float(text)


class Mathematical(Check):
    """Mathematical equivalence, as math-verify sees it.

    It computes with SymPy, which may take for ever (`9^{9^{9^9}}`). Its own time limits are off: they need the main
    thread and an alarm that computing in C does not hear. The examiner kills the process instead.
    """

    form: Form = "math"

    def __init__(self, settings: DatasetSettings) -> None:
        super().__init__(settings)
        if importlib.util.find_spec("math_verify") is None:
            raise TaskError(f'{settings.path}: check = "math" needs math-verify: pip install "quintet[data]"')

    def prepare(self) -> None:
        """Import math-verify and SymPy with it."""
        library("math_verify", f'{self.settings.path}: check = "math"')

    def truth(self, row: Row) -> dict[str, Any]:
        """The answer, out of its box."""
        answer = self.answer(row)
        # A whole solution, as the MATH data set has it, says its answer in a box.
        box = boxed(answer)
        return {"answer": box[1] if box and box[1] else answer}

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Whether math-verify finds the two equivalent, or they are the same words."""
        right = truth["answer"]
        # Words are no formula: math-verify would multiply their letters.
        if _untexted(answer) == _untexted(right):
            return 1.0
        verifier = library("math_verify", 'check = "math"')
        # SymPy's parser is built on `eval`.
        with guard.watching():
            truths = _parsed(verifier, right)
            if not truths:
                raise TaskError(f"{truth['source']}: math-verify cannot read the right answer {right!r}")
            return float(verifier.verify(truths, _parsed(verifier, answer), timeout_seconds=None))


def _parsed(verifier: Any, text: str) -> list[Any]:
    """A formula as math-verify's candidates; between dollars, so that it reads all of it as LaTeX."""
    text = text.replace(r"\$", "").replace("\u2212", "-")
    if not LATEX.search(text):
        text = f"${text.replace('$', '').replace('**', '^')}$"
    found: list[Any] = verifier.parse(text, [verifier.LatexExtractionConfig()], parsing_timeout=None)
    return found


def _untexted(text: str) -> str:
    """A formula's characters; `!` stays, for it may be a factorial, and math-verify does not heed case either."""
    plain = re.sub(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}", r"\1", text).replace("$", "")
    return normal(plain).rstrip(".,;: ")


class Choice(Check):
    """The right one of the choices shown, answered by its letter or its text."""

    def columns(self) -> set[str]:
        """The answer's column and that of the choices."""
        return {self.settings.answer, self.settings.choices}

    def truth(self, row: Row) -> dict[str, Any]:
        """The choices in the row's order, and which is right."""
        options = self._options(row)
        return {"options": options, "right": self._right(row, options)}

    def _options(self, row: Row) -> list[str]:
        column = self.settings.choices
        cell = row.cell(column)
        if isinstance(cell, str):
            try:
                cell = json.loads(cell)
            except ValueError as error:
                raise row.wrong(f"{column!r} is neither a list nor the JSON of one: {cell!r:.60}") from error
        # A missing number is NaN, which alone differs from itself.
        if not isinstance(cell, list) or not all(isinstance(o, str | int | float) and o == o for o in cell):  # noqa: PLR0124
            raise row.wrong(f"{column!r} is not a list of texts: {cell!r:.60}")
        options = [" ".join(str(option).split()) for option in cell]
        if not 2 <= len(options) <= len(ascii_uppercase) or not all(options):
            raise row.wrong(f"{column!r} needs 2 to 26 choices, none of them empty: {options!r:.60}")
        if len(set(map(words, options))) < len(options):
            raise row.wrong(f"{column!r} names a choice twice: {options!r:.60}")
        return options

    def _right(self, row: Row, options: list[str]) -> int:
        answer, by = self.answer(row), self.settings.answer_by
        names = {
            "text": [words(option) for option in options],
            "letter": [letter.casefold() for letter in ascii_uppercase],
            "index": [str(number) for number in range(len(options))],
        }[by][: len(options)]
        if words(answer) not in names:
            known = ", ".join(options if by == "text" else [name.upper() for name in names])
            raise row.wrong(
                f"{self.settings.answer!r} is none of the choices ({known:.80}): {answer!r:.60} "
                f'(answer_by = "{by}"; it may be "text", "letter" or "index")'
            )
        return names.index(words(answer))

    def key(self, truth: dict[str, Any]) -> str:
        """The right choice's text, wherever it stands."""
        return words(truth["options"][truth["right"]])

    def shown(self, question: str, truth: dict[str, Any]) -> str:
        """The question with a lettered line for each choice."""
        return "\n".join([question, *map("{}) {}".format, ascii_uppercase, truth["options"])])

    def meaning(self, question: str, truth: dict[str, Any]) -> str:
        """The question and its choices in whatever order: many questions are `Which of these is true?`."""
        return " | ".join([normal(question), *sorted(map(normal, truth["options"]))])

    def choices(self, truth: dict[str, Any]) -> int | None:
        """How many choices there are."""
        return len(truth["options"])

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Whether the right choice is named."""
        return float(_chosen(truth["options"], answer) == truth["right"])


_LETTER = re.compile(
    r"(?:(?:the |my )?(?:correct |right |final )?(?:answer|choice|option)(?: is)?:? *)?"
    r"[(\[]?(?P<letter>[a-z])(?:$|[)\].:]+ *(?P<rest>.*)$)",
    re.IGNORECASE,
)


_FURTHER = re.compile(
    r"(?<!\w)[(\[]([A-Za-z])[)\]]"  # (B)
    r"|(?<![\w(\[])([A-Za-z])[)\]]"  # B)
    r"|^([A-Za-z])(?:$|[.:])"  # a second one at once
    r"|(?:^[/,&+;|]|\b(?:[oO]r|[aA]nd)\b)\s*(?:(?:option|choice|answer)\s+)?(?:([A-Z])\b|([a-z])\W*$)"  # or B
)
"""Another letter that names a choice; `a` may be an article, so that a bare one counts at the end only."""
_PARTS = re.compile(r"\b(?:or|and)\b|[,/;]")


def _chosen(options: list[str], answer: str) -> int | None:
    """Which choice an answer names: by a letter, with no other choice's letter or text after it, or by its text."""
    # A choice of nothing but `*` can be named by its letter only.
    texts = [read(option) or words(option) for option in options]
    given = read(answer)
    found = _LETTER.match(re.sub(r"[*`\"']", "", answer).strip())
    index = ascii_uppercase.index(found["letter"].upper()) if found else len(options)
    if found and index < len(options):
        rest = found["rest"] or ""
        return None if read(rest) != texts[index] and _hedged(rest, texts, index) else index
    # Two choices may differ in nothing but what the extractor strips.
    return texts.index(given) if texts.count(given) == 1 else None


def _hedged(rest: str, texts: list[str], index: int) -> bool:
    """Whether what follows a choice's letter names another choice."""
    letters = {next(filter(None, found)).upper() for found in _FURTHER.findall(rest)}
    named = {read(part) for part in (rest, *_PARTS.split(rest))}
    others = [number for number in range(len(texts)) if number != index]
    return any(ascii_uppercase[number] in letters or texts[number] in named for number in others)
