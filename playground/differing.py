"""What differs: the words of two texts, the settings of two runs."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from quintet.records import Part

WORDS = re.compile(r"\s+|\w+|[^\w\s]")

ALIKE = 0.2
"""Below this share of words in common nothing is marked: all of it differs."""

PAIRS = 10_000
"""Pairs of equal words, one of each text, above which nothing is marked: a text that says the same over and over would
take minutes."""


class Piece(Part):
    """A stretch of a text."""

    text: str
    differs: bool
    """Whether the other text lacks it."""


class Setting(Part):
    """A setting that differs between two runs."""

    key: str
    """Dotted, within its section."""
    left: str | None
    """As JSON; `None` where the run has no such setting."""
    right: str | None


def pieces(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Two texts in stretches of whole words, which put together are the texts."""
    lefts, rights = WORDS.findall(left), WORDS.findall(right)
    ours, theirs = Counter(lefts), Counter(rights)
    many = sum(number * theirs[word] for word, number in ours.items() if not word.isspace()) > PAIRS
    # No match begins at a space: there are so many.
    matcher = difflib.SequenceMatcher(str.isspace, lefts, rights, autojunk=False)
    if many or matcher.ratio() < ALIKE:
        return [Piece(text=left, differs=False)], [Piece(text=right, differs=False)]
    found: tuple[list[Piece], list[Piece]] = ([], [])
    for what, a, b, c, d in matcher.get_opcodes():
        for side, words in ((0, lefts[a:b]), (1, rights[c:d])):
            if words:
                found[side].append(Piece(text="".join(words), differs=what != "equal"))
    return found


def settings(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, list[Setting]]:
    """The settings in which two runs differ, by section; those of no section come first, under an empty name."""
    found: dict[str, list[Setting]] = {}
    for name in dict.fromkeys((*left, *right)):
        ours, theirs = left.get(name), right.get(name)
        section = name if isinstance(ours, dict) or isinstance(theirs, dict) else ""
        a, b = _leaves(ours, "" if section else name), _leaves(theirs, "" if section else name)
        for key in dict.fromkeys((*a, *b)):
            one, other = _shown(a, key) if name in left else None, _shown(b, key) if name in right else None
            if one != other:
                found.setdefault(section, []).append(Setting(key=key, left=one, right=other))
    return dict(sorted(found.items(), key=lambda item: item[0] != ""))


def _leaves(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {key: value} if key else {}
    leaves: dict[str, Any] = {}
    for name, inner in value.items():
        leaves.update(_leaves(inner, f"{key}.{name}" if key else str(name)))
    return leaves


def _shown(leaves: Mapping[str, Any], key: str) -> str | None:
    return json.dumps(leaves[key], ensure_ascii=False) if key in leaves else None
