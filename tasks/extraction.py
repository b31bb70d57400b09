"""How an answer is read in a reply: leniently, for decisions, and strictly, for the format's own score."""

from __future__ import annotations

import re
from typing import Literal

from quintet.records import Part

Form = Literal["number", "fraction", "line", "sentence", "block", "math"]
"""What a family's answers look like: a number, a number or a fraction of two, one line, one line whose final
punctuation belongs to it, several lines, or a formula, perhaps in LaTeX."""


class Extracted(Part):
    """The answer read in a reply."""

    lenient: str | None
    """What the reply most likely means; decisions rest on this."""
    strict: str | None
    """The answer only if it was given as asked for."""


_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
# A minus that follows a digit, a letter or a bracket subtracts; it is no sign.
_SIGN = r"(?:(?<![\w)\]}.])[-+])?"
_DECIMAL = rf"{_SIGN}(?<![\w.])(?:{_DIGITS}|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER: dict[Form, re.Pattern[str]] = {
    "number": re.compile(_DECIMAL),
    "fraction": re.compile(rf"{_DECIMAL}(?:\s?/\s?\d+)?"),
}
_ANSWER = re.compile(r"answer(?:\*\*|__)?\s*:[ \t]*(?:\*\*|__)?[ \t]*", re.IGNORECASE)
_STRICT_LINE = re.compile(r"^[ \t]*Answer:[ \t]*(\S.*)$", re.MULTILINE)
_STRICT_REST = re.compile(r"^[ \t]*Answer:", re.MULTILINE)
MARKDOWN = "*`\"'“”$ \t"
PUNCTUATION = ".,;:!"
_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*)?\{|\}")
# No second opening within: each opening would be followed to the end of the text.
LATEX = re.compile(r"\$\$?[^$]+\$\$?|\\\((?:(?!\\\().)+?\\\)|\\\[(?:(?!\\\[).)+?\\\]", re.DOTALL)
"""LaTeX between its delimiters."""
# Two words in a row, none of them a command of LaTeX: a sentence around the formula.
_PROSE = re.compile(r"(?<![\\\w])[A-Za-z]{2,}\s+[A-Za-z]{2,}")


def _plain(text: str) -> str:
    """The text with typographic minus signs and spaces as ASCII, and CR-LF as LF."""
    return text.replace("\u2212", "-").replace("\u00a0", " ").replace("\r\n", "\n")


def _numbers(text: str, form: Form) -> list[str]:
    return [found.replace(",", "").replace(" ", "").removeprefix("+") for found in _NUMBER[form].findall(text)]


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def _trim(line: str, form: Form) -> str:
    """The line without markdown around it and, unless the family's answers end in some, final punctuation."""
    if form == "sentence":
        return line.strip("* \t")
    return line.strip(MARKDOWN).rstrip(PUNCTUATION).strip(MARKDOWN)


def _fenced(text: str) -> str:
    """The text without a code fence around it; inner spacing is left, since grids need it."""
    lines = (line for line in text.split("\n") if not line.lstrip().startswith("```"))
    return "\n".join(lines).strip("\n").rstrip()


def boxed(text: str) -> tuple[int, str] | None:
    r"""Where the last closed `\boxed{...}` of a text begins, and what is in it."""
    last: tuple[int, int, int] | None = None
    opened: list[re.Match[str]] = []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace)
        elif opened and (mark := opened.pop())["box"] and (last is None or mark.start() > last[0]):
            last = mark.start(), mark.end(), brace.start()
    return (last[0], text[last[1] : last[2]].strip()) if last else None


def _formula(text: str, before: str, after: str) -> str | None:
    """The formula that a reply ends in: the last box, what follows the last `Answer:`, or the last one there is."""
    box = boxed(text)
    if box and box[1] and box[0] >= len(before.rstrip()):
        return box[1]
    line = next((found for found in map(_bare, _lines(after)) if found), None)
    if line is None and box and box[1]:
        return box[1]
    if line is None:
        whole = LATEX.findall(before)
        line = whole[-1] if whole else next((found for found in map(_bare, _lines(before)[::-1]) if found), None)
    if line is None or LATEX.search(line) or not _PROSE.search(line):
        return line
    return next(reversed(_numbers(line, "fraction")), line)


def _bare(line: str) -> str:
    """A line without markdown around it or final punctuation; `!` stays, for it may be a factorial."""
    return line.strip("*`\"'“” \t").rstrip(".,;: ").strip("*` ")


def lenient(text: str, form: Form) -> str | None:
    """What a reply most likely means.

    Args:
        text: The reply.
        form: What the family's answers look like.

    Returns:
        What follows the last `Answer:` (its first number, for numeric forms; for formulas, a box after it goes
        first). Without one, or with nothing after it: the last number, formula, line or paragraph. `None` if there
        is nothing to read.
    """
    text = _plain(text)
    marks = list(_ANSWER.finditer(text))
    after = text[marks[-1].end() :] if marks else ""
    before = text[: marks[-1].start()] if marks else text
    if form in ("number", "fraction"):
        named = _numbers(next(iter(_lines(after)), ""), form)
        return named[0] if named else next(reversed(_numbers(before, form)), None)
    if form == "math":
        return _formula(text, before, after)
    if form == "block":
        found = _fenced(after) or _fenced(_fenced(before).rsplit("\n\n", 1)[-1])
        return found if "\n" in found else found.strip(MARKDOWN) or None
    for lines in (_lines(after), _lines(before)[::-1]):
        if lines and (line := _trim(lines[0], form)):
            return line
    return None


def strict(text: str, form: Form) -> str | None:
    """The answer only if it was given as asked for.

    Args:
        text: The reply.
        form: What the family's answers look like.

    Returns:
        What stands on the last line that begins with `Answer:`. For numeric forms it must be that number and
        nothing else (a final period is allowed); a block may go on over the following lines.
    """
    text = text.replace("\r\n", "\n")
    if form == "block":
        marks = list(_STRICT_REST.finditer(text))
        return text[marks[-1].end() :].strip() or None if marks else None
    given = _STRICT_LINE.findall(text)
    if not given:
        return None
    line: str = given[-1].rstrip(" \t")
    if form in ("number", "fraction"):
        whole = _NUMBER[form].fullmatch(line.removesuffix("."))
        return _numbers(whole[0], form)[0] if whole else None
    return line


def extract(text: str, form: Form) -> Extracted:
    """Both readings of a reply."""
    return Extracted(lenient=lenient(text, form), strict=strict(text, form))
