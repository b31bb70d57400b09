"""The proposer sets the round's tasks: drawn at the present level, and invented by the model."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from quintet.agents.roles import RoundRole
from quintet.agents.settings import ProposerSettings
from quintet.agents.table import Round
from quintet.records import Proposal, Recall, Recalled, Record, Task, digest
from quintet.tasks.errors import LevelTooNarrow, Ungrounded

SEEDS = 3
"""Tasks shown to the model as seeds of an invention."""


class Proposer(RoundRole):
    """Draws tasks from each family's generator, and asks the model to invent some of its own."""

    builtin: ClassVar[bool] = True
    after: ClassVar[str] = ""
    persona: ClassVar[str] = "You write short exercises."

    @property
    def settings(self) -> ProposerSettings:
        """The proposer's settings."""
        return self.table.settings.proposer

    async def act(self, round: Round) -> list[Record]:
        """All proposals of the round with the tasks that were accepted, each with its reason."""
        now = self._this_round(round)
        asked = {t.canonical for t in self.table.ledger.find(Task) if t.split == "train" and t.id not in now}
        said: list[Record] = []
        for family, level in round.levels.items():
            drawn = await self._draw(round, family, level, asked)
            said += drawn
            asked |= {task.canonical for task in drawn if isinstance(task, Task)}
        if not self.settings.invented:
            return said
        families = [name for name in round.levels if self.table.examiner.families[name].proposal is not None]
        tasks = [record for record in said if isinstance(record, Task)]

        async def seated(family: str) -> list[Record | _Draft]:
            async with self.table.seated():
                return await self._invent(round, family, tasks)

        invented = await asyncio.gather(*(seated(family) for family in families))
        for calls in invented:
            for record in calls:
                said += self._accept(record, asked) if isinstance(record, _Draft) else [record]
        return said

    def _this_round(self, round: Round) -> set[str]:
        """Tasks that an interrupted run of this act has recorded already; they are not the past."""
        proposals = [proposal for proposal in self.table.ledger.find(Proposal) if proposal.task]
        now = {proposal.task for proposal in proposals if proposal.round == round.number}
        return {id for id in now if id} - {proposal.task for proposal in proposals if proposal.round < round.number}

    async def _draw(self, round: Round, family: str, level: int, asked: set[str]) -> list[Record]:
        seed = int(digest((self.table.seed, "draw", round.number, family))[:8], 16)
        draw, wanted = self.table.examiner.draw, self.settings.tasks
        try:
            tasks = await draw(family, level, seed, wanted, "train", asked)
        except LevelTooNarrow as narrow:
            # All that is new, and then questions asked before: a narrow level may be asked twice.
            tasks = await draw(family, level, seed, narrow.found, "train", asked) if narrow.found else []
            new = {task.canonical for task in tasks}
            try:
                tasks += await draw(family, level, seed + 1, wanted - len(tasks), "train", new)
            except LevelTooNarrow as narrower:
                if narrower.found:
                    tasks += await draw(family, level, seed + 1, narrower.found, "train", new)
        said: list[Record] = []
        for number, task in enumerate(tasks):
            reason = "asked again" if task.canonical in asked else "new"
            proposal = Proposal(
                round=round.number,
                origin="drawn",
                number=number,
                family=family,
                level=level,
                task=task.id,
                accepted=True,
                reason=reason,
            )
            said += [task, proposal]
        return said

    async def _invent(self, round: Round, family: str, drawn: list[Task]) -> list[Record | _Draft]:
        """Ask the model for tasks of a family, shown a few that it knows, and ground what it writes."""
        own = [task for task in drawn if task.family == family]
        recalled = []
        if own:
            recalled = await self.table.memory.recall(
                own[0].question, Task, before=round.number, family=family, count=SEEDS
            )
        seeds = [memory for memory, _ in recalled if isinstance(memory, Task)] or own[:SEEDS]
        # One level up is accepted too: what is just beyond reach teaches most.
        schema = self.table.examiner.families[family].proposal_at(round.levels[family] + 1)
        said = await self.call(round, n=self.settings.invented, about=family, reply=schema, family=family, seeds=seeds)
        found: list[Record | _Draft] = []
        if recalled:
            items = tuple(Recalled(id=memory.id, distance=distance) for memory, distance in recalled)
            found.append(
                Recall(
                    round=round.number,
                    role=self.name,
                    query=own[0].question,
                    items=items,
                    sources=tuple(item.id for item in items),
                )
            )
        for number, completion in enumerate(said.completions):
            proposal = Proposal(
                round=round.number,
                origin="invented",
                number=number,
                family=family,
                level=round.levels[family],
                call=said.call,
                content=completion.text,
                accepted=False,
                reason="",
            )
            try:
                task = await self.table.examiner.ground(family, completion.text)
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
            else:
                found.append(_Draft(proposal, task, round.levels[family]))
        return found

    def _accept(self, draft: _Draft, asked: set[str]) -> list[Record]:
        """Accept a grounded invention unless it is held out, known, or too hard as yet."""
        task = draft.task
        reason = ""
        if task.split != "train":
            reason = "held out for evaluation"
        elif task.canonical in asked:
            reason = "duplicate"
        elif task.level > draft.level + 1:
            reason = "too hard as yet"
        if reason:
            # The task itself stays unrecorded: a held-out question must not look like a training task.
            return [draft.proposal.with_(reason=reason, level=task.level)]
        asked.add(task.canonical)
        accepted = draft.proposal.with_(accepted=True, reason="new", level=task.level, task=task.id)
        return [task, accepted]


class _Draft:
    """A grounded invention that is not accepted yet."""

    def __init__(self, proposal: Proposal, task: Task, level: int) -> None:
        self.proposal, self.task, self.level = proposal, task, level
