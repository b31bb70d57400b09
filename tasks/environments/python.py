"""A Python executor: the model writes a function, tests answer, and it may try again."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from random import Random
from typing import Any, ClassVar

from quintet.tasks import sandbox
from quintet.tasks.environment import Environment, EnvironmentFamily, Outcome
from quintet.tasks.environments import specifications
from quintet.tasks.environments.trial import Trial, attempt, passed, shown
from quintet.tasks.errors import LevelError
from quintet.tasks.family import Draft
from quintet.tasks.gym import stream_seed
from quintet.tasks.settings import SandboxSettings, TaskSettings

SHARE = 0.8
"""Of the seconds for judging, the part that all runs of an episode may take; starting processes takes the rest."""

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BEGINS = re.compile(r"(?:def|import|from|class|async def) |@|\w+ = ")
_GOES_ON = re.compile(
    r"\s|(?:def|import|from|class|async def|if|for|while|try|with|else|elif|except)\b.*|[@#)\]}]|\w+\s*="
)


class PythonFunctions(EnvironmentFamily):
    """Functions in Python, tried on examples until they pass, then on hidden tests (RLEF, arXiv 2410.02089).

    As in the paper, what fails on the public examples is shown and another version asked for; the episode ends when
    they pass, or out of turns, and is worth 1 if all hidden tests pass too (Gehring et al. 2024, arXiv 2410.02089).
    """

    paper: ClassVar[str] = "Gehring et al. 2024, arXiv 2410.02089"

    name = "python_functions"
    levels = len(specifications.LEVELS)
    turns = 3

    def __init__(self) -> None:
        self.heed(TaskSettings())

    def heed(self, settings: TaskSettings) -> None:
        """Take turns and limits from the settings; all runs of an episode must fit into `verify_seconds`."""
        self.turns = settings.python_functions.turns
        # Each turn may run the public tests and the hidden ones, and an episode is replayed from its beginning.
        seconds = min(settings.sandbox.seconds, SHARE * settings.verify_seconds / (2 * self.turns))
        self.limits = settings.sandbox.model_copy(update={"seconds": seconds})

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Functions composed at random.

        Raises:
            LevelError: There is no sandbox to run them in.
        """
        if why := sandbox.unavailable():
            raise LevelError(why)
        random = Random(stream_seed(self.name, level, seed))
        while True:
            wanted = specifications.specify(level, random)
            if cases := specifications.tests(wanted, random):
                public, hidden = cases[: specifications.PUBLIC], cases[specifications.PUBLIC :]
                truth = {
                    "name": wanted.name,
                    "signature": wanted.signature,
                    "words": wanted.words,
                    "public": public,
                    "hidden": hidden,
                }
                yield self.drafted(wanted.meaning, truth, level)

    def begin(self, truth: dict[str, Any]) -> Environment:
        """A function of which nothing is written yet."""
        return Workbench(truth, self.limits)

    def action(self, text: str) -> str:
        """The code in a reply."""
        return code(text)


class Workbench(Environment):
    """One function in the making.

    Args:
        truth: Its `name`, `signature` and `words`, and its `public` and `hidden` tests: pairs of arguments and value.
        limits: What one run may take.
    """

    def __init__(self, truth: dict[str, Any], limits: SandboxSettings) -> None:
        self.truth, self.limits = truth, limits

    def reset(self) -> str:
        """What is wanted, with two examples."""
        examples = "\n".join(f"{self._call(given)} returns {shown(value)}" for given, value in self.truth["public"])
        return (
            f"Write a Python function `{self.truth['signature']}` that {self.truth['words']}.\n{examples}\n"
            "Write only the function."
        )

    def step(self, action: str) -> Outcome:
        """Try the code on the examples and, if they pass, on the hidden tests."""
        if not re.search(rf"\b{re.escape(self.truth['name'])}\b", action):
            said = f"There is no function `{self.truth['name']}` in your reply."
            return Outcome(observation=f"{said} {_AGAIN}", refused=True)
        if said := self._wrong(action):
            return Outcome(observation=f"{said} {_AGAIN}")
        tests = self.truth["hidden"]
        right = passed(self._try(action, tests).results, [value for _, value in tests])
        found = "All hidden tests pass." if right else "A hidden test fails."
        return Outcome(observation=f"Both examples pass. {found}", reward=float(right), done=True)

    def _try(self, source: str, tests: list[list[Any]]) -> Trial:
        inputs = tuple(json.dumps(given, ensure_ascii=False) for given, _ in tests)
        return attempt(source, self.truth["name"], inputs, self.limits)

    def _wrong(self, source: str) -> str:
        """What is wrong on the first example that fails; empty where none does."""
        examples = self.truth["public"]
        trial = self._try(source, examples)
        if trial.unusable:
            return f"Your code does not work: {trial.unusable}."
        for (given, right), result in zip(examples, trial.results, strict=True):
            if not passed([result], [right]):
                found = result.error or f"returned {shown(json.loads(result.value or 'null'))}"
                return f"{self._call(given)} {found}, but should return {shown(right)}."
        return ""

    def _call(self, given: list[Any]) -> str:
        return f"{self.truth['name']}({', '.join(map(shown, given))})"


_AGAIN = "Write the function again, corrected."


def code(text: str) -> str:
    """The code in a reply, leniently.

    Args:
        text: Code in a fence, closed or not, or plain, with other words before and after it.

    Returns:
        The last fenced block that defines something, else the last one; without a fence, all from the first line
        that begins code to the last that can belong to it. Nothing is parsed: what is no Python shall be tried too.
    """
    if blocks := _FENCE.findall(text):
        defining = [block for block in blocks if "def " in block]
        return str((defining or blocks)[-1]).strip()
    lines = [line.rstrip() for line in text.replace("`", "").splitlines()]
    begin = next((number for number, line in enumerate(lines) if _BEGINS.match(line.lstrip())), None)
    if begin is None:
        return "\n".join(lines).strip()
    end = begin + 1
    while end < len(lines) and (not lines[end] or _GOES_ON.match(lines[end])):
        end += 1
    return textwrap.dedent("\n".join(lines[begin:end])).strip()
