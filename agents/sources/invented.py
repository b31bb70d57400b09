"""Typed tasks that the model invents after a few that it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from quintet.agents.sources.bench import Bench
from quintet.agents.sources.port import Draft, Source
from quintet.agents.table import Round
from quintet.records import Record
from quintet.tasks.errors import Ungrounded

if TYPE_CHECKING:
    from quintet.agents.settings import ProposerSettings

SEEDS = 3
"""Tasks shown to the model as seeds of an invention."""


class Invented(Source):
    """Has the model invent typed tasks (an expression, say), whose answers an executor computes."""

    name: ClassVar[str] = "invented"
    method: ClassVar[str] = "synthetic, prompt-based"
    vital: ClassVar[bool] = True

    def number(self, settings: ProposerSettings) -> int:
        """As `proposer.invented` says."""
        return settings.invented

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """Ask the model for tasks of a family, shown a few that it knows, and ground what it writes."""
        own = [task for task in bench.tasks if task.family == family]
        tasks, recall = await bench.recalled(own[0].question, family, SEEDS) if own else ([], None)
        # One level up is accepted too: what is just beyond reach teaches most.
        schema = bench.table.examiner.families[family].proposal_at(level + 1)
        seeds = tasks or own[:SEEDS]
        said = await bench.proposer.call(round, n=wanted, about=family, reply=schema, family=family, seeds=seeds)
        found: list[Record | Draft] = [recall] if recall else []
        for number, completion in enumerate(said.completions):
            proposal = bench.proposal(self, number, family, level, call=said.call, content=completion.text)
            try:
                found.append(Draft(proposal, await bench.ground(family, completion.text), level))
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
        return found
