"""All that was said about one task, with what it takes to understand it: what was remembered, what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from quintet.memory.events import Event
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.kin import children, events_of, kind_of
from quintet.memory.schema import events
from quintet.memory.views import said
from quintet.records import (
    Adapter,
    Decision,
    Evaluation,
    Lesson,
    Part,
    Proposal,
    Recall,
    Record,
    Reward,
    Row,
    Skill,
    Task,
)


class Memory(Part):
    """A memory that was recalled."""

    id: str
    kind: str
    """`task`, `lesson`, `row` or `skill`."""
    round: int | None
    """The round it was made in; a task's is not its own."""
    question: str
    """Of its task; empty where the run lacks that."""
    text: str
    """What it says: a lesson, a row's completion, or a skill's code."""


class Conversation(Part):
    """A task and all that was said about it."""

    task: Task
    events: tuple[Event, ...]
    """Of the task, in the order in which they were recorded."""
    inventions: tuple[Event, ...]
    """The proposer's calls that it was invented in."""
    evaluations: tuple[Evaluation, ...]
    """Those that asked it, in order."""
    memories: dict[str, Memory]
    """Those that its recalls name, by id."""
    adapters: dict[str, tuple[str, ...]]
    """By row, the adapters that were trained on it."""
    rewards: dict[str, Reward]
    """By proposal, what it earned, where that is known."""
    decisions: dict[str, bool]
    """By those adapters that the gate has decided about, whether it was promoted at last."""


def conversation(ledger: RunLedger, task: Task) -> Conversation:
    """Read it, in a handful of statements however long it is."""
    said = _of_task(ledger, task.id)
    records = [event.record for event in said]
    memories = {item.id for record in records if isinstance(record, Recall) for item in record.items}
    rows = [record.id for record in records if isinstance(record, Row)]
    proposals = [record.id for record in records if isinstance(record, Proposal)]
    came = children(ledger, [task.id, *rows, *proposals])
    earned = ledger.get_many([id for one in proposals for id in _of_kind(came.get(one, []), Reward)])
    adapters = {row: _of_kind(came.get(row, []), Adapter) for row in rows}
    asking = _of_kind(came.get(task.id, []), Evaluation)
    evaluations = ledger.get_many(asking)
    invented = {record.call for record in records if isinstance(record, Proposal) and record.call}
    return Conversation(
        task=task,
        events=tuple(said),
        inventions=tuple(events_of(ledger, invented - {record.id for record in records}).values()),
        evaluations=tuple(found for id in asking if isinstance(found := evaluations.get(id), Evaluation)),
        memories=_memories(ledger, memories),
        adapters=adapters,
        rewards={record.about: record for record in earned.values() if isinstance(record, Reward)},
        decisions={d.candidate: d.promoted for d in ledger.find(Decision) if d.candidate} if rows else {},
    )


def _of_task(ledger: RunLedger, task: str) -> list[Event]:
    chosen = sa.select(events).where(events.c.run == ledger.run, events.c.task == task)
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen).mappings().all()
    # Sorted here: asked to sort, SQLite walks all events in order instead.
    return sorted((Event.model_construct(**row) for row in rows), key=lambda event: event.seq)


def _of_kind(ids: Sequence[str], kind: type[Record]) -> tuple[str, ...]:
    return tuple(id for id in ids if kind_of(id) == kind.kind)


def _memories(ledger: RunLedger, ids: Collection[str]) -> dict[str, Memory]:
    records = ledger.get_many(ids)
    tasks = ledger.get_many({record.task for record in records.values() if isinstance(record, Lesson | Row | Skill)})
    found = {}
    for id, record in records.items():
        task = record if isinstance(record, Task) else tasks.get(getattr(record, "task", ""))
        found[id] = Memory(
            id=id,
            kind=record.kind,
            round=getattr(record, "round", None),
            question=task.question if isinstance(task, Task) else "",
            text=said(record) if isinstance(record, Lesson | Row | Skill) else "",
        )
    return found
