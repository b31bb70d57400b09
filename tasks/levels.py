"""Levels below the library's lowest: a small model can only learn where some of its attempts succeed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Range = tuple[int, int]
"""Inclusive."""


@dataclass(frozen=True)
class Level:
    """A level of our own.

    Attributes:
        parameters: The library's configuration parameters.
        operands: Ranges of a two-operand question's operands, drawn by us because no parameter can say them
            (the library gives both operands of a sum or product the same number of digits).
        operators: Which operators two operands may have.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    operands: tuple[Range, Range] | None = None
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ladder:
    """A family's levels, narrowest first.

    Attributes:
        narrow: Levels of our own, at the bottom.
        library: Which of the library's levels follow; those below it add nothing to ours. `None`: none does,
            since the library refuses every one of them.
    """

    narrow: tuple[Level, ...] = ()
    library: int | None = 0


def _terms(first: Range, second: Range, *operators: str) -> Level:
    return Level(operands=(first, second), operators=operators)


def _library(**parameters: Any) -> Level:
    return Level(parameters=parameters)


def _numbers(low: int, high: int) -> Level:
    return _library(min_numbers=2, max_numbers=2, min_value=low, max_value=high)


def _plain(terms: int, digits: int, *operators: str) -> Level:
    return _library(
        min_terms=terms,
        max_terms=terms,
        min_digits=1,
        max_digits=digits,
        operators=operators,
        allow_parentheses=False,
        allow_negation=False,
    )


LADDERS: dict[str, Ladder] = {
    "chain_sum": Ladder(
        (
            _terms((0, 9), (0, 9), "+", "-"),
            _terms((1, 20), (1, 20), "+", "-"),
            _terms((1, 49), (1, 49), "+", "-"),
            _terms((1, 99), (1, 99), "+", "-"),
        ),
        library=1,
    ),
    "products": Ladder(
        (
            _terms((0, 9), (0, 9), "*"),
            _terms((2, 9), (2, 20), "*"),
            _terms((2, 12), (2, 39), "*"),
            _terms((2, 20), (2, 99), "*"),
        ),
        library=1,
    ),
    "gcd": Ladder((_numbers(2, 12), _numbers(2, 25), _numbers(2, 40), _numbers(2, 100))),
    "lcm": Ladder((_numbers(2, 8), _numbers(2, 12), _numbers(2, 20), _numbers(2, 50))),
    "basic_arithmetic": Ladder(
        (
            _plain(2, 1, "+", "-"),
            _plain(2, 1, "+", "-", "*"),
            _plain(3, 1, "+", "-"),
            _plain(2, 2, "+", "-"),
            _plain(3, 1, "+", "-", "*"),
        )
    ),
    "base_conversion": Ladder((_library(min_base=2, max_base=10, min_value=1, max_value=63),)),
    "count_bits": Ladder((_library(min_n=1, max_n=255),)),
    "count_primes": Ladder((_library(min_n=1, max_n=30), _library(min_n=1, max_n=100))),
    "decimal_chain_sum": Ladder(
        (
            _library(
                min_terms=2,
                max_terms=2,
                min_digits=1,
                max_digits=1,
                min_decimal_places=1,
                max_decimal_places=1,
            ),
        )
    ),
    "fraction_simplification": Ladder(
        (
            _library(min_value=1, max_value=9, min_factor=2, max_factor=5, styles=("plain",)),
            _library(min_value=1, max_value=30, min_factor=2, max_factor=9, styles=("plain",)),
        )
    ),
    "isomorphic_strings": Ladder(
        (
            _library(min_string_length=2, max_string_length=4),
            _library(min_string_length=4, max_string_length=7),
        )
    ),
    # The library's own levels ask for fewer nodes than its generator accepts.
    "knight_swap": Ladder(
        (
            _library(min_nodes=6, max_nodes=6, min_pieces=2, max_pieces=2, min_steps=4, max_steps=10),
            _library(min_nodes=6, max_nodes=9, min_pieces=2, max_pieces=2, min_steps=4, max_steps=20),
        ),
        library=None,
    ),
    "leg_counting": Ladder(
        (
            _library(min_animals=1, max_animals=1, min_instances=1, max_instances=9),
            _library(min_animals=1, max_animals=2, min_instances=1, max_instances=5),
        ),
        library=1,
    ),
    "letter_counting": Ladder((_library(min_words=1, max_words=2), _library(min_words=2, max_words=4))),
    "number_filtering": Ladder(
        (
            _library(min_numbers=3, max_numbers=3, min_decimals=0, max_decimals=0, min_value=0, max_value=20),
            _library(min_numbers=3, max_numbers=6, min_decimals=0, max_decimals=0, min_value=0, max_value=100),
        )
    ),
    "number_sequence": Ladder((_library(min_terms=4, max_terms=4, min_value=0, max_value=30, max_complexity=1),)),
    "number_sorting": Ladder(
        (
            _library(min_numbers=3, max_numbers=3, min_decimals=0, max_decimals=0, min_value=0, max_value=20),
            _library(min_numbers=3, max_numbers=6, min_decimals=0, max_decimals=0, min_value=0, max_value=100),
        )
    ),
    "prime_factorization": Ladder((_library(min_value=4, max_value=100),)),
    "ransom_note": Ladder(
        (
            _library(min_note_length=1, max_note_length=3, min_magazine_length=3, max_magazine_length=6),
            _library(min_note_length=2, max_note_length=6, min_magazine_length=6, max_magazine_length=15),
        )
    ),
    "simple_equations": Ladder(
        (
            _library(min_terms=2, max_terms=2, min_value=1, max_value=9),
            _library(min_terms=2, max_terms=2, min_value=1, max_value=20),
            _library(min_terms=2, max_terms=3, min_value=1, max_value=50),
        )
    ),
    "time_intervals": Ladder((_library(task_types=["time"], max_time_difference_seconds=3600),)),
    "word_sequence_reversal": Ladder((_library(min_words=2, max_words=4),)),
    "word_sorting": Ladder((_library(min_words=3, max_words=4, min_word_length=3, max_word_length=6),)),
}
"""Families that have levels of our own; all others have the library's."""


def ladder(name: str) -> Ladder:
    """A family's levels."""
    return LADDERS.get(name, Ladder())
