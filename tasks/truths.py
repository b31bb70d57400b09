"""Exact JSON for a verifier's metadata: tuples, sets, dates and non-string keys come back as they were."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

_TAG = "~"


def encode(value: Any) -> Any:
    """The value as JSON; what JSON has no word for becomes `{"~": kind, "value": ...}`.

    Args:
        value: Anything of JSON types, tuples, sets, bytes, dates, times, fractions, decimals, NumPy values.

    Raises:
        TypeError: It holds something else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict) and all(type(key) is str for key in value) and _TAG not in value:
        return {key: encode(item) for key, item in value.items()}
    for kind, (types, to_json, _) in _KINDS.items():
        if isinstance(value, types):
            return {_TAG: kind, "value": to_json(value)}
    if hasattr(value, "tolist"):
        return encode(value.tolist())
    # Enumerations that are strings or numbers by inheritance.
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(getattr(value, "value", value))
    raise TypeError(f"metadata holds a {type(value).__name__}, which JSON cannot keep: {value!r:.80}")


def decode(value: Any) -> Any:
    """The value that `encode` was given (NumPy values and enumerations come back as plain ones)."""
    match value:
        case {"~": kind, "value": body}:
            return _KINDS[kind][2](body)
        case dict():
            return {key: decode(item) for key, item in value.items()}
        case list():
            return [decode(item) for item in value]
    return value


_KINDS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "dict": (
        dict,
        lambda value: [[encode(key), encode(item)] for key, item in value.items()],
        lambda body: {decode(key): decode(item) for key, item in body},
    ),
    "tuple": (
        tuple,
        lambda value: [encode(item) for item in value],
        lambda body: tuple(decode(item) for item in body),
    ),
    "set": (
        (set, frozenset),
        lambda value: sorted((encode(item) for item in value), key=repr),
        lambda body: {decode(item) for item in body},
    ),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "fraction": (Fraction, str, Fraction),
    "decimal": (Decimal, str, Decimal),
}
"""Kind: Python type, how it becomes JSON, how it comes back; a `datetime` is a `date` too, so it goes first."""
