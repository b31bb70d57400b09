"""Counts what became of each source's proposals, round by round, in the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import Field

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.schema import events
from quintet.records import Attempt, Critique, Part, Proposal, Record, Reward, Row, Task

ADDED = ("proposed", "accepted", "agreed", "attempts", "right", "rows")
"""Counts that add up over rounds."""


class SourceCounts(Part):
    """What became of one source's proposals in a round."""

    proposed: int = 0
    accepted: int = 0
    refused: dict[str, int] = Field(default_factory=dict)
    """Refused proposals by reason, the most frequent first."""
    agreed: int = 0
    """Accepted tasks whose truth rests on nothing but the model's agreement with itself."""
    attempts: int = 0
    """First attempts at its tasks."""
    right: int = 0
    """Of these, right ones."""
    rows: int = 0
    """Training rows from its tasks."""
    reward: float | None = None
    """Mean reward of its proposals, where it earns any."""

    @property
    def pass_rate(self) -> float | None:
        """Share of first attempts that were right; `None` before there are any."""
        return self.right / self.attempts if self.attempts else None


def count_sources(ledger: RunLedger, round: int | None = None) -> dict[int, dict[str, SourceCounts]]:
    """The counts by round and source, sources in the order in which they first proposed.

    Args:
        ledger: The run.
        round: This round alone.

    Raises:
        LedgerError: The database failed.
    """
    record = body(ledger.ledger.engine)
    proposals = _of(
        ledger,
        Proposal,
        round,
        origin=record["origin"].as_string(),
        accepted=record["accepted"].as_boolean(),
        reason=record["reason"].as_string(),
    )
    found: dict[tuple[int, str], dict[str, Any]] = {}
    refused: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    p = proposals.c
    by = (p.round, p.origin, p.accepted, sa.case((p.accepted, ""), else_=p.reason).label("why"))
    chosen = sa.select(*by, sa.func.count(), sa.func.min(p.seq).label("first")).group_by(*by)
    for number, source, accepted, reason, count, _ in _read(ledger, chosen.order_by("first")):
        here = found.setdefault((number, source), {"proposed": 0, "accepted": 0})
        here["proposed"] += count
        if accepted:
            here["accepted"] += count
        else:
            refused[number, source][reason] = count
    for key, reasons in refused.items():
        found[key]["refused"] = dict(sorted(reasons.items(), key=lambda one: -one[1]))
    brought = sa.select(p.round, p.origin, p.task).where(p.accepted).distinct()
    for name, numbers in _of_tasks(ledger, round, brought).items():
        for key, value in numbers.items():
            found.setdefault(key, {})[name] = value
    rewards = _of(ledger, Reward, round, about=record["about"].as_string(), value=record["value"].as_float())
    r = rewards.c
    mean = sa.select(p.round, p.origin, sa.func.avg(r.value)).join(rewards, p.id == r.about)
    for number, source, value in _read(ledger, mean.group_by(p.round, p.origin)):
        found[number, source]["reward"] = value
    counted: dict[int, dict[str, SourceCounts]] = {}
    for (number, source), values in found.items():
        counted.setdefault(number, {})[source] = SourceCounts.model_validate(values)
    return dict(sorted(counted.items()))


def in_all(counted: Mapping[int, Mapping[str, SourceCounts]]) -> dict[str, SourceCounts]:
    """The counts by source, over all rounds."""
    by_source: dict[str, list[SourceCounts]] = defaultdict(list)
    for sources in counted.values():
        for source, counts in sources.items():
            by_source[source].append(counts)
    return {source: _sum(counts) for source, counts in by_source.items()}


def _sum(counts: Sequence[SourceCounts]) -> SourceCounts:
    refused: Counter[str] = Counter()
    for one in counts:
        refused.update(one.refused)
    added = {name: sum(getattr(one, name) for one in counts) for name in ADDED}
    rewarded = [one for one in counts if one.reward is not None]
    earned = sum((one.reward or 0.0) * one.accepted for one in rewarded)
    weight = sum(one.accepted for one in rewarded)
    reward = earned / weight if weight else None
    return SourceCounts(**added, refused=dict(refused.most_common()), reward=reward)


def _of_tasks(ledger: RunLedger, round: int | None, brought: sa.Select[Any]) -> dict[str, Counter[tuple[int, str]]]:
    """What came of the tasks that each source brought, by the field's name, then by round and source.

    They meet here: SQLite, asked to join them, reads every attempt for each task.
    """
    record = body(ledger.ledger.engine)
    attempts = _of(ledger, Attempt, round, turn=record["turn"].as_integer())
    critiques = _of(
        ledger, Critique, round, attempt=record["attempt"].as_string(), correct=record["correct"].as_boolean()
    )
    rows, tasks = _of(ledger, Row, round), _of(ledger, Task, None, grounding=record["grounding"].as_string())
    c, first = critiques.c, sa.select(attempts.c.id).where(attempts.c.turn == 0)
    right = sa.func.sum(sa.cast(c.correct, sa.Integer))
    marks = sa.select(c.round, c.task, sa.func.count(), right).where(c.attempt.in_(first)).group_by(c.round, c.task)
    learnt = sa.select(rows.c.round, rows.c.task, sa.func.count()).group_by(rows.c.round, rows.c.task)
    marked = {(number, task): (count, solved) for number, task, count, solved in _read(ledger, marks)}
    taught = {(number, task): count for number, task, count in _read(ledger, learnt)}
    agreed = {id for (id,) in _read(ledger, sa.select(tasks.c.id).where(tasks.c.grounding == "agreement"))}
    found: dict[str, Counter[tuple[int, str]]] = {name: Counter() for name in ("attempts", "right", "rows", "agreed")}
    for number, source, task in _read(ledger, brought):
        count, solved = marked.get((number, task), (0, 0))
        found["attempts"][number, source] += count
        found["right"][number, source] += solved
        found["rows"][number, source] += taught.get((number, task), 0)
        found["agreed"][number, source] += task in agreed
    return found


def _of(ledger: RunLedger, kind: type[Record], round: int | None, **fields: sa.ColumnElement[Any]) -> sa.Subquery:
    """A run's records of a kind as a table, of one round or of all."""
    e = events.c
    named = [field.label(name) for name, field in fields.items()]
    chosen = sa.select(e.round, e.seq, e.task, e.id, *named).where(e.run == ledger.run, e.kind == kind.kind)
    return (chosen if round is None else chosen.where(e.round == round)).subquery()


def _read(ledger: RunLedger, chosen: sa.Select[Any]) -> list[tuple[Any, ...]]:
    with ledger.ledger.reading() as connection:
        return [tuple(row) for row in connection.execute(chosen)]
