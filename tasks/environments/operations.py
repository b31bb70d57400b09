"""What small functions are made of: operations on numbers, texts and lists, each in words and as what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["integer", "pair", "text", "list", "truth"]
"""What goes through a function; a pair is two arguments, a list is of integers."""

LETTERS = "abcdefghilmnoprstuwy"
WORDS = ("red", "sun", "cat", "map", "tea", "box", "ice", "oak", "pen", "fig", "hat", "jam", "kit", "log", "net", "owl")


@dataclass(frozen=True)
class Operation:
    """One step, before its constants are chosen.

    Attributes:
        name: What it is called in function names.
        takes: The kind of value that it is done to.
        gives: The kind that it makes of it.
        noun: The result of it alone, of `{x}` and constants `{c}` and `{d}`.
        verb: The same as an instruction, where it is one of several steps.
        does: What it does, given the value and the constants.
        constants: What each constant is chosen from.
    """

    name: str
    takes: Kind
    gives: Kind
    noun: str
    verb: str
    does: Callable[..., Any]
    constants: tuple[Sequence[Any], ...] = ()


_SMALL = range(2, 100)
_FEW = range(2, 8)

NUMBERS = (
    Operation("add", "integer", "integer", "{x} plus {c}", "add {c}", lambda x, c: x + c, (_SMALL,)),
    Operation("subtract", "integer", "integer", "{x} minus {c}", "subtract {c}", lambda x, c: x - c, (_SMALL,)),
    Operation("multiply", "integer", "integer", "{x} times {c}", "multiply by {c}", lambda x, c: x * c, (_SMALL,)),
    Operation("from", "integer", "integer", "{c} minus {x}", "subtract it from {c}", lambda x, c: c - x, (_SMALL,)),
    Operation(
        "remainder",
        "integer",
        "integer",
        "the remainder of {x} divided by {c}",
        "take the remainder of division by {c}",
        lambda x, c: x % c,
        (range(2, 60),),
    ),
    Operation(
        "divide",
        "integer",
        "integer",
        "{x} divided by {c}, rounded down",
        "divide by {c} and round down",
        lambda x, c: x // c,
        (range(2, 60),),
    ),
)

PAIRS = (
    Operation("plus", "pair", "integer", "the sum of a and b", "take the sum of a and b", sum),
    Operation("minus", "pair", "integer", "a minus b", "subtract b from a", lambda x: x[0] - x[1]),
    Operation("times", "pair", "integer", "a times b", "multiply a by b", lambda x: x[0] * x[1]),
    Operation("larger", "pair", "integer", "the larger of a and b", "take the larger of a and b", max),
    Operation("smaller", "pair", "integer", "the smaller of a and b", "take the smaller of a and b", min),
    Operation(
        "total",
        "pair",
        "integer",
        "the sum of a, b and {c}",
        "take the sum of a, b and {c}",
        lambda x, c: sum(x) + c,
        (_SMALL,),
    ),
    Operation(
        "scaled",
        "pair",
        "integer",
        "{c} times a, plus b",
        "multiply a by {c} and add b",
        lambda x, c: c * x[0] + x[1],
        (_SMALL,),
    ),
)

TEXTS = (
    Operation("repeat", "text", "text", "{x} repeated {c} times", "repeat it {c} times", lambda x, c: x * c, (_FEW,)),
    Operation(
        "first",
        "text",
        "text",
        "the first {c} characters of {x}",
        "keep the first {c} characters",
        lambda x, c: x[:c],
        (_FEW,),
    ),
    Operation(
        "last",
        "text",
        "text",
        "the last {c} characters of {x}",
        "keep the last {c} characters",
        lambda x, c: x[-c:],
        (_FEW,),
    ),
    Operation(
        "append",
        "text",
        "text",
        "{x} with '{c}' added at the end",
        "add '{c}' at the end",
        lambda x, c: x + c,
        (WORDS,),
    ),
    Operation(
        "prepend",
        "text",
        "text",
        "{x} with '{c}' added at the start",
        "add '{c}' at the start",
        lambda x, c: c + x,
        (WORDS,),
    ),
    Operation(
        "remove",
        "text",
        "text",
        "{x} without the letter '{c}'",
        "remove every letter '{c}'",
        lambda x, c: x.replace(c, ""),
        (LETTERS,),
    ),
    Operation(
        "replace",
        "text",
        "text",
        "{x} with every '{c}' replaced by '{d}'",
        "replace every '{c}' by '{d}'",
        lambda x, c, d: x.replace(c, d),
        (LETTERS, LETTERS),
    ),
    Operation("upper", "text", "text", "{x} in upper case", "make it upper case", lambda x: x.upper()),
    Operation("reverse", "text", "text", "{x} reversed", "reverse it", lambda x: x[::-1]),
    Operation("length", "text", "integer", "the length of {x}", "take its length", len),
    Operation(
        "count",
        "text",
        "integer",
        "how often '{c}' occurs in {x}",
        "count how often '{c}' occurs",
        lambda x, c: x.count(c),
        (LETTERS,),
    ),
    Operation(
        "starts",
        "text",
        "truth",
        "whether {x} starts with '{c}'",
        "tell whether it starts with '{c}'",
        lambda x, c: x.startswith(c),
        (LETTERS,),
    ),
    Operation(
        "contains",
        "text",
        "truth",
        "whether '{c}' is in {x}",
        "tell whether '{c}' is in it",
        lambda x, c: c in x,
        (LETTERS,),
    ),
)

LISTS = (
    Operation(
        "add",
        "list",
        "list",
        "{x} with {c} added to each element",
        "add {c} to each element",
        lambda x, c: [e + c for e in x],
        (_SMALL,),
    ),
    Operation(
        "multiply",
        "list",
        "list",
        "{x} with each element times {c}",
        "multiply each element by {c}",
        lambda x, c: [e * c for e in x],
        (_SMALL,),
    ),
    Operation(
        "above",
        "list",
        "list",
        "the elements of {x} that are greater than {c}",
        "keep the elements greater than {c}",
        lambda x, c: [e for e in x if e > c],
        (range(60),),
    ),
    Operation(
        "below",
        "list",
        "list",
        "the elements of {x} that are less than {c}",
        "keep the elements less than {c}",
        lambda x, c: [e for e in x if e < c],
        (range(60),),
    ),
    Operation(
        "divisible",
        "list",
        "list",
        "the elements of {x} that are divisible by {c}",
        "keep the elements divisible by {c}",
        lambda x, c: [e for e in x if e % c == 0],
        (range(2, 10),),
    ),
    Operation(
        "first",
        "list",
        "list",
        "the first {c} elements of {x}",
        "keep the first {c} elements",
        lambda x, c: x[:c],
        (_FEW,),
    ),
    Operation(
        "skip",
        "list",
        "list",
        "{x} without its first {c} elements",
        "drop the first {c} elements",
        lambda x, c: x[c:],
        (_FEW,),
    ),
    Operation("sort", "list", "list", "{x} sorted", "sort it", sorted),
    Operation("reverse", "list", "list", "{x} reversed", "reverse it", lambda x: x[::-1]),
    Operation("total", "list", "integer", "the sum of {x}", "take the sum", sum),
    Operation("length", "list", "integer", "the length of {x}", "take its length", len),
    Operation(
        "count",
        "list",
        "integer",
        "how many elements of {x} are greater than {c}",
        "count the elements greater than {c}",
        lambda x, c: sum(e > c for e in x),
        (range(60),),
    ),
    Operation(
        "contains",
        "list",
        "truth",
        "whether {c} is in {x}",
        "tell whether {c} is in it",
        lambda x, c: c in x,
        (range(60),),
    ),
)

OPERATIONS = (*NUMBERS, *PAIRS, *TEXTS, *LISTS)
