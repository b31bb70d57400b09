"""Strategies of reasoning: the model looks at what it said before it settles."""

from __future__ import annotations

from quintet.agents.strategies.port import Desk, Solution, Step, Strategy


class CritiqueAndRevise(Strategy):
    """A reply, the critic's advice on it, and a second reply that heeds it (Self-Refine, arXiv 2303.17651)."""

    name = "revise"

    async def solve(self, desk: Desk) -> Solution:
        """The second reply, whatever the first was: nobody here knows which is right."""
        [first] = await desk.sample(temperature=0.0)
        advice = await desk.advise(first)
        steps = [Step(what="first reply", text=first.text), Step(what="advice", text=advice or "none")]
        [second] = await desk.sample(temperature=0.0, heed=[advice] if advice else [], about="revision")
        return Solution(text=second.text, answer=second.answer, steps=tuple(steps))
