"""Arithmetic written as text: what it means, what it is worth, and when two expressions are one question."""

from __future__ import annotations

import ast
from collections.abc import Iterator

MAX_CHARACTERS = 200
"""Longest expression read; the library's longest (12 terms of 10 digits) has 155."""


class ExpressionError(ValueError):
    """The text is no expression of integers, + - * / and brackets."""


def parse(text: str) -> ast.expr:
    """The syntax tree of an expression of integers, `+ - * /`, signs and brackets.

    Raises:
        ExpressionError: It is too long or holds anything else.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"no expression: {text!r:.60}") from error
    for node in ast.walk(tree):
        if not _allowed(node):
            raise ExpressionError(f"{type(node).__name__} is not allowed in {text!r:.60}")
    return tree


def _allowed(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return type(value) is int
        case ast.BinOp() | ast.UnaryOp() | ast.Add() | ast.Sub() | ast.Mult() | ast.Div():
            return True
        case ast.UAdd() | ast.USub():
            return True
    return False


def operands(tree: ast.expr) -> list[int]:
    """The integers in an expression, signs aside, from left to right."""
    return [value for node in _in_order(tree) if isinstance(value := _constant(node), int)]


def operators(tree: ast.expr) -> list[str]:
    """The binary operators in an expression, from left to right."""
    return [_SYMBOLS[type(node.op)] for node in _in_order(tree) if isinstance(node, ast.BinOp)]


def value(tree: ast.expr) -> int:
    """What an expression without division is worth.

    Raises:
        ExpressionError: It divides.
    """
    match tree:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=op, operand=operand):
            return -value(operand) if isinstance(op, ast.USub) else value(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return value(left) + value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return value(left) - value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return value(left) * value(right)
    raise ExpressionError("division is not allowed")


def trivial(tree: ast.expr) -> bool:
    """Whether a step needs no work: a 0 anywhere, multiplying by 1, taking a number from itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp):
            sides = (value(node.left), value(node.right))
            if 0 in sides or (isinstance(node.op, ast.Mult) and 1 in sides):
                return True
            if isinstance(node.op, ast.Sub) and sides[0] == sides[1]:
                return True
    return not isinstance(tree, ast.BinOp)


def canonical(text: str) -> str:
    """An expression's meaning: terms of a sum and factors of a product sorted, signs pulled out.

    `4 + 3`, `3 + 4` and `3 - -4` are all `3+4`; `7 * 4` is `4*7`; `2 - 9` stays apart from `9 - 2`.

    Raises:
        ExpressionError: The text is no expression.
    """
    return _render_sum(_terms(parse(text)))


def _in_order(tree: ast.expr) -> Iterator[ast.expr]:
    match tree:
        case ast.BinOp(left=left, right=right):
            yield from _in_order(left)
            yield tree
            yield from _in_order(right)
        case ast.UnaryOp(operand=operand):
            yield from _in_order(operand)
        case _:
            yield tree


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}

_Term = tuple[bool, tuple[int, int | str]]
"""Whether it is negative; then (0, integer) or (1, text), so that terms of either kind sort together."""


def _terms(tree: ast.expr) -> list[_Term]:
    match tree:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [(not negative, body) for negative, body in _terms(operand)]
        case ast.UnaryOp(operand=operand):
            return _terms(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _terms(left) + _terms(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _terms(left) + [(not negative, body) for negative, body in _terms(right)]
        case ast.Constant(value=int(number)):
            return [(False, (0, number))]
    negative, factors, divisors = _factors(tree)
    text = "*".join(_render(body) for body in sorted(factors))
    text += "".join(f"/{_render(body)}" for body in divisors)
    return [(negative, (1, text))]


def _factors(tree: ast.expr) -> tuple[bool, list[tuple[int, int | str]], list[tuple[int, int | str]]]:
    match tree:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            sides = _factors(left), _factors(right)
            if not any(divisors for _, _, divisors in sides):
                return sides[0][0] != sides[1][0], sides[0][1] + sides[1][1], []
            # Floor division does not commute with multiplication: keep the order.
            text = "*".join(f"({_render_sum(_terms(side))})" for side in (left, right))
            return False, [(1, text)], []
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return False, [(1, f"({_render_sum(_terms(left))})")], [(1, f"({_render_sum(_terms(right))})")]
    terms = _terms(tree)
    if len(terms) == 1:
        return terms[0][0], [terms[0][1]], []
    return False, [(1, f"({_render_sum(terms)})")], []


def _render(body: tuple[int, int | str]) -> str:
    return str(body[1])


def _render_sum(terms: list[_Term]) -> str:
    text = "".join(("-" if negative else "+") + _render(body) for negative, body in sorted(terms))
    return text.removeprefix("+")


def spaced(tree: ast.expr) -> str:
    """An expression as the library writes it: one space around each operator and bracket."""
    text = ast.unparse(tree)
    return " ".join(text.replace("(", "( ").replace(")", " )").split())
