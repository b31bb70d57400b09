"""The calculator: exact arithmetic on what the model writes, without ever running it."""

from __future__ import annotations

import ast
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from quintet.agents.tools.port import Tool, ToolError
from quintet.tasks.expressions import ExpressionError, parse

if TYPE_CHECKING:
    from quintet.agents.strategies.desk import Desk

_WRITTEN = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", ",": None, "?": None, "$": None})
"""Signs as people write them."""


class Calculator(Tool):
    """Works out an expression exactly that the model writes (PAL, Gao et al. 2022, arXiv 2211.10435)."""

    name = "calculator"
    about = "works out arithmetic, such as 12 * (3 + 4)"
    worked: ClassVar[tuple[str, str]] = ("Ann buys 3 boxes of 14 pens. How many pens does she have?", "3 * 14")
    paper: ClassVar[str] = "Gao et al. 2022, arXiv 2211.10435"

    async def use(self, words: str, desk: Desk) -> str:
        """The value: a whole number, or a fraction with its decimals."""
        expression = words.translate(_WRITTEN).partition("=")[0].strip()
        try:
            found = _value(parse(expression))
        except ExpressionError as error:
            raise ToolError(f"{error}; write whole numbers, + - * / and brackets") from None
        except ZeroDivisionError:
            raise ToolError("division by zero") from None
        except RecursionError:
            raise ToolError("too many brackets") from None
        return str(found) if found.denominator == 1 else f"{found} = {float(found):.6g}"


def _value(tree: ast.expr) -> Fraction:
    """What an expression is worth, division included."""
    match tree:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp(op=op, operand=operand):
            return -_value(operand) if isinstance(op, ast.USub) else _value(operand)
        case ast.BinOp(left=left, op=op, right=right):
            one, other = _value(left), _value(right)
            match op:
                case ast.Add():
                    return one + other
                case ast.Sub():
                    return one - other
                case ast.Mult():
                    return one * other
                case ast.Div():
                    return one / other
    raise ExpressionError(f"{type(tree).__name__} is not allowed")
