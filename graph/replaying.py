"""A run made again from its recorded model calls, with other settings, and what would have been decided otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from quintet.graph.errors import LoopError
from quintet.graph.loop import Loop
from quintet.graph.report import RoundReport, View, report
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.schema import events
from quintet.memory.workspace import Workspace
from quintet.records import Call


class Decided(View):
    """What came of a round, in one of the two runs."""

    decision: str
    reason: str
    rows: int
    adapter: str | None
    effect: float


class Otherwise(View):
    """A round in both runs."""

    round: int
    before: Decided | None
    """In the run that is replayed; `None` where it has no such round."""
    now: Decided | None
    differs: bool


class Replayed(View):
    """A replay, held against the run that it replays."""

    run: str
    replays: str
    answered: int
    """Model calls that the recorded ones answered."""
    asked: int
    """Model calls that had to be made."""
    rounds: list[Otherwise]
    final_before: float | None
    """Effect on the final suite; `None` where that was not opened."""
    final_now: float | None

    def text(self) -> str:
        """For people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.run} replays {self.replays}: {self.answered:,} model calls from its record, {self.asked:,} made"
        for one in self.rounds:
            if not one.differs:
                yield f"round {one.round}: the same, {one.now.decision if one.now else 'none'}"
                continue
            yield f"round {one.round}: otherwise"
            for name, side in (("before", one.before), ("now", one.now)):
                yield f"  {name + ':':<7} {_said(side)}"
        if self.final_before is not None and self.final_now is not None:
            yield f"final suite: {100 * self.final_before:+.1f} points before, {100 * self.final_now:+.1f} now"


def replay(workspace: Path, run: str | None, changes: Sequence[str]) -> Loop:
    """The loop of a new run with another's settings, changes made, which asks a model only what that one did not.

    Waves are answered whole: where one request of a wave is new, all of it is asked.

    Args:
        workspace: Where the run lies.
        run: Its name; the newest if `None`.
        changes: As given to `--set`.

    Raises:
        LedgerError: There is no such run.
        LoopError: Roles joined it from a script, which a name cannot bring back.
        SettingsError: A change does not fit.
    """
    with Workspace.existing(workspace).ledger() as ledgers:
        info = ledgers.run(run).info
    if taken := [change for change in changes if change.partition("=")[0].strip() in ("seed", "replays")]:
        raise LoopError(f"--set {taken[0]}: with another seed nothing is asked as it was; begin a run instead")
    settings = Settings.of_run(info.settings, changes)
    settings = settings.model_copy(update={"name": f"{info.run}-replay", "replays": info.run})
    loop = Loop(settings, workspace=workspace)
    joined = sorted(role.name for role in loop.roles if role.joined)
    if lacking := sorted(set(info.settings.get("joined", [])) - set(joined)):
        raise LoopError(
            f"run {info.run} began with the role {lacking[0]}, which a script brought: replay it from there"
        )
    return loop


def held_against(workspace: Path, run: str) -> Replayed:
    """What a replay came to beside the run that it replays.

    Raises:
        LedgerError: There is no such run.
    """
    place = Workspace.existing(workspace)
    with place.ledger() as ledgers:
        new = ledgers.run(run)
        old = ledgers.run(new.info.settings["replays"])
        before, now = report(old, place), report(new, place)
        answered, asked = _calls(new, old)
    olds, news = ({one.round: one for one in side.rounds} for side in (before, now))
    rounds = []
    for number in sorted({*olds, *news}):
        was, became = _decided(olds.get(number)), _decided(news.get(number))
        rounds.append(Otherwise(round=number, before=was, now=became, differs=was != became))
    return Replayed(
        run=new.run,
        replays=old.run,
        answered=answered,
        asked=asked,
        rounds=rounds,
        final_before=before.final.effect if before.final else None,
        final_now=now.final.effect if now.final else None,
    )


def _calls(new: RunLedger, old: RunLedger) -> tuple[int, int]:
    """How many of a run's calls stand in the other too, and how many do not."""
    known = sa.select(events.c.id).where(events.c.run == old.run, events.c.kind == Call.kind)
    shared = sa.func.sum(sa.case((events.c.id.in_(known), 1), else_=0))
    chosen = sa.select(shared, sa.func.count()).where(events.c.run == new.run, events.c.kind == Call.kind)
    with new.ledger.reading() as connection:
        both, total = connection.execute(chosen).one()
    return int(both or 0), int(total) - int(both or 0)


def _decided(round: RoundReport | None) -> Decided | None:
    if round is None:
        return None
    return Decided(
        decision=round.decision, reason=round.reason, rows=round.rows, adapter=round.adapter, effect=round.effect
    )


def _said(side: Decided | None) -> str:
    if side is None:
        return "no such round"
    return f"{side.rows} rows, {side.reason}"
