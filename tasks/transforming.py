"""Exact transformations of arithmetic questions: the truth of what they make is computed, never asked for."""

from __future__ import annotations

import ast

from quintet.records import Part
from quintet.tasks import expressions
from quintet.tasks.errors import Ungrounded
from quintet.tasks.family import Draft
from quintet.tasks.written import tells_no_answer


class Made(Part):
    """A transformed question."""

    draft: Draft
    meanings: tuple[str, ...] = ()
    """Canonical expressions that it amounts to besides its own."""


def is_expression(canonical: str) -> bool:
    """Whether a canonical question is an expression with an operator that can be reckoned with."""
    try:
        tree = expressions.parse(canonical)
        expressions.value(tree)
    except expressions.ExpressionError:
        return False
    return isinstance(tree, ast.BinOp)


def is_pair(canonical: str) -> bool:
    """Whether a canonical question is two numbers and an operator, which can be asked backwards."""
    return is_expression(canonical) and len(expressions.operands(expressions.parse(canonical))) == 2


def backwards(canonical: str, hide_first: bool = False) -> Made:
    """The backward question: `3 + 4` becomes `3 + ? = 7` (MetaMath, Yu et al. 2023, arXiv 2309.12284, section 3.2).

    Args:
        canonical: Of two numbers; see `is_pair`.
        hide_first: Whether the first number is asked for, instead of the second.

    Raises:
        Ungrounded: It would be trivial.
    """
    tree = expressions.parse(canonical)
    if expressions.trivial(tree):
        raise Ungrounded("trivial", canonical)
    first, second = expressions.operands(tree)
    operator, worth = expressions.operators(tree)[0], expressions.value(tree)
    hidden, shown = (first, second) if hide_first else (second, first)
    sides = ("?", str(second)) if hide_first else (str(first), "?")
    question = f"Which number is missing? {sides[0]} {operator} {sides[1]} = {worth}"
    # Sums and products are the same question on either side.
    known = f"{sides[0]}{operator}{sides[1]}" if operator == "-" else f"{shown}{operator}?"
    way = {
        "+": f"{worth} - {shown}",
        "-": f"{worth} + {second}" if hide_first else f"{first} - {worth}",
    }.get(operator)
    draft = Draft(
        question=question,
        canonical=f"{known}={worth}",
        truth={"answer": tells_no_answer(question, str(hidden))},
    )
    return Made(draft=draft, meanings=(expressions.canonical(way),) if way else ())


def joined(first: str, second: str) -> Made:
    """Two questions as one that asks for the sum of both (composed, as Evol-Instruct's deepening does by a model).

    Args:
        first: A canonical expression; see `is_expression`.
        second: Another.

    Raises:
        Ungrounded: It would be trivial.
    """
    left, right = expressions.parse(first), expressions.parse(second)
    text = f"({first}) + ({second})"
    whole = expressions.parse(text)
    if expressions.trivial(whole):
        raise Ungrounded("trivial", text)
    parts = (expressions.spaced(left), expressions.spaced(right))
    question = f"First work out {parts[0]}. Then work out {parts[1]}. What is the sum of the two results?"
    draft = Draft(
        question=question,
        canonical=f"sum of both: {' and '.join(sorted((first, second)))}",
        truth={"answer": tells_no_answer(question, str(expressions.value(whole)))},
    )
    return Made(draft=draft, meanings=(expressions.canonical(text),))
