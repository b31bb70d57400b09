"""The reflector draws a lesson from a failure, in words; it joins the table where a config asks it to."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, Field, ValidationError

from quintet.agents.roles import EpisodeRole, json_in
from quintet.agents.table import Episode
from quintet.records import Attempt, Lesson


class Reflection(BaseModel):
    """What is to be done otherwise next time."""

    lesson: str = Field(min_length=4, max_length=100)
    """One short sentence."""


class Reflector(EpisodeRole):
    """Draws a lesson from a task that stayed unsolved, for later ones (Reflexion, Shinn et al. 2023, arXiv 2303.11366).

    It knows that the attempt failed, and not why: the verdict, never the truth, is in its prompt. The lesson is
    remembered, and recalled like those of the critic. Join it with
    `join = ["quintet.agents.reflector:Reflector"]`; its settings are those of `[roles.reflector]`.
    """

    paper: ClassVar[str] = "Shinn et al. 2023, arXiv 2303.11366"
    after: ClassVar[str] = "critic"
    persona: ClassVar[str] = "You learn from mistakes. You say what to do otherwise next time, without giving answers."
    reply: ClassVar[type[BaseModel] | None] = Reflection
    template: ClassVar[str | None] = """\
Problem: {{ scene.question }}
You wrote: {{ attempt.text | truncate(200) }}
{% if wrong %}
That is wrong.{% if advice %} Your teacher said: {{ advice }}{% endif %}

{% else %}
It may be right or wrong.
{% endif %}
What will you do otherwise with such problems? One short sentence, as JSON: {"lesson": "..."}"""

    async def act(self, episode: Episode) -> list[Lesson]:
        """A lesson from the last turn of a task that nobody solved; none while it may yet be solved."""
        over = not episode.revisable() or episode.turn + 1 >= episode.turns
        judged = [(attempt, episode.critiques.get(attempt.id)) for attempt in episode.attempts]
        if not over or not judged or any(critique is None or critique.correct for _, critique in judged):
            return []
        failed: Attempt = episode.current()[0]
        critique = episode.critiques[failed.id]
        words: dict[str, Any] = {"attempt": failed, "wrong": True, "advice": critique.feedback}
        said = await self.call(episode, about=failed.id, **words)
        try:
            lesson = Reflection.model_validate_json(json_in(said.completions[0].text)).lesson.strip()
        except ValidationError:
            # Cut off, or no JSON: the call is on record, and there is nothing to be learnt from it.
            return []
        text = f"After failing “{episode.question}”: {lesson}"
        return [Lesson(round=episode.round, task=episode.task.id, attempt=failed.id, critique=critique.id, text=text)]
