"""The critic judges attempts with the verifier, and tells the solver what to mend."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field, ValidationError

from quintet.agents.errors import NoAnswerError
from quintet.agents.playing import environment
from quintet.agents.roles import EpisodeRole, json_in
from quintet.agents.settings import CriticSettings
from quintet.agents.table import Episode
from quintet.agents.trajectories import confirmed
from quintet.records import Attempt, Critique, Lesson, Record


class Feedback(BaseModel):
    """What the critic says about a failed attempt."""

    advice: str = Field(min_length=4, max_length=80)
    """One short sentence."""


class Critic(EpisodeRole):
    """Verifies every attempt of the turn; a few of the failed ones get advice and are to be revised."""

    after: ClassVar[str] = "solver"
    persona: ClassVar[str] = "You are a teacher. You point out mistakes without giving the answer."
    reply: ClassVar[type[BaseModel] | None] = Feedback

    @property
    def settings(self) -> CriticSettings:
        """The critic's settings."""
        return self.table.settings.critic

    async def act(self, episode: Episode) -> list[Record]:
        """One critique for each attempt of this turn, and a lesson for each that a revision rescued."""
        attempts = episode.current()
        judged = await self.table.examiner.judge(episode.task, [attempt.text for attempt in attempts])
        judged = [confirmed(self.table.ledger, *pair) for pair in zip(attempts, judged, strict=True)]
        right = sum(judgement.correct for judgement in judged)
        revisions = self._revisions(episode, len(attempts), right)
        said: list[Record] = []
        for attempt, judgement in zip(attempts, judged, strict=True):
            advice, call, revise = "", None, False
            if not judgement.correct and revisions > 0:
                revisions -= 1
                if self.settings.advise:
                    advice, call = await self._advise(episode, attempt)
                revise = call is not None or not self.settings.advise
            critique = Critique(
                round=episode.round,
                task=episode.task.id,
                attempt=attempt.id,
                score=judgement.score,
                correct=judgement.correct,
                strict=judgement.strict,
                verdict="accept" if judgement.correct else "revise" if revise else "reject",
                feedback=advice,
                call=call,
                error=judgement.error,
            )
            said.append(critique)
            before = episode.critiques.get(attempt.revises or "")
            if judgement.correct and before is not None and not before.correct:
                said.append(_lesson(episode, attempt, before))
        return said

    def _revisions(self, episode: Episode, attempts: int, right: int) -> int:
        """How many failed attempts of this turn are worth a revision."""
        solver = self.table.settings.solver
        if episode.turn + 1 >= solver.turns or environment(self.table, episode.task):
            # What happens in an environment is told there, action by action.
            return 0
        if episode.turn == 0 and right >= solver.revise_below * attempts:
            return 0
        return episode.revise

    async def _advise(self, episode: Episode, attempt: Attempt) -> tuple[str, str | None]:
        try:
            said = await self.call(episode, about=attempt.id, attempt=attempt, wrong=True)
        except NoAnswerError:
            # The failed call is on record; it must not cost the verifier's verdict.
            return "", None
        text = said.completions[0].text
        try:
            return Feedback.model_validate_json(json_in(text)).advice.strip(), said.call
        except ValidationError:
            # A truncated or malformed reply still says something; the verdict does not hang on it.
            return "", said.call


def _lesson(episode: Episode, solved: Attempt, critique: Critique) -> Lesson:
    words = critique.feedback or "Check the result before you give it."
    return Lesson(
        round=episode.round,
        task=episode.task.id,
        attempt=solved.id,
        critique=critique.id,
        text=f"On “{episode.question}” this advice helped: {words}",
    )
