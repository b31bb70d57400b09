"""The trainer turns rows into an adapter."""

from __future__ import annotations

from typing import ClassVar

from quintet.agents.replay import drawn, newest
from quintet.agents.roles import RoundRole
from quintet.agents.settings import TrainerSettings
from quintet.agents.table import Round
from quintet.records import BASE, Adapter, Record, Row, digest


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
        from quintet.training.spec import TrainSpec
        from quintet.training.train import train

        start, rows = self.materials(round)
        if len(rows) < self.settings.least_rows:
            return []
        table, left = self.table, self.table.seconds_left()
        settings = table.training
        if left is not None:
            settings = settings.model_copy(update={"max_seconds": min(settings.max_seconds, max(left, 1.0))})
        plan = Adapter(
            round=round.number,
            start=start,
            rows=tuple(row.id for row in rows),
            recipe=table.training.recipe(),
            weights="",
        )
        result = await train(
            TrainSpec(
                model=table.base.path,
                name=table.base.name,
                revision=table.base.revision,
                start=None if start == BASE else table.registry.path(start),
                chat_template=table.base.chat_template,
                rows=tuple(rows),
                settings=settings,
                seed=int(digest((table.seed, "train", round.number))[:8], 16),
                out=table.registry.path(plan.id),
            ),
            lambda progress: table.progress({"event": "step", "stage": "train", **progress.model_dump()}),
        )
        return [plan.with_(weights=result.weights, metrics=result.metrics)]

    def materials(self, round: Round) -> tuple[str, list[Row]]:
        """Where training starts, and on which rows.

        Continued from the incumbent it takes the rows since that was trained (those of rejected rounds too); begun
        at the base (STaR, arXiv 2203.14465) it takes all rows of the run. Within a budget, the newest win, or those
        that a replay buffer draws; the rows of a trajectory stay together.
        """
        start, since = BASE, 0
        if self.table.training.start == "incumbent":
            start = round.incumbent
            incumbent = self.table.ledger.get(start)
            since = incumbent.round if isinstance(incumbent, Adapter) else 0
        rows = [row for row in self.table.ledger.find(Row) if since < row.round <= round.number]
        if self.settings.replay == "learnability":
            return start, drawn(self.table.ledger, rows, self.settings.row_budget, round.number)
        return start, newest(rows, self.settings.row_budget)
