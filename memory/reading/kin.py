"""The parents and children of many records at once, as the ledger links them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice

import sqlalchemy as sa

from quintet.memory.ledger import AT_ONCE, Event, RunLedger
from quintet.memory.schema import events, links


def parents(ledger: RunLedger, ids: Collection[str]) -> dict[str, list[str]]:
    """By record, the ids that it came from, in the order it names them; a record without any is left out."""
    found: dict[str, list[str]] = {}
    for some in some_of(ids):
        chosen = sa.select(links.c.child, links.c.parent).where(links.c.run == ledger.run, links.c.child.in_(some))
        with ledger.ledger.reading() as connection:
            for child, parent in connection.execute(chosen.order_by(links.c.child, links.c.place)):
                found.setdefault(child, []).append(parent)
    return found


def children(ledger: RunLedger, ids: Collection[str]) -> dict[str, list[str]]:
    """By record, the ids of what came of it, in the order recorded; a record without any is left out."""
    found: dict[str, list[tuple[int, str]]] = {}
    joined = links.join(events, (events.c.id == links.c.child) & (events.c.run == links.c.run))
    for some in some_of(ids):
        chosen = sa.select(links.c.parent, events.c.seq, links.c.child).select_from(joined)
        chosen = chosen.where(links.c.run == ledger.run, links.c.parent.in_(some))
        # Sorted here: asked to sort, SQLite walks all events in order instead.
        with ledger.ledger.reading() as connection:
            for parent, seq, child in connection.execute(chosen):
                found.setdefault(parent, []).append((seq, child))
    return {parent: [child for _, child in sorted(named)] for parent, named in found.items()}


def events_of(ledger: RunLedger, ids: Collection[str]) -> dict[str, Event]:
    """The events of these records, those the run holds, by id."""
    found: dict[str, Event] = {}
    for some in some_of(ids):
        chosen = sa.select(events).where(events.c.run == ledger.run, events.c.id.in_(some))
        with ledger.ledger.reading() as connection:
            rows = connection.execute(chosen).mappings().all()
        found.update((row["id"], Event.model_construct(**row)) for row in rows)
    return found


def kind_of(id: str) -> str:
    """The kind that an id names."""
    return id.partition("-")[0]


def by_kind(ids: Collection[str]) -> dict[str, int]:
    """How many ids there are of each kind, in the order in which the kinds first come."""
    return dict(Counter(kind_of(id) for id in ids))


def some_of(ids: Collection[str]) -> Iterator[list[str]]:
    """The ids, as many at a time as a statement admits."""
    rest = iter(dict.fromkeys(ids))
    while some := list(islice(rest, AT_ONCE)):
        yield some
