"""Counts what a run recorded, round by round, in the database: a long run's records are too many to be read for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa
from pydantic import Field

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.reading.sourcing import SourceCounts, count_sources
from quintet.memory.schema import events
from quintet.records import Adapter, Attempt, Critique, Part, Proposal, Recall, Record, Reply, Row, Selection


class Tried(Part):
    """How many tasks were solved so often at first attempt."""

    samples: int
    """First attempts at each."""
    right: int
    """Of these, right ones."""
    tasks: int


class RoundCounts(Part):
    """What the roles did in a round."""

    tasks: int = 0
    """Different tasks among the accepted proposals."""
    drawn: int = 0
    """Accepted proposals that a family's generator drew."""
    invented: int = 0
    """Accepted proposals that the model invented."""
    refused: dict[str, int] = Field(default_factory=dict)
    """Refused proposals by reason, the most frequent first."""
    sources: dict[str, SourceCounts] = Field(default_factory=dict)
    """What became of the proposals of each source, in the order in which the sources were asked."""
    levels: dict[str, int] = Field(default_factory=dict)
    """Level by family, of what was drawn."""
    attempts: int = 0
    right: int = 0
    """Attempts that the verifier accepts."""
    tried: tuple[Tried, ...] = ()
    """First attempts, task by task."""
    revised: int = 0
    """Attempts that revise a failed one."""
    rescued: int = 0
    """Of these, right ones."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Attempts not learnt from by reason, the most frequent first."""
    rows: int = 0
    recalls: int = 0
    """Times a role recalled from memory."""
    memories: int = 0
    """Memories recalled in all."""
    said: dict[str, int] = Field(default_factory=dict)
    """Replies of joined roles, by role, in the order in which they first spoke."""
    lost: dict[str, int] = Field(default_factory=dict)
    """Replies that were lost, by role."""
    adapter: str | None = None
    """The last one trained, those of single roles left out."""


def count_rounds(ledger: RunLedger) -> dict[int, RoundCounts]:
    """The counts of each round in which something was proposed, in order.

    Raises:
        LedgerError: The database failed.
    """
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    _proposals(ledger, found)
    rounds = sorted(found)
    for kind, name in ((Attempt, "attempts"), (Row, "rows")):
        for round, number in _grouped(ledger, _of(ledger, kind), sa.func.count()):
            found[round][name] = number
    _judgements(ledger, found)
    _reasons(ledger, found, Selection, "chosen", "left_out")
    recalls = _of(ledger, Recall, items=body(ledger.ledger.engine)["items"])
    for round, times, memories in _grouped(
        ledger, recalls, sa.func.count(), sa.func.sum(sa.func.json_array_length(recalls.c["items"]))
    ):
        found[round] |= {"recalls": times, "memories": memories}
    _replies(ledger, found)
    for round, sources in count_sources(ledger).items():
        found[round]["sources"] = sources
    adapters = _of(ledger, Adapter, role=events.c.role)
    c = adapters.c
    for round, _, id in _read(ledger, sa.select(c.round, c.seq, c.id).where(c.role.is_(None)).order_by("seq")):
        found[round]["adapter"] = id
    return {round: RoundCounts.model_validate(found[round]) for round in rounds}


def count_tried(ledger: RunLedger, round: int) -> tuple[int, int]:
    """How many tasks of a round were attempted so far, and how many were proposed for it."""
    attempts, proposals = (_of(ledger, kind) for kind in (Attempt, Proposal))
    found = []
    for table in (attempts, proposals):
        number = sa.func.count(sa.distinct(table.c.task))
        found += _read(ledger, sa.select(number).where(table.c.round == round))
    return found[0][0], found[1][0]


def _proposals(ledger: RunLedger, found: dict[int, dict[str, Any]]) -> None:
    record = body(ledger.ledger.engine)
    origin = record["origin"].as_string()
    proposals = _of(ledger, Proposal, origin=origin, accepted=record["accepted"].as_boolean())
    by = (proposals.c.origin, proposals.c.accepted)
    for round, how, accepted, number in _grouped(ledger, proposals, sa.func.count(), by=by):
        found[round] |= {how: number} if accepted and how in ("drawn", "invented") else {}
    tasks = sa.func.count(sa.distinct(sa.case((proposals.c.accepted, proposals.c.task))))
    for round, number in _grouped(ledger, proposals, tasks):
        found[round]["tasks"] = number
    _reasons(ledger, found, Proposal, "accepted", "refused")
    family, level = record["family"].as_string(), record["level"].as_integer()
    drawn = _of(ledger, Proposal, origin=origin, family=family, level=level)
    by, c = (drawn.c.family, drawn.c.level), drawn.c
    groups = _grouped(ledger, drawn, sa.func.min(c.seq), sa.func.max(c.seq), by=by, where=c.origin == "drawn")
    # Families in the order in which they came, each with its last level.
    for round, name, _, _, _ in sorted(groups, key=lambda group: group[3]):
        found[round].setdefault("levels", {})[name] = None
    for round, name, last, _, _ in sorted(groups, key=lambda group: group[4]):
        found[round]["levels"][name] = last


def _judgements(ledger: RunLedger, found: dict[int, dict[str, Any]]) -> None:
    record = body(ledger.ledger.engine)
    attempts = _of(ledger, Attempt, revises=record["revises"].as_string())
    revising = sa.func.coalesce(attempts.c.revises, "") != ""
    for round, number in _grouped(ledger, attempts, sa.func.count(), where=revising):
        found[round]["revised"] = number
    of_attempt, correct = record["attempt"].as_string(), record["correct"].as_boolean()
    critiques = _of(ledger, Critique, attempt=of_attempt, correct=correct)
    revision = critiques.c.attempt.in_(sa.select(attempts.c.id).where(revising))
    # Each field is asked for once: SQLite reads a record's JSON anew wherever one is named.
    turns = sa.select(
        critiques.c.round,
        sa.case((revision, 1), else_=0).label("revision"),
        sa.func.count().label("samples"),
        sa.func.sum(sa.cast(critiques.c.correct, sa.Integer)).label("right"),
    )
    tasks = turns.group_by(critiques.c.round, critiques.c.task, sa.literal_column("revision")).subquery()
    by = (tasks.c.revision, tasks.c.samples, tasks.c.right)
    for round, revised, samples, right, number in sorted(_grouped(ledger, tasks, sa.func.count(), by=by)):
        here = found[round]
        here["right"] = here.get("right", 0) + right * number
        if revised:
            here["rescued"] = here.get("rescued", 0) + right * number
        else:
            here["tried"] = (*here.get("tried", ()), Tried(samples=samples, right=right, tasks=number))


def _reasons(ledger: RunLedger, found: dict[int, dict[str, Any]], kind: type[Record], passed: str, name: str) -> None:
    """How many records of a kind did not pass, by reason; among equally many, what came first comes first."""
    record = body(ledger.ledger.engine)
    records = _of(ledger, kind, passed=record[passed].as_boolean(), reason=record["reason"].as_string())
    c = records.c
    groups = _grouped(ledger, records, sa.func.count(), sa.func.min(c.seq), by=(c.reason,), where=~c.passed)
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    for round, reason, number, _ in sorted(groups, key=lambda group: group[3]):
        counted[round][reason] += number
    for round, reasons in counted.items():
        found[round][name] = dict(reasons.most_common())


def _replies(ledger: RunLedger, found: dict[int, dict[str, Any]]) -> None:
    lost = sa.case((body(ledger.ledger.engine)["error"].as_string().is_(None), 0), else_=1)
    replies = _of(ledger, Reply, role=events.c.role, lost=lost)
    groups = _grouped(ledger, replies, sa.func.count(), sa.func.min(replies.c.seq), by=(replies.c.role, replies.c.lost))
    for round, role, failed, number, _ in sorted(groups, key=lambda group: group[4]):
        found[round].setdefault("lost" if failed else "said", {})[role] = number


def _of(ledger: RunLedger, kind: type[Record], **fields: sa.ColumnElement[Any]) -> sa.Subquery:
    """A run's records of a kind, as a table; named there, Postgres knows a field again that is grouped by."""
    e = events.c
    named = [field.label(name) for name, field in fields.items()]
    return sa.select(e.round, e.seq, e.task, e.id, *named).where(e.run == ledger.run, e.kind == kind.kind).subquery()


def _grouped(
    ledger: RunLedger,
    table: sa.Subquery,
    *what: sa.ColumnElement[Any],
    by: tuple[sa.ColumnElement[Any], ...] = (),
    where: sa.ColumnElement[bool] | None = None,
) -> list[tuple[Any, ...]]:
    """Aggregates of a table by round, and by more: rows of the round, what else it was grouped by, and these."""
    chosen = sa.select(table.c.round, *by, *what).group_by(table.c.round, *by)
    return _read(ledger, chosen if where is None else chosen.where(where))


def _read(ledger: RunLedger, chosen: sa.Select[Any]) -> list[tuple[Any, ...]]:
    with ledger.ledger.reading() as connection:
        return [tuple(row) for row in connection.execute(chosen)]
