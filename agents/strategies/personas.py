"""Strategies of persona: the model answers under words that were found to serve it better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from quintet.agents.solver import Solver
from quintet.agents.strategies.desk import Desk
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.memory.ledger import RunLedger
from quintet.records import Message, Persona, digest


class Guised(Solver):
    """The solver under another persona; nothing in it is a template."""

    name: ClassVar[str] = "solver"

    def __init__(self, text: str) -> None:
        self.text = text

    def opening(self, heed: Sequence[str] = ()) -> tuple[Message, ...]:
        """The system message with that persona."""
        words = " ".join(filter(None, [self.text, *heed]))
        return (Message(role="system", content=words),) if words else ()


class WithPersona(Strategy):
    """The likeliest reply under the newest persona that a paired test kept (OPRO, Yang et al. 2023, arXiv 2309.03409).

    Personas are kept by `quintet evolve`. Where none is, the role's own is used, which is the greedy answer.

    Args:
        samples: Not used.
        text: A persona to try, instead of the newest that was kept.
    """

    name = "persona"
    method = "agentic"
    paper: ClassVar[str] = "Yang et al. 2023, arXiv 2309.03409"

    def __init__(self, samples: int = 8, text: str | None = None) -> None:
        super().__init__(samples)
        self.text = text

    @property
    def recorded(self) -> str:
        """With what tells the persona from others, where one is tried."""
        return self.name if self.text is None else f"{self.name} {digest(self.text)[:8]}"

    async def solve(self, desk: Desk) -> Solution:
        """One reply at temperature 0."""
        text = self.text
        if text is None and (kept := newest(desk.table.ledger, "solver")) is not None:
            text = kept.text
        if text is None:
            [only] = await desk.sample(temperature=0.0)
            step = Step(what="persona", text="the role's own: no other was kept")
            return Solution(text=only.text, answer=only.answer, steps=(step,))
        guised = Guised(text).sit(desk.table)
        words: dict[str, Any] = {"ask": desk.asked, "lessons": [], "wrong": False, "feedback": []}
        said = (await desk.call(guised, desk.longest, temperature=0.0, **words)).completions[0].text
        return Solution(text=said, answer=(await desk.read([said]))[0], steps=(Step(what="persona", text=text),))


def newest(ledger: RunLedger, role: str) -> Persona | None:
    """The persona of a role that was kept last."""
    kept = [persona for persona in ledger.find(Persona, role=role) if persona.kept]
    return kept[-1] if kept else None
