"""The trainer turns rows, and what roles earned, into adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from quintet.agents.replay import drawn, newest
from quintet.agents.roles import RoundRole
from quintet.agents.self_play import watched
from quintet.agents.settings import TrainerSettings
from quintet.agents.table import Round
from quintet.records import BASE, Adapter, Contrast, Experience, Handover, Record, Reply, Row, digest


@dataclass(frozen=True)
class Materials:
    """Where a training starts, and on what."""

    start: str
    """An adapter, or `BASE`."""
    rows: Sequence[Row] = ()
    experiences: Sequence[Experience] = ()
    contrasts: Sequence[Contrast] = field(default=(), repr=False)
    """What the rows are held against."""
    role: str | None = None
    """Whose adapter it will be; `None`: that of all that have none of their own."""

    @property
    def size(self) -> int:
        """How much there is to learn from."""
        return len(self.rows) + len(self.experiences)


class Trainer(RoundRole):
    """Trains a LoRA adapter on the round's rows, or on all live ones, in a process of its own."""

    builtin: ClassVar[bool] = True
    after: ClassVar[str] = "curator"

    @property
    def settings(self) -> TrainerSettings:
        """The trainer's settings as a role."""
        return self.table.settings.trainer

    async def act(self, round: Round) -> list[Record]:
        """The new adapter; nothing where there are too few rows to learn from."""
        materials = self.materials(round)
        return [] if materials.size < self.settings.least_rows else [await self._trained(round, materials)]

    async def train_roles(self, round: Round) -> AsyncIterator[Record]:
        """A new adapter for each role that has one of its own and learns in this round, and what it speaks under next.

        There is no paired test of a proposer, whose reward moves with the solver's skill. Its adapter is kept unless an
        alarm rings over what it said in this round; then the one that it was continued from is taken up again.
        """
        for role, adapter in round.adapters.items():
            alarms, record = watched(self.table, round.number).alarms, self.table.ledger.get(adapter)
            if alarms and isinstance(record, Adapter):
                yield Handover(
                    round=round.number,
                    role=role,
                    adapter=record.start,
                    before=adapter,
                    dropped=True,
                    reason=alarms[0],
                )
                continue
            materials = self.materials(round, role)
            if materials.size < self.settings.least_rows:
                continue
            async for said in self._continued(round, role, materials):
                yield said

    async def _continued(self, round: Round, role: str, materials: Materials) -> AsyncIterator[Record]:
        from quintet.training.errors import TrainError

        try:
            made = await self._trained(round, materials)
        except TrainError as error:
            # Cut short by the budget, a training is done again on resume; it did not fail.
            self.table.check()
            yield Reply(round=round.number, role=self.name, error=f"training for {role} failed: {error}")
            return
        yield made
        yield Handover(
            round=round.number,
            role=role,
            adapter=made.id,
            before=materials.start,
            reason=f"continued on {materials.size} of its own replies",
        )

    async def _trained(self, round: Round, materials: Materials) -> Adapter:
        from quintet.training.spec import TrainSpec
        from quintet.training.train import train

        table, left = self.table, self.table.seconds_left()
        settings = table.training
        if left is not None:
            settings = settings.model_copy(update={"max_seconds": min(settings.max_seconds, max(left, 1.0))})
        start, rows, contrasts, role = materials.start, materials.rows, materials.contrasts, materials.role
        plan = Adapter(
            round=round.number,
            start=start,
            rows=tuple(row.id for row in rows),
            contrasts=tuple(one.id for one in contrasts),
            experiences=tuple(one.id for one in materials.experiences),
            role=role,
            recipe=table.training.recipe(),
            weights="",
        )
        seed = (table.seed, "train", round.number, *([role] if role else []))
        async with table.make_room():
            result = await train(
                TrainSpec(
                    model=table.base.path,
                    name=table.base.name,
                    revision=table.base.revision,
                    start=None if start == BASE else table.registry.path(start),
                    chat_template=table.base.chat_template,
                    rows=tuple(rows),
                    contrasts=tuple(contrasts),
                    experiences=tuple(materials.experiences),
                    settings=settings,
                    seed=int(digest(seed)[:8], 16),
                    out=table.registry.path(plan.id),
                ),
                lambda progress: table.progress({"event": "step", "stage": "train", **progress.model_dump()}),
            )
        return plan.with_(weights=result.weights, metrics=result.metrics)

    def materials(self, round: Round, role: str | None = None) -> Materials:
        """Where training starts, and on what.

        Continued from the incumbent it takes the rows since that was trained (those of rejected rounds too); begun
        at the base (STaR, arXiv 2203.14465) it takes all rows of the run. Within a budget, the newest win, or those
        that a replay buffer draws; the rows of a trajectory stay together. A role's own adapter is always continued, on
        what it said since it speaks under that.

        Args:
            round: The round that trains.
            role: Whose adapter; `None` for that of all that have none of their own.
        """
        ledger, number = self.table.ledger, round.number
        learning = self.table.settings.self_play.learning(number)
        if role is not None:
            since = max((one.round for one in ledger.find(Handover, role=role) if one.round < number), default=0)
            said = self._experiences([role] if role in learning else [], since, number)
            return Materials(round.adapters[role], experiences=said, role=role)
        start, since = BASE, 0
        if self.table.training.start == "incumbent":
            start = round.incumbent
            incumbent = ledger.get(start)
            since = incumbent.round if isinstance(incumbent, Adapter) else 0
        rows: list[Row] = []
        if "solver" in learning:
            rows = [row for row in ledger.find(Row) if since < row.round <= number]
            if self.settings.replay == "learnability":
                rows = drawn(ledger, rows, self.settings.row_budget, number)
            else:
                rows = newest(rows, self.settings.row_budget)
        shared = [one for one in learning if one not in ("solver", *round.adapters)]
        return Materials(start, rows, self._experiences(shared, since, number), self.contrasts(rows))

    def contrasts(self, rows: Sequence[Row]) -> list[Contrast]:
        """What these rows are held against: attempts at the same task in the same round."""
        tasks = {(row.round, row.task) for row in rows}
        return [one for one in self.table.ledger.find(Contrast) if (one.round, one.task) in tasks]

    def _experiences(self, roles: Sequence[str], since: int, number: int) -> list[Experience]:
        """What these roles earned after one round and up to another, the newest that the row budget holds."""
        found = [one for role in roles for one in self.table.ledger.find(Experience, role=role)]
        return [one for one in found if since < one.round <= number][-self.settings.row_budget :]
