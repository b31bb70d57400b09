"""All that a run recorded, a round and a few tasks at a time: for whoever reads the whole of it, and holds little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from quintet.memory.ledger import Event, RunLedger
from quintet.memory.schema import events
from quintet.records import Task

TASKS_AT_ONCE = 100
"""Tasks whose events are read in one statement."""


def rounds(ledger: RunLedger) -> dict[int, int]:
    """How many events each round has, by round; 0 is what a user asked beside the run."""
    e = events.c
    chosen = sa.select(e.round, sa.func.count()).where(e.run == ledger.run, e.round.is_not(None))
    with ledger.ledger.reading() as connection:
        return dict(tuple(row) for row in connection.execute(chosen.group_by(e.round).order_by(e.round)))


def of_round(ledger: RunLedger, round: int) -> list[Event]:
    """The events of a round that are about no task, in the order recorded."""
    e = events.c
    chosen = sa.select(events).where(e.run == ledger.run, e.round == round, e.task.is_(None))
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.order_by(e.seq)).mappings().all()
    return [Event.model_construct(**row) for row in rows]


def episodes(ledger: RunLedger, round: int) -> Iterator[tuple[Task, list[Event]]]:
    """The events of a round about each task, in the order recorded; the tasks in the order in which they come up."""
    e = events.c
    first = sa.func.min(e.seq)
    chosen = sa.select(e.task).where(e.run == ledger.run, e.round == round, e.task.is_not(None))
    with ledger.ledger.reading() as connection:
        tasks = list(connection.execute(chosen.group_by(e.task).order_by(first)).scalars())
    for at in range(0, len(tasks), TASKS_AT_ONCE):
        some = tasks[at : at + TASKS_AT_ONCE]
        # Without the round, which SQLite would look up through an index that knows no task.
        chosen = sa.select(events).where(e.run == ledger.run, e.task.in_(some))
        with ledger.ledger.reading() as connection:
            rows = connection.execute(chosen).mappings().all()
        found: dict[str, list[Event]] = {task: [] for task in some}
        for event in sorted((Event.model_construct(**row) for row in rows), key=lambda event: event.seq):
            if event.task is not None and event.round == round:
                found[event.task].append(event)
        known = ledger.get_many(some)
        yield from ((task, found[id]) for id in some if isinstance(task := known.get(id), Task))


def ids_about(ledger: RunLedger, tasks: Sequence[str]) -> set[str]:
    """Ids of the tasks and of all records about them."""
    e, found = events.c, set(tasks)
    for at in range(0, len(tasks), TASKS_AT_ONCE):
        chosen = sa.select(e.id).where(e.run == ledger.run, e.task.in_(tasks[at : at + TASKS_AT_ONCE]))
        with ledger.ledger.reading() as connection:
            found.update(connection.execute(chosen).scalars())
    return found
