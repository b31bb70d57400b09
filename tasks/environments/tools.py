"""Questions of another family, answered with a calculator and a search of the shared memory at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from quintet.tasks import expressions
from quintet.tasks.arithmetic import ARITHMETIC
from quintet.tasks.environment import Environment, EnvironmentFamily, Outcome
from quintet.tasks.family import Draft, TaskFamily

_ACTION = re.compile(r"\b(calculate|search|answer)\s*:\s*(\S.*)", re.IGNORECASE)
_SIGNS = str.maketrans({"×": "*", "·": "*", "−": "-", "–": "-", ",": None})
"""Signs as people write them."""

HOW = """Write one line.
To use the calculator: calculate: 2 + 3
To look something up: search: sums
To give the final answer: Answer: 5"""


class ToolUse(EnvironmentFamily):
    """Another family's questions, with calculator and search at hand (WebGPT, Nakano et al. 2021, arXiv 2112.09332).

    A question has the canonical form that it has without tools, so that it belongs to the same split: what is practised
    in one family is never evaluated in the other.

    Args:
        inner: Whose questions; the name is its name and `_tools`.
    """

    paper = "Nakano et al. 2021, arXiv 2112.09332"
    turns = 4
    searches = True

    def __init__(self, inner: TaskFamily) -> None:
        self.inner = inner
        self.name, self.levels, self.proposal = f"{inner.name}_tools", inner.levels, inner.proposal

    def prepare(self) -> None:
        """What the other family needs."""
        self.inner.prepare()

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """The other family's questions."""
        return self.inner.draw(level, seed)

    def begin(self, truth: dict[str, Any]) -> Environment:
        """A question with nothing done about it."""
        return Desk(self.inner, truth)

    def ground(self, proposal: BaseModel) -> Draft:
        """As the other family does."""
        return self.inner.ground(proposal)

    def proposal_at(self, level: int) -> type[BaseModel] | None:
        """As the other family says."""
        return self.inner.proposal_at(level)

    def action(self, text: str) -> str:
        """The first line that calls a tool or answers, else the first line."""
        found = _ACTION.search(text)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return found[0].strip() if found else lines[0] if lines else ""

    def ask(self, question: str) -> str:
        """The question with what may be done."""
        return f"{question}\n{HOW}"


class Desk(Environment):
    """One question, the calculator beside it.

    Args:
        inner: The family that checks the answer.
        truth: The question's.
    """

    def __init__(self, inner: TaskFamily, truth: dict[str, Any]) -> None:
        self.inner, self.truth = inner, truth

    def reset(self) -> str:
        """Nothing: the question is known to who asks it."""
        return ""

    def step(self, action: str) -> Outcome:
        """Calculate, search, or answer."""
        found = _ACTION.match(action)
        if found is None:
            return Outcome(observation=f"That is no command. {HOW}", refused=True)
        what, words = found[1].lower(), found[2].strip()
        if what == "search":
            return Outcome(observation="", search=words)
        if what == "answer":
            given = self.inner.extract(f"Answer: {words}").lenient
            reward = 0.0 if given is None else self.inner.score(self.truth, given)
            return Outcome(observation="", reward=reward, done=True)
        expression = words.translate(_SIGNS).partition("=")[0].strip(" .`*")
        try:
            worth = expressions.value(expressions.parse(expression))
        except (expressions.ExpressionError, RecursionError):
            return Outcome(observation="The calculator takes whole numbers, + - * and brackets.", refused=True)
        return Outcome(observation=f"{expression} = {worth}")


def with_tools() -> list[TaskFamily]:
    """The arithmetic families that a calculator helps with."""
    return [ToolUse(ARITHMETIC[name](name)) for name in ("basic_arithmetic", "chain_sum", "products")]
