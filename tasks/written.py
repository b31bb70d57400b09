"""The family of free-text questions with a number for an answer, which nobody draws: sources write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import product
from math import gcd, lcm
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quintet.records import Part
from quintet.tasks import expressions
from quintet.tasks.errors import Ungrounded
from quintet.tasks.extraction import Form
from quintet.tasks.family import Draft, TaskFamily
from quintet.tasks.numerals import numbers

T = TypeVar("T", bound=BaseModel)

NAME = "written"
"""Its name."""

MOST_NUMBERS = 6
LARGEST = 9999
"""Bounds of what a word problem may reckon with; beyond them a small model only guesses."""

FEWEST_WORDS = 4
"""A question of fewer words asks nothing."""


class WordProblem(BaseModel):
    """A word problem with the expression that answers it; the expression comes first, as a plan of what to tell."""

    model_config = ConfigDict(extra="forbid")
    expression: str = Field(min_length=3, max_length=30)
    question: str = Field(min_length=12, max_length=200)


class Planned(WordProblem):
    """The same for decoding: its expression is one of two or three numbers; a small model, left free, writes none."""

    expression: str = Field(pattern=r"^[1-9][0-9]{0,2}( [-+*] [1-9][0-9]{0,2}){1,2}$")


class Rewording(BaseModel):
    """A question in other words."""

    model_config = ConfigDict(extra="forbid")
    question: str = Field(min_length=8, max_length=200)


class Written(TaskFamily):
    """Questions in free words whose answer is a number."""

    name = NAME
    form: Form = "number"

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Nothing: its questions are written, not drawn."""
        yield from ()

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Whether the answer is the same number."""
        try:
            return float(Decimal(answer) == Decimal(truth["answer"]))
        except InvalidOperation:
            return 0.0


class Worded(Part):
    """A question in free words with what is known about its answer."""

    question: str
    answer: str | None = None
    """What an executor says; `None` where there is none."""
    meaning: str = ""
    """The canonical form of the expression that it asks for, where that is known."""

    def draft(self) -> Draft:
        """The same as a family's draft; without an answer its truth is empty."""
        truth = {} if self.answer is None else {"answer": self.answer}
        return Draft(question=self.question, canonical=in_words(self.question), truth=truth)


def word_problem(content: str) -> Worded:
    """The word problem that a model's JSON holds.

    Its answer is computed where the question names exactly the numbers of the expression; where the expression is none,
    or is about other numbers, there is no answer, and the question stands alone.

    Raises:
        Ungrounded: `malformed`, `out of range` or `trivial`.
    """
    proposal = _read(WordProblem, content)
    question = asks_something(proposal.question)
    try:
        tree = expressions.parse(proposal.expression)
        worth, meaning = expressions.value(tree), expressions.canonical(proposal.expression)
    except expressions.ExpressionError:
        return Worded(question=question)
    operands = expressions.operands(tree)
    if sorted(map(Decimal, operands)) != sorted(numbers(question)):
        return Worded(question=question)
    if len(operands) > MOST_NUMBERS or max(operands) > LARGEST:
        raise Ungrounded("out of range", f"at most {MOST_NUMBERS} numbers up to {LARGEST}")
    if expressions.trivial(tree):
        raise Ungrounded("trivial", proposal.expression)
    return Worded(question=question, answer=tells_no_answer(question, str(worth)), meaning=meaning)


def reworded(content: str, question: str) -> str:
    """Another wording of a question, from a model's JSON.

    Raises:
        Ungrounded: `malformed`, `same words`, or `other numbers` than the question's.
    """
    other = asks_something(_read(Rewording, content).question)
    if in_words(other) == in_words(question):
        raise Ungrounded("same words")
    if sorted(numbers(other)) != sorted(numbers(question)):
        raise Ungrounded("other numbers", f"{numbers(other)} instead of {numbers(question)}")
    return other


def asks_something(question: str) -> str:
    """The question in one line.

    Raises:
        Ungrounded: It has hardly a word, or no number to reckon with, or says its answer.
    """
    line = " ".join(question.split())
    if len(re.findall(r"[^\W\d_]{2,}", line)) < FEWEST_WORDS:
        raise Ungrounded("malformed", "hardly any words")
    if not numbers(line):
        raise Ungrounded("malformed", "no number in it")
    if re.search(r"answer(\s+is)?\s*:?\s*[-\d]", line, re.IGNORECASE):
        raise Ungrounded("trivial", "it says an answer")
    return line


def tells_no_answer(question: str, answer: str) -> str:
    """The answer, which the question must not name.

    Raises:
        Ungrounded: It does.
    """
    if Decimal(answer) in numbers(question):
        raise Ungrounded("trivial", f"{answer} stands in the question")
    return answer


def in_words(question: str) -> str:
    """What a free-text question is known by: its words and numbers, whatever the case, spacing and punctuation."""
    return "words: " + " ".join(re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/×÷=?]", question.casefold()))


def readings(question: str, answer: str) -> set[str]:
    """The typed questions that a free-text one may be in disguise: same numbers, same answer.

    Args:
        question: With at most five numbers; of more, nothing is said.
        answer: What it is taken to be.

    Returns:
        Canonical expressions of the question's whole numbers, in either order, that are worth the answer, and the
        greatest common divisor and least common multiple where they are.
    """
    found = [int(number) for number in numbers(question) if number == int(number) and number < 10**9]
    if not 2 <= len(found) <= 5:
        return set()
    wanted, ways = Decimal(answer), set()
    for order in (found, found[::-1]):
        for signs in product("+-*", repeat=len(order) - 1):
            text = str(order[0]) + "".join(f" {sign} {number}" for sign, number in zip(signs, order[1:], strict=True))
            if expressions.value(expressions.parse(text)) == wanted:
                ways.add(expressions.canonical(text))
    for name, function in _OF_SEVERAL.items():
        if function(*found) == wanted:
            ways.add(f"{name}({','.join(map(str, sorted(found)))})")
    return ways


def _read(schema: type[T], content: str) -> T:
    try:
        return schema.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise Ungrounded("malformed", f"{where}: {first['msg']}"[:200]) from error


_OF_SEVERAL = {"gcd": gcd, "lcm": lcm}
