"""The arithmetic families: one canonical question across families, and typed proposals that are computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from quintet.tasks import expressions
from quintet.tasks.errors import Ungrounded
from quintet.tasks.family import Draft
from quintet.tasks.gym import GymFamily, stream_seed
from quintet.tasks.levels import Range

_STRICT = ConfigDict(extra="forbid")


class SumProposal(BaseModel):
    """A sum or difference of two numbers."""

    model_config = _STRICT
    first: int = Field(ge=0, le=9999)
    operator: Literal["+", "-"]
    second: int = Field(ge=0, le=9999)


class ProductProposal(BaseModel):
    """A product of two numbers."""

    model_config = _STRICT
    first: int = Field(ge=0, le=999)
    second: int = Field(ge=0, le=999)


class PairProposal(BaseModel):
    """Two numbers with a common divisor or multiple to be found."""

    model_config = _STRICT
    first: int = Field(ge=1, le=1000)
    second: int = Field(ge=1, le=1000)


class ExpressionProposal(BaseModel):
    """An expression of integers with + - * and brackets."""

    model_config = _STRICT
    expression: str = Field(min_length=3, max_length=60)


class ArithmeticFamily(GymFamily):
    """A family whose questions are an expression or two numbers; the answer alone is its truth."""

    wording: str
    """The library's question, with `{}` for the operands."""

    def canonical(self, item: dict[str, Any]) -> str:
        """The expression's meaning, the same for every family that can ask it."""
        return expressions.canonical(item["metadata"]["expression"])

    def kept(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Nothing: the verifier compares with the answer."""
        return {}

    def state(self, operands: str, canonical: str, answer: int, level: int) -> Draft:
        """A draft in the library's wording."""
        return Draft(
            question=self.wording.format(operands),
            canonical=canonical,
            truth={"answer": str(answer), "level": level, "metadata": {}},
            level=level,
        )

    def express(self, text: str, level: int) -> Draft:
        """A draft that asks what an expression is worth."""
        return self.state(text, expressions.canonical(text), expressions.value(expressions.parse(text)), level)

    def proposal_at(self, level: int) -> type[BaseModel] | None:
        """At a level of our own: operands no larger than its largest, and none that would make the task trivial."""
        proposal, narrow = self.proposal, self._ladder.narrow
        if proposal is None or level >= len(narrow) or "second" not in proposal.model_fields:
            return proposal
        operands, parameters = narrow[level].operands, narrow[level].parameters
        largest = max(high for _, high in operands) if operands else int(parameters["max_value"])
        operand = (int, Field(ge=2, le=largest))
        return create_model(proposal.__name__, __base__=proposal, first=operand, second=operand)

    def level_of(self, first: int, second: int) -> int:
        """The narrowest level that holds two operands, in either order."""
        for level, narrow in enumerate(self._ladder.narrow):
            if narrow.operands and (_within(narrow.operands, first, second) or _within(narrow.operands, second, first)):
                return level
        # The library's level n (from 0) has up to n + 1 digits, and two terms are always among its numbers.
        digits = max(len(str(first)), len(str(second)))
        return len(self._ladder.narrow) + max(0, digits - 1 - (self._ladder.library or 0))


def _within(ranges: tuple[Range, Range], *operands: int) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(operands, ranges, strict=True))


class TwoOperands(ArithmeticFamily):
    """Sums and products: narrow levels draw two operands from ranges of their own."""

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Two operands from the level's ranges, or the library's items."""
        narrow = self._ladder.narrow[level] if level < len(self._ladder.narrow) else None
        if narrow is None or narrow.operands is None:
            yield from super().draw(level, seed)
            return
        random = Random(stream_seed(self.name, level, seed))
        first, second = narrow.operands
        while True:
            left, right = random.randint(*first), random.randint(*second)
            yield self.express(f"{left} {random.choice(narrow.operators)} {right}", level)

    def propose(self, first: int, operator: str, second: int) -> Draft:
        """The draft for two operands, unless it needs no work."""
        text = f"{first} {operator} {second}"
        if expressions.trivial(expressions.parse(text)):
            raise Ungrounded("trivial", text, expressions.canonical(text))
        return self.express(text, self.level_of(first, second))


class ChainSum(TwoOperands):
    """Sums and differences."""

    wording = "State the final answer to the following arithmetic problem: {} ="
    proposal = SumProposal

    def ground(self, proposal: BaseModel) -> Draft:
        """The sum or difference proposed."""
        wanted = cast(SumProposal, proposal)
        return self.propose(wanted.first, wanted.operator, wanted.second)


class Products(TwoOperands):
    """Products."""

    wording = "Solve the following multiplication: {}. Give only the result as your final answer."
    proposal = ProductProposal

    def ground(self, proposal: BaseModel) -> Draft:
        """The product proposed."""
        wanted = cast(ProductProposal, proposal)
        return self.propose(wanted.first, "*", wanted.second)


class Divisors(ArithmeticFamily):
    """Greatest common divisors and least common multiples.

    Args:
        name: `gcd` or `lcm`.
    """

    proposal = PairProposal

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.wording = _DIVISOR_WORDINGS[name]

    def canonical(self, item: dict[str, Any]) -> str:
        """The function and its numbers, sorted."""
        return self._call(item["metadata"]["numbers"])

    def ground(self, proposal: BaseModel) -> Draft:
        """The two numbers proposed, unless they are equal or one of them is 1."""
        wanted = cast(PairProposal, proposal)
        pair = (wanted.first, wanted.second)
        if wanted.first == wanted.second or 1 in pair:
            raise Ungrounded("trivial", self._call(pair), self._call(pair))
        answer = math.gcd(*pair) if self.name == "gcd" else math.lcm(*pair)
        return self.state(", ".join(map(str, pair)), self._call(pair), answer, self._level(max(pair)))

    def _call(self, numbers: tuple[int, ...] | list[int]) -> str:
        return f"{self.name}({','.join(map(str, sorted(numbers)))})"

    def _level(self, largest: int) -> int:
        for level, narrow in enumerate(self._ladder.narrow):
            if largest <= narrow.parameters["max_value"]:
                return level
        return len(self._ladder.narrow)


_DIVISOR_WORDINGS = {
    "gcd": "Find the Greatest Common Divisor (GCD) of these numbers: {}. Give only the GCD as your final answer.",
    "lcm": "Find the Least Common Multiple (LCM) of these numbers: {}",
}


class BasicArithmetic(ArithmeticFamily):
    """Expressions of several operators."""

    wording = "Calculate {}."
    proposal = ExpressionProposal

    def ground(self, proposal: BaseModel) -> Draft:
        """The expression proposed, computed without `eval`."""
        wanted = cast(ExpressionProposal, proposal)
        try:
            tree = expressions.parse(wanted.expression)
            trivial = expressions.trivial(tree)
            expressions.value(tree)
        except expressions.ExpressionError as error:
            raise Ungrounded("malformed", str(error)) from error
        numbers, operators = expressions.operands(tree), expressions.operators(tree)
        if len(numbers) > 6 or max(numbers) > 9999:
            raise Ungrounded("out of range", "at most 6 numbers of at most 4 digits")
        if trivial:
            raise Ungrounded("trivial", wanted.expression, expressions.canonical(wanted.expression))
        text = expressions.spaced(tree)
        plain = set(text) <= set("0123456789+-* ") and "  " not in text
        return self.express(text, self._level(numbers, operators, plain))

    def _level(self, numbers: list[int], operators: list[str], plain: bool) -> int:
        narrow = self._ladder.narrow
        for level, step in enumerate(narrow):
            limits = step.parameters
            if (
                plain
                and len(numbers) == limits["max_terms"]
                and set(operators) <= set(limits["operators"])
                and max(numbers) <= 10 ** limits["max_digits"]
            ):
                return level
        digits = len(str(max(numbers)))
        return len(narrow) + max(len(numbers) - 2, digits - 1)


ARITHMETIC: dict[str, type[ArithmeticFamily]] = {
    "basic_arithmetic": BasicArithmetic,
    "chain_sum": ChainSum,
    "gcd": Divisors,
    "lcm": Divisors,
    "products": Products,
}
"""Families that have a class of their own."""
