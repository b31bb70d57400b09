"""Metrics that ask a role: the critic's mark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from pydantic import ValidationError

from quintet.agents.errors import NoAnswerError
from quintet.agents.metrics.port import Candidate, Metric
from quintet.agents.table import Question, Table


class Rubric(Metric):
    """The critic's mark by a rubric, 1 (surely wrong) to 5 (surely right), given without the truth.

    As in AlpaGasus (Chen et al. 2023, arXiv 2307.08701), by the model itself. How far it agrees with the verifier is
    measured each round: the monitor `critic_agreement`. 0 where it gave no mark that can be read.
    """

    name = "rubric"
    paper: ClassVar[str] = "Chen et al. 2023, arXiv 2307.08701"

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the critic, once for each text that was said about a task."""
        from quintet.agents.roles import json_in
        from quintet.agents.strategies.rating import RATING_TOKENS, Rater, Rating

        rater = Rater().sit(table)

        async def mark(one: Candidate) -> float:
            where = Question(one.task.question, one.round, one.adapter, one.task.id)
            async with table.seated():
                try:
                    said = await rater.call(
                        where, about=one.attempt.text, attempt=one.attempt, max_tokens=RATING_TOKENS
                    )
                    return float(Rating.model_validate_json(json_in(said.completions[0].text)).score)
                except (NoAnswerError, ValidationError):
                    # A bad mark is data, not a crash.
                    return 0.0

        said = {(one.task.id, one.attempt.text): one for one in candidates}
        marks = dict(zip(said, await asyncio.gather(*map(mark, said.values())), strict=True))
        return [marks[one.task.id, one.attempt.text] for one in candidates]
