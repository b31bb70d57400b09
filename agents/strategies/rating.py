"""The critic's marks for replies whose truth nobody knows."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field

from quintet.agents.critic import Critic
from quintet.agents.settings import CriticSettings

RATING_TOKENS = 12
"""Longest rating, its JSON braces included."""


class Rating(BaseModel):
    """A mark."""

    score: int = Field(ge=1, le=5)
    """1 is surely wrong, 5 surely right."""


class Rater(Critic):
    """The critic, asked for a mark instead of advice; it speaks as and through whom the critic does."""

    name: ClassVar[str] = "critic"
    reply: ClassVar[type[BaseModel] | None] = Rating
    template: ClassVar[str | None] = """\
Problem: {{ scene.question }}
A student wrote: {{ attempt.text | truncate(400) }}
How sure is it that the student's final answer is right? 1: surely wrong. 2: probably wrong. 3: unclear.
4: probably right. 5: surely right. Answer as JSON: {"score": ...}"""

    @property
    def settings(self) -> CriticSettings:
        """The critic's settings, except for words that are about advice."""
        return self.table.settings.critic.model_copy(update={"template": None, "temperature": 0.0})
