"""The port for task families: what can be asked, how an answer is read and checked, what may be proposed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from quintet.records import Part
from quintet.tasks.errors import LevelError, TaskError, Ungrounded
from quintet.tasks.extraction import Extracted, Form, extract
from quintet.tasks.settings import TaskSettings

__all__ = ["Draft", "Extracted", "Form", "TaskFamily"]


class Draft(Part):
    """A question with its truth, before it is known who may see it."""

    question: str
    """What the solver reads; it must not hold the truth."""
    canonical: str
    """The question's meaning, alike for questions that differ in wording or operand order only."""
    truth: dict[str, Any]
    """What `score` needs, as JSON."""
    choices: int | None = None
    """How many answers are possible, where that is fewer than a verdict could hide; `None` means many."""
    level: int = 0
    """Difficulty within the family."""


class TaskFamily(ABC):
    """A kind of task that can be drawn at several levels and checked by a program.

    A family is used in a worker process too, so it must be picklable: a class at the top of a module, whose
    instances hold plain values.
    """

    name: str
    """Unique name."""
    levels: int = 1
    """Number of difficulty levels, 0 to `levels - 1`, narrowest first."""
    proposal: type[BaseModel] | None = None
    """Schema of a typed proposal that the model may invent; `None` if none can be."""
    form: Form = "line"
    """What its answers look like, for the extractor."""

    @abstractmethod
    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Questions of a level, in an order that the seed fixes; endless or finite, repeats allowed.

        Raises:
            LevelError: The level cannot be drawn from.
        """

    @abstractmethod
    def score(self, truth: dict[str, Any], answer: str) -> float:
        """How right an answer is, 0 to 1 (1: correct); if it raises on garbage, that is recorded as 0."""

    def heed(self, settings: TaskSettings) -> None:  # noqa: B027 - most have none of their own
        """Take what the settings say about it; called before it is used, in the process that asks it."""

    def prepare(self) -> None:  # noqa: B027 - most families need none
        """Import or load what it needs; called once in each new worker process, whose start it counts to."""

    def ground(self, proposal: BaseModel) -> Draft:
        """The task that a proposal stands for, its truth computed by an executor.

        Raises:
            Ungrounded: It stands for none; the reason is a few stable words.
        """
        raise Ungrounded("cannot be proposed")

    def proposal_at(self, level: int) -> type[BaseModel] | None:
        """The proposal schema narrowed to what a level asks; a small model, left free, proposes what is too hard."""
        return self.proposal

    def extract(self, text: str) -> Extracted:
        """The answer read in a reply, leniently and strictly."""
        return extract(text, self.form)

    def ask(self, question: str) -> str:
        """The user message that poses a question."""
        return f"{question}\nEnd with: Answer: <final answer>"


class AnyQuestion(TaskFamily):
    """A question of no family: how its answers are read is guessed from it, and nobody can check them.

    Args:
        question: One with a digit in it is taken to want a number.
    """

    name = "any"

    def __init__(self, question: str) -> None:
        self.form = "number" if any(character.isdigit() for character in question) else "line"

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Nothing can be drawn."""
        raise LevelError("a question of no family cannot be drawn again")

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """Nothing can be checked."""
        raise TaskError("a question of no family cannot be checked")
