"""Small functions to be written: operations composed at random, with tests of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from quintet.records import digest
from quintet.tasks.environments.operations import LETTERS, OPERATIONS, WORDS, Kind, Operation

_ARGUMENTS: dict[Kind, tuple[str, str]] = {
    "integer": ("x", "an integer"),
    "pair": ("a, b", "two integers"),
    "text": ("s", "a string"),
    "list": ("xs", "a list of integers"),
}
"""What a function takes: its parameters, and what they are."""


@dataclass(frozen=True)
class Step:
    """An operation with its constants."""

    operation: Operation
    constants: tuple[Any, ...] = ()

    def done(self, value: Any) -> Any:
        """Its result."""
        return self.operation.does(value, *self.constants)

    def said(self, template: str, of: str) -> str:
        """One of the operation's wordings, with these constants."""
        return template.format(x=of, **dict(zip("cd", self.constants, strict=False)))


LEVELS: tuple[tuple[tuple[Kind, ...], int], ...] = (
    (("integer", "pair"), 1),
    (("text",), 1),
    (("list",), 1),
    (("integer", "pair", "text", "list"), 2),
    (("integer", "pair", "text", "list"), 3),
)
"""Of each level, what its functions may take, and how many steps they have."""

PUBLIC, HIDDEN = 2, 8
"""Examples in the question, and tests that nobody is shown."""

_PROBES = 40
"""Random inputs by which two functions are told apart."""


@dataclass(frozen=True)
class Specification:
    """A function to be written."""

    takes: Kind
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Its name: of a single step, what it does."""
        step = self.steps[0]
        return "_".join(map(str, (step.operation.name, *step.constants))) if len(self.steps) == 1 else "solve"

    @property
    def signature(self) -> str:
        """How it is called."""
        return f"{self.name}({_ARGUMENTS[self.takes][0]})"

    @property
    def words(self) -> str:
        """What it does."""
        parameters, taken = _ARGUMENTS[self.takes]
        first = self.steps[0]
        if len(self.steps) == 1:
            return f"takes {taken} and returns {first.said(first.operation.noun, parameters)}"
        verbs = ", then ".join(step.said(step.operation.verb, "it") for step in self.steps)
        return f"takes {taken} and does this: {verbs}. It returns the result"

    def value(self, arguments: Sequence[Any]) -> Any:
        """What it returns."""
        value = tuple(arguments) if self.takes == "pair" else arguments[0]
        for step in self.steps:
            value = step.done(value)
        return value

    @property
    def meaning(self) -> str:
        """Alike for functions that do the same to the same inputs, whatever their steps."""
        values = [self.value(given) for given in _probes(self.takes)]
        return f"python {self.takes} {digest(values)[:24]}"


def specify(level: int, random: Random) -> Specification:
    """A function of a level; each of its steps matters."""
    kinds, count = LEVELS[level]
    takes: Kind = random.choice(kinds)
    kind, steps = takes, list[Step]()
    while len(steps) < count:
        last = steps[-1].operation.name if steps else ""
        fitting = [
            operation
            for operation in OPERATIONS
            # What gives another kind stands last, unless numbers go on from there.
            if operation.takes == kind
            and operation.name != last
            and (count - len(steps) == 1 or operation.gives != "truth")
        ]
        operation = random.choice(fitting)
        constants = tuple(random.choice(choices) for choices in operation.constants)
        if len(set(constants)) == len(constants):
            steps.append(Step(operation, constants))
            kind = operation.gives
    return Specification(takes, tuple(steps))


def arguments(takes: Kind, random: Random, constants: Sequence[Any] = ()) -> list[Any]:
    """Arguments for a function that takes this.

    Args:
        takes: What it takes.
        random: Where they are drawn from.
        constants: Those of its steps; texts and lists often hold one, or looking for it would find nothing.
    """
    match takes:
        case "integer":
            return [random.randint(-20, 120)]
        case "pair":
            return [random.randint(-20, 60), random.randint(-20, 60)]
        case "text":
            words = random.choices((*WORDS, *(word.title() for word in WORDS)), k=random.randint(1, 3))
            text = random.choice((" ", "")).join(words)
            held = [each for each in constants if isinstance(each, str)]
            at = random.choice((0, random.randrange(len(text)))) if held else 0
            return [text[:at] + random.choice([*held, ""]) + text[at:]]
        case _:
            numbers = [random.randint(-10, 70) for _ in range(random.randint(1, 8))]
            known = [each for each in constants if isinstance(each, int)]
            if known and random.random() < 0.5:
                numbers[random.randrange(len(numbers))] = random.choice(known)
            return [numbers]


@cache
def _probes(takes: Kind) -> list[list[Any]]:
    """Inputs that tell functions apart, the same for all."""
    random = Random(0)
    known: list[list[Any]] = [[f"{letter}x{letter}"] for letter in LETTERS] if takes == "text" else []
    if takes == "list":
        known = [[list(range(-10, 100))], *([[number]] for number in range(60))]
    return [*known, *(arguments(takes, random) for _ in range(_PROBES))]


def edge(takes: Kind) -> list[Any]:
    """Arguments that are easily forgotten."""
    edges: dict[Kind, list[Any]] = {"integer": [0], "pair": [0, 0], "text": [""], "list": [[]]}
    return edges[takes]


def tests(specification: Specification, random: Random) -> list[list[Any]] | None:
    """Inputs with what is right: the public ones first; `None` where they would not tell right from wrong."""
    constants = [constant for step in specification.steps for constant in step.constants]
    inputs = [arguments(specification.takes, random, constants) for _ in range(PUBLIC + HIDDEN - 1)]
    inputs.append(edge(specification.takes))
    cases = [[each, specification.value(each)] for each in inputs]
    values = [digest(value) for _, value in cases]
    same = max(values.count(value) for value in values[PUBLIC:])
    if len({digest(each) for each in inputs}) < len(inputs) or same > HIDDEN - 2 or values[0] == values[1]:
        return None
    # A function that gives back what it was given would be right.
    if all(each[0] == value for each, value in cases[PUBLIC:-1]):
        return None
    return cases
