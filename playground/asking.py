"""What an address asks for, read without trust."""

from __future__ import annotations

DIGITS = 9
"""Of a number that any column of any database takes."""


def number(text: str | None) -> int | None:
    """A whole number from 0; `None` for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= DIGITS else None
