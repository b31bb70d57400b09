"""Strategies of memory: what was learnt before comes back."""

from __future__ import annotations

from typing import ClassVar

from quintet.agents.strategies.desk import Desk
from quintet.agents.strategies.port import Solution, Step, Strategy


class WithMemory(Strategy):
    """The likeliest reply after exemplars and lessons from the shared memory (as in Mem0, arXiv 2504.19413)."""

    name = "recall"
    method = "agentic"
    paper: ClassVar[str] = "Chhikara et al. 2025, arXiv 2504.19413"

    async def solve(self, desk: Desk) -> Solution:
        """One reply at temperature 0, with what the solver's settings say is recalled for a revision."""
        settings = desk.table.settings.solver
        history = await desk.exemplars(settings.exemplars)
        lessons = await desk.lessons(settings.lessons)
        [only] = await desk.sample(temperature=0.0, history=history, heed=lessons)
        steps = [Step(what="exemplar", text=message.content) for message in history]
        steps += [Step(what="lesson", text=lesson) for lesson in lessons]
        return Solution(text=only.text, answer=only.answer, steps=tuple(steps))
