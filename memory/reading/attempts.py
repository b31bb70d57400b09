"""Which number an attempt has among those at its task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.kin import some_of
from quintet.memory.schema import events
from quintet.records import Attempt


def numbers(ledger: RunLedger, tasks: Collection[str]) -> dict[str, int]:
    """By attempt at one of these tasks, its number in its round, from 1, in the order recorded."""
    found: list[tuple[int, int, str, str]] = []
    e = events.c
    for some in some_of(tasks):
        chosen = sa.select(e.seq, e.round, e.task, e.id)
        chosen = chosen.where(e.run == ledger.run, e.kind == Attempt.kind, e.task.in_(some))
        # Sorted here: asked to sort, SQLite walks all events in order instead.
        with ledger.ledger.reading() as connection:
            found += [(seq, round, task, id) for seq, round, task, id in connection.execute(chosen)]
    counted: Counter[tuple[int, str]] = Counter()
    numbered = {}
    for _, round, task, id in sorted(found):
        counted[round, task] += 1
        numbered[id] = counted[round, task]
    return numbered
