"""Reads the numbers in a text, in digits or in words."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(_UNITS.split())} | {"dozen": 12}
_ROUND = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}


def numbers(text: str) -> list[Decimal]:
    """The numbers in a text, in digits or in words (`twenty-one`, `a dozen`), from left to right."""
    found: list[Decimal] = []
    open_tens = False
    for word in re.findall(r"\d[\d,]*(?:\.\d+)?|[a-z]+", text.casefold()):
        if word[0].isdigit():
            found.append(Decimal(word.replace(",", "")))
            open_tens = False
        elif word in _WORDS:
            if open_tens and 0 < _WORDS[word] < 10:
                found[-1] += _WORDS[word]
            else:
                found.append(Decimal(_WORDS[word]))
            open_tens = False
        elif word in _ROUND:
            found.append(Decimal(_ROUND[word]))
            open_tens = True
        elif word == "hundred" and found:
            found[-1] *= 100
            open_tens = True
        else:
            open_tens = False
    return found
