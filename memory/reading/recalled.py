"""What became of a run's memories, counted in the database: how often each was recalled, and what was retired."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from quintet.memory.entries import RECALLED
from quintet.memory.events import Event
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body, elements
from quintet.memory.schema import events, links
from quintet.records import Lesson, Part, Proposal, Recall, Retirement, Row, Skill, Task


class Remembers(Part):
    """How much a run remembers, by kind."""

    memories: dict[str, int]
    """Retired ones included."""
    retired: dict[str, int]
    """Of these."""
    held: int
    """Evaluation items, which count for novelty only."""
    cells: dict[str, tuple[int, ...]]
    """Families of the tasks that rounds accepted, and the levels of each."""
    rounds: int
    """The latest round that proposed one."""


class Often(Part):
    """A memory that was recalled."""

    id: str
    recalls: int
    distance: float
    """Mean cosine distance to what was asked."""
    roles: dict[str, int]
    """How often, by role."""


class Recalls(Part):
    """What a run's roles recalled."""

    times: int
    """Times a role recalled."""
    memories: int
    """Memories that came back, over all of these."""
    distinct: int
    """Different ones."""
    often: tuple[Often, ...]
    """The most recalled ones, most often first."""


class Use(Part):
    """A time that a memory was recalled."""

    id: str
    """The recall's."""
    seq: int
    round: int
    role: str
    turn: int
    task: str | None
    """What was asked; `None` for what concerns a whole round."""
    distance: float
    query: str


def remembers(ledger: RunLedger) -> Remembers:
    """Count a run's memories without reading them."""
    retired = gone(ledger)
    record = body(ledger.ledger.engine)
    of_run, accepted = events.c.run == ledger.run, record["accepted"].as_boolean()
    cell = (record["family"].as_string(), record["level"].as_integer())
    asked = of_run & (events.c.kind == Proposal.kind) & accepted
    items = of_run & (events.c.kind == Task.kind) & (record["split"].as_string() != "train")
    with ledger.ledger.reading() as connection:
        tasks = connection.scalar(sa.select(sa.func.count(events.c.task.distinct())).where(asked))
        held = connection.scalar(sa.select(sa.func.count()).where(items))
        cells = sorted(tuple(row) for row in connection.execute(sa.select(*cell).where(asked).distinct()))
        rounds = connection.scalar(sa.select(sa.func.max(events.c.round)).where(asked))
    return Remembers(
        memories={Task.kind: int(tasks or 0), **{kind.kind: ledger.count(kind) for kind in (Lesson, Row, Skill)}},
        retired={kind.kind: sum(id.startswith(f"{kind.kind}-") for id in retired) for kind in RECALLED},
        held=int(held or 0),
        cells={name: tuple(level for family, level in cells if family == name) for name, _ in cells},
        rounds=int(rounds or 0),
    )


def recalls(ledger: RunLedger, most: int = 50) -> Recalls:
    """What was recalled, and the `most` recalled memories."""
    item = elements(ledger.ledger.engine, "items")
    id, distance = item.c.value["id"].as_string(), item.c.value["distance"].as_float()
    chosen = (
        sa.select(id, events.c.role, sa.func.count(), sa.func.sum(distance))
        .select_from(events, item)
        .where(events.c.run == ledger.run, events.c.kind == Recall.kind)
        .group_by(id, events.c.role)
    )
    found: dict[str, dict[str, tuple[int, float]]] = {}
    with ledger.ledger.reading() as connection:
        for memory, role, times, far in connection.execute(chosen):
            found.setdefault(memory, {})[role] = (int(times), float(far))
    total = {memory: sum(times for times, _ in roles.values()) for memory, roles in found.items()}
    often = sorted(total, key=lambda memory: (-total[memory], memory))[:most]
    return Recalls(
        times=ledger.count(Recall),
        memories=sum(total.values()),
        distinct=len(total),
        often=tuple(
            Often(
                id=memory,
                recalls=total[memory],
                distance=sum(far for _, far in found[memory].values()) / total[memory],
                roles={role: times for role, (times, _) in sorted(found[memory].items())},
            )
            for memory in often
        ),
    )


def uses(ledger: RunLedger, memory: str, before: int | None = None, limit: int = 50) -> list[Use]:
    """When a memory was recalled, the latest first.

    Args:
        ledger: The run's.
        memory: Its full id.
        before: Only recalls whose `seq` is below this.
        limit: How many at most.
    """
    chosen = sa.select(events.c.seq, events.c.body).where(_recalls_of(ledger, memory))
    if before is not None:
        chosen = chosen.where(events.c.seq < before)
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.order_by(events.c.seq.desc()).limit(limit)).all()
    found = []
    for seq, text in rows:
        recall = Recall.model_validate_json(text)
        [distance] = [item.distance for item in recall.items if item.id == memory][:1] or [0.0]
        known = recall.model_dump(include={"round", "role", "turn", "task", "query"})
        found.append(Use(id=recall.id, seq=seq, distance=distance, **known))
    return found


def times(ledger: RunLedger, memory: str) -> int:
    """How often a memory was recalled."""
    with ledger.ledger.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).where(_recalls_of(ledger, memory))) or 0)


def retirements(ledger: RunLedger, before: int | None = None, limit: int = 50) -> list[Event]:
    """Events of what was retired and restored, the latest first; only those with a `seq` below `before`, if given."""
    chosen = sa.select(events).where(events.c.run == ledger.run, events.c.kind == Retirement.kind)
    if before is not None:
        chosen = chosen.where(events.c.seq < before)
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.order_by(events.c.seq.desc()).limit(limit)).mappings().all()
    return [Event.model_construct(**row) for row in rows]


def gone(ledger: RunLedger) -> frozenset[str]:
    """Ids of the memories that are retired now."""
    record = body(ledger.ledger.engine)
    chosen = sa.select(record["memory"].as_string(), record["retired"].as_boolean()).order_by(events.c.seq)
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.where(events.c.run == ledger.run, events.c.kind == Retirement.kind))
        last = {memory: bool(retired) for memory, retired in rows}
    return frozenset(memory for memory, retired in last.items() if retired)


def _recalls_of(ledger: RunLedger, memory: str) -> Any:
    """A condition on events: they are recalls that brought a memory back."""
    children = sa.select(links.c.child).where(links.c.run == ledger.run, links.c.parent == memory)
    of_kind = (events.c.run == ledger.run) & (events.c.kind == Recall.kind)
    # A recall comes from its task too, which it did not bring back.
    return of_kind & events.c.id.in_(children) & (events.c.task.is_distinct_from(memory))
