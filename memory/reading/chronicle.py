"""A run's events page by page, in the order recorded, and of these only what is asked for."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from quintet.memory.ledger import Event, RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.schema import events, links
from quintet.records import KINDS, Part

PLAYED = {
    "proposal": "proposer",
    "curriculum": "proposer",
    "attempt": "solver",
    "transition": "solver",
    "critique": "critic",
    "lesson": "critic",
    "selection": "curator",
    "row": "curator",
    "contrast": "curator",
    "adapter": "trainer",
    "evaluation": "evaluation",
    "decision": "evaluation",
    "rollback": "evaluation",
    "opening": "evaluation",
    "verification": "evaluation",
}
"""The role that makes records of a kind, where these do not name it."""

SAYS = {
    "task": ("question",),
    "proposal": ("content", "reason"),
    "recall": ("query",),
    "attempt": ("text",),
    "transition": ("action", "observation", "error"),
    "critique": ("feedback", "error"),
    "reply": ("content", "error"),
    "lesson": ("text",),
    "skill": ("name", "about", "code"),
    "persona": ("text", "reason"),
    "reward": ("reason",),
    "allocation": ("reason",),
    "retirement": ("reason",),
    "selection": ("reason",),
    "row": ("completion",),
    "contrast": ("completion",),
    "decision": ("reason",),
    "rollback": ("reason",),
    "curriculum": ("reason",),
    "stage": ("name",),
    "call": ("error",),
}
"""The fields in which a search looks for words, by kind. What a call said is found in the attempt, the critique or the
lesson that it became: calls themselves are long."""

ID = re.compile(r"([a-z]+)-[0-9a-f]*")
"""What begins as an id does."""


class Wanted(Part):
    """Which events are asked for; what is empty or `None` admits all."""

    kind: str = ""
    role: str = ""
    """By the role that is named in the record, or that makes records of its kind."""
    round: int | None = None
    text: str = ""
    """The beginning of an id, or words in what a record says, in any case."""
    came_of: str = ""
    """Only what came of the record with this id."""
    led_to: str = ""
    """Only what the record with this id came from."""


class Choices(Part):
    """What a run's events can be asked for by."""

    kinds: dict[str, int]
    """Kinds and how many records of each there are."""
    roles: tuple[str, ...]
    rounds: tuple[int, ...]


def choices(ledger: RunLedger) -> Choices:
    """The kinds, roles and rounds that a run has."""
    e, of_run = events.c, events.c.run == ledger.run
    # Of these kinds only: they name a role, and there are not so many.
    naming = e.kind.in_(["call", "recall", "reply"])
    with ledger.ledger.reading() as connection:
        counted = connection.execute(sa.select(e.kind, sa.func.count()).where(of_run).group_by(e.kind))
        kinds = {str(kind): int(number) for kind, number in counted}
        named = set(connection.execute(sa.select(e.role).where(of_run, naming).distinct()).scalars())
        rounds: set[int] = set()
        for kind in kinds:
            chosen = sa.select(e.round).where(of_run, e.kind == kind, e.round.is_not(None)).distinct()
            rounds.update(connection.execute(chosen).scalars())
    roles = {role for role in named if role} | {PLAYED[kind] for kind in kinds if kind in PLAYED}
    order = list(dict.fromkeys(PLAYED.values()))
    return Choices(
        kinds=kinds,
        roles=tuple(sorted(roles, key=lambda role: (order.index(role) if role in order else len(order), role))),
        rounds=tuple(sorted(rounds)),
    )


def told(
    ledger: RunLedger, wanted: Wanted, *, after: int | None = None, before: int | None = None, limit: int = 100
) -> list[Event]:
    """A page of events.

    Args:
        ledger: The run's.
        wanted: Which ones.
        after: Only events with a `seq` above this.
        before: Only events with a `seq` below this; the latest come first then.
        limit: How many at most.
    """
    chosen = sa.select(events).where(*_conditions(ledger, wanted))
    if after is not None:
        chosen = chosen.where(events.c.seq > after)
    if before is not None:
        chosen = chosen.where(events.c.seq < before)
    order = events.c.seq if before is None else events.c.seq.desc()
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.order_by(order).limit(limit)).mappings().all()
    return [Event.model_construct(**row) for row in rows]


def count(ledger: RunLedger, wanted: Wanted) -> int:
    """How many events there are of what is asked for."""
    with ledger.ledger.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).where(*_conditions(ledger, wanted))) or 0)


def _conditions(ledger: RunLedger, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    e = events.c
    found: list[sa.ColumnElement[bool]] = [e.run == ledger.run]
    if wanted.kind:
        found.append(e.kind == wanted.kind)
    if wanted.role:
        found.append(
            sa.or_(e.role == wanted.role, e.kind.in_([k for k, role in PLAYED.items() if role == wanted.role]))
        )
    if wanted.round is not None:
        found.append(e.round == wanted.round)
    if wanted.text:
        found.append(_mentions(ledger, wanted.text))
    if wanted.came_of:
        found.append(e.id.in_(_linked(ledger, links.c.child, links.c.parent == wanted.came_of)))
    if wanted.led_to:
        found.append(e.id.in_(_linked(ledger, links.c.parent, links.c.child == wanted.led_to)))
    return found


def _mentions(ledger: RunLedger, text: str) -> sa.ColumnElement[bool]:
    if (id := ID.fullmatch(text)) and id[1] in KINDS:
        return (events.c.id >= text) & (events.c.id < text + "\U0010ffff")
    record = body(ledger.ledger.engine)

    def words(fields: tuple[str, ...]) -> sa.ColumnElement[bool]:
        return sa.or_(*(record[name].as_string().icontains(text, autoescape=True) for name in fields))

    # One kind after the other: no other's JSON is read.
    return sa.case(*((events.c.kind == kind, words(fields)) for kind, fields in SAYS.items()), else_=sa.false())


def _linked(ledger: RunLedger, wanted: sa.ColumnElement[Any], of: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(wanted).where(links.c.run == ledger.run, of)
