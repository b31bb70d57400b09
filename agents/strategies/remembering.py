"""Strategies of memory: what was learnt before comes back."""

from __future__ import annotations

from quintet.agents.strategies.port import Desk, Solution, Step, Strategy


class WithMemory(Strategy):
    """The likeliest reply after exemplars and lessons from the shared memory."""

    name = "recall"

    async def solve(self, desk: Desk) -> Solution:
        """One reply at temperature 0, with what the solver's settings say is recalled for a revision."""
        settings = desk.table.settings.solver
        history = await desk.exemplars(settings.exemplars)
        lessons = await desk.lessons(settings.lessons)
        [only] = await desk.sample(temperature=0.0, history=history, heed=lessons)
        steps = [Step(what="exemplar", text=message.content) for message in history]
        steps += [Step(what="lesson", text=lesson) for lesson in lessons]
        return Solution(text=only.text, answer=only.answer, steps=tuple(steps))
