"""The evolver proposes personas for another role, from earlier ones and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field, ValidationError

from quintet.agents.errors import NoAnswerError
from quintet.agents.roles import EpisodeRole, json_in
from quintet.agents.table import Question
from quintet.records import BASE, Part

SHOWN = 5
"""Earlier personas that a proposal is shown, the best of them."""

MOST_CHARACTERS = 240
"""Longest persona; it stands before every question."""


class Idea(BaseModel):
    """A new persona."""

    instruction: str = Field(min_length=8, max_length=MOST_CHARACTERS)
    """What the assistant is told."""


class Rated(Part):
    """A persona and how it fared on the steer suite."""

    text: str
    correct: int
    n: int

    @property
    def share(self) -> int:
        """Items right, in per cent."""
        return round(100 * self.correct / max(self.n, 1))


class Evolver(EpisodeRole):
    """Writes a new persona, shown the best so far with their scores (OPRO, Yang et al. 2023, arXiv 2309.03409).

    It speaks through the model without an adapter: what is trained to solve problems has little else to say.
    """

    name: ClassVar[str] = "evolver"
    paper: ClassVar[str] = "Yang et al. 2023, arXiv 2309.03409"
    persona: ClassVar[str] = "You write short instructions for an assistant."
    reply: ClassVar[type[BaseModel] | None] = Idea
    template: ClassVar[str | None] = """An assistant is asked problems such as:
{% for question in examples %}
- {{ question }}
{% endfor %}
These instructions were tried, each with the share of problems that were then solved:
{% for one in rated %}
- {{ one.share }} %: {{ one.text }}
{% endfor %}
Write one short instruction for the assistant that is new and works better, as JSON: {"instruction": "..."}"""

    async def propose(
        self, n: int, rated: Sequence[Rated], examples: Sequence[str], about: str
    ) -> list[tuple[str, str]]:
        """New personas, each with the id of its call; an empty text where a reply cannot be read.

        Args:
            n: How many.
            rated: Earlier ones; of these the best are shown, the very best last.
            examples: Questions that are no evaluation items.
            about: Tells several askings apart; it goes into the seed.

        Raises:
            NoAnswerError: The model gave no answer.
        """
        best = sorted(rated, key=lambda one: (one.correct, one.text))[-SHOWN:]
        scene = Question("", 0, BASE)
        said = await self.call(scene, n=n, about=about, temperature=1.0, rated=best, examples=list(examples))
        if all(completion.finish == "error" for completion in said.completions):
            raise NoAnswerError("the model proposed nothing")
        return [(_read(completion.text), call) for completion, call in zip(said.completions, said.calls, strict=True)]


def _read(text: str) -> str:
    try:
        return " ".join(Idea.model_validate_json(json_in(text)).instruction.split())
    except ValidationError:
        return ""
