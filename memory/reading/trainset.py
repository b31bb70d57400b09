"""The training set as a reader meets it: which attempts became rows and what came of them, and which did not, and why.

Everything is asked for a page at a time; conditions and counts are the database's work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.attempts import numbers
from quintet.memory.reading.bodies import body
from quintet.memory.reading.kin import children, kind_of
from quintet.memory.schema import events, links
from quintet.records import (
    Attempt,
    Contrast,
    Critique,
    Decision,
    Part,
    Record,
    Rescore,
    Rollback,
    Row,
    Selection,
    Task,
)

R = TypeVar("R", bound=Record)

_CHOICE, _TASK, _ATTEMPT = (events.alias(name) for name in ("choice", "task", "attempt"))

MESSAGES = 6
"""Messages of a prompt that are searched for words."""

ANY = "*"
"""Stands for every reason for which attempts are left out."""


class Sought(Part):
    """Which rows, or which attempts that were left out; what is empty or `None` admits all."""

    round: int | None = None
    family: str = ""
    adapter: str = ""
    """Only rows that this adapter was trained on."""
    text: str = ""
    """Words of prompt or completion, in any case."""
    reason: str = ""
    """Not rows, but the attempts left out for this reason; `ANY`: for any."""


class Fate(Part):
    """What came of an adapter."""

    adapter: str
    decision: Decision | None = None
    """The gate's, if it has decided."""
    taken_back: bool = False
    """Whether it was promoted and later rolled back."""


class Choice(Part):
    """An attempt that the curator chose or left out, with what there is to know about it."""

    seq: int
    """Of the row, or of the selection; 0 where it was not asked for."""
    row: Row | None = None
    """The row that it became."""
    contrast: Contrast | None = None
    """What it became instead: rows of its task are held against it."""
    selection: Selection | None = None
    attempt: Attempt | None = None
    number: int | None = None
    """The attempt's, among those at its task in its round."""
    critique: Critique | None = None
    task: Task | None = None
    """Each `None` where the run lacks it."""
    fates: tuple[Fate, ...] = ()
    """The adapters trained on the row, or against the attempt, in order."""
    rescores: tuple[Rescore, ...] = ()
    """The row's scores under later adapters, in order."""


class Counts(Part):
    """How many attempts became rows, and how many did not."""

    rows: int
    rounds: dict[int, int]
    """Rows by round."""
    families: dict[str, int]
    """Rows by family."""
    left_out: dict[str, int]
    """Attempts left out, by reason, the most frequent first."""


def choices(ledger: RunLedger, sought: Sought, after: int = 0, limit: int = 50) -> list[Choice]:
    """A page of rows, or of attempts left out, in the order recorded.

    Args:
        ledger: The run's.
        sought: Which ones.
        after: Only those with a `seq` above this.
        limit: How many at most.
    """
    chosen = _select(ledger, sought, _CHOICE.c.seq, _CHOICE.c.id).where(_CHOICE.c.seq > after)
    with ledger.ledger.reading() as connection:
        found = connection.execute(chosen.order_by(_CHOICE.c.seq).limit(limit)).all()
    return chosen_of(ledger, [(int(seq), str(id)) for seq, id in found])


def chosen_of(ledger: RunLedger, found: Sequence[tuple[int, str]]) -> list[Choice]:
    """Rows and selections with what there is to know about them, from their `seq` and id."""
    known = ledger.get_many([id for _, id in found])
    known |= ledger.get_many([record.selection for record in known.values() if isinstance(record, Row)])
    about = [record for record in known.values() if isinstance(record, Row | Selection)]
    known |= ledger.get_many({id for one in about for id in (one.attempt, one.task)})
    judged = _critiques(ledger, {one.attempt for one in about})
    rows = [id for _, id in found if kind_of(id) == Row.kind]
    numbered = numbers(ledger, {one.task for one in about})
    against = _contrasts(ledger, {one.attempt for one in about})
    fate, anew = fates(ledger, [*rows, *(one.id for one in against.values())]), _rescores(ledger, rows)
    listed = []
    for seq, id in found:
        row = _as(known.get(id), Row)
        selection = _as(known.get(row.selection if row else id), Selection)
        if (of := row or selection) is None:
            continue
        contrast = None if row else against.get(of.attempt)
        listed.append(
            Choice(
                seq=seq,
                row=row,
                contrast=contrast,
                selection=selection,
                attempt=_as(known.get(of.attempt), Attempt),
                number=numbered.get(of.attempt),
                critique=judged.get(of.attempt),
                task=_as(known.get(of.task), Task),
                fates=tuple(fate.get(contrast.id if contrast else id, ())),
                rescores=tuple(anew.get(id, ())),
            )
        )
    return listed


def choice_of(ledger: RunLedger, id: str) -> Choice | None:
    """The choice that a row, contrast, selection or attempt stands for; `None` if the curator has not made it."""
    if kind_of(id) == Contrast.kind and isinstance(contrast := ledger.get(id), Contrast):
        id = contrast.attempt
    came = children(ledger, [id]).get(id, [])
    found = [id] if kind_of(id) == Row.kind else _of_kind(came, Row.kind)
    found = found or ([id] if kind_of(id) == Selection.kind else _of_kind(came, Selection.kind))
    return chosen_of(ledger, [(0, found[-1])])[0] if found else None


def fates(ledger: RunLedger, rows: Collection[str]) -> dict[str, list[Fate]]:
    """By row or contrast, what came of the adapters trained on it; one without any is left out."""
    trained = {row: _of_kind(came, "adapter") for row, came in children(ledger, rows).items()}
    known = fates_of(ledger, {adapter for adapters in trained.values() for adapter in adapters})
    return {row: [known[adapter] for adapter in adapters] for row, adapters in trained.items() if adapters}


def fates_of(ledger: RunLedger, adapters: Collection[str]) -> dict[str, Fate]:
    """By adapter, what came of it."""
    if not adapters:
        return {}
    # Few: one a round.
    decided = {one.candidate: one for one in ledger.find(Decision) if one.candidate}
    retired = {adapter for one in ledger.find(Rollback) for adapter in one.retired}
    return {id: Fate(adapter=id, decision=decided.get(id), taken_back=id in retired) for id in adapters}


def counts(ledger: RunLedger, round: int | None = None, family: str = "") -> Counts:
    """How many rows there are, and how many attempts were left out for which reasons, in a round, of a family.

    By round all rounds are counted, by family all families.
    """
    engine = ledger.ledger.engine
    # Tables of their own: Postgres then knows again what it groups by.
    named = body(engine, _TASK)["family"].as_string().label("family")
    rows = _select(ledger, Sought(), _CHOICE.c.round, named, tasks=True).subquery()
    reason = body(engine, _CHOICE)["reason"].as_string().label("reason")
    refused = _select(ledger, Sought(round=round, family=family, reason=ANY), reason, _CHOICE.c.seq).subquery()
    number, first = sa.func.count().label("number"), sa.func.min(refused.c.seq)
    by_reason = sa.select(refused.c.reason, number).group_by(refused.c.reason).order_by(number.desc(), first)
    by_cell = sa.select(rows.c.round, rows.c.family, number).group_by(rows.c.round, rows.c.family)
    with ledger.ledger.reading() as connection:
        cells = [(int(at), str(of), int(n)) for at, of, n in connection.execute(by_cell.order_by("round", "family"))]
        left_out = {str(why): int(n) for why, n in connection.execute(by_reason)}
    rounds, families = Counter[int](), Counter[str]()
    for at, of, n in cells:
        rounds[at] += n if family in ("", of) else 0
        families[of] += n if round in (None, at) else 0
    return Counts(
        rows=sum(n for at, of, n in cells if round in (None, at) and family in ("", of)),
        rounds={at: n for at, n in rounds.items() if n},
        families={of: n for of, n in families.items() if n},
        left_out=left_out,
    )


def asked(ledger: RunLedger) -> tuple[list[int], list[str]]:
    """The rounds in which the curator chose, and the families that tasks for training are of."""
    t, task = _TASK.c, body(ledger.ledger.engine, _TASK)
    e = events.c
    rounds = sa.select(e.round).where(e.run == ledger.run, e.kind == Selection.kind).distinct()
    families = sa.select(task["family"].as_string()).where(
        t.run == ledger.run, t.kind == Task.kind, task["split"].as_string() == "train"
    )
    with ledger.ledger.reading() as connection:
        return (
            sorted(connection.execute(rounds).scalars()),
            sorted(connection.execute(families.distinct()).scalars()),
        )


def _select(ledger: RunLedger, sought: Sought, *columns: Any, tasks: bool = False) -> sa.Select[Any]:
    """Columns of the rows sought, or of the selections; with `tasks`, of their tasks too."""
    engine, refused = ledger.ledger.engine, bool(sought.reason)
    record = body(engine, _CHOICE)
    c, fits = _CHOICE.c, list[sa.ColumnElement[bool]]()
    joined: sa.FromClause = _CHOICE
    if tasks or sought.family or (refused and sought.text):
        joined = joined.join(_TASK, (_TASK.c.id == c.task) & (_TASK.c.run == c.run))
    if sought.round is not None:
        fits.append(c.round == sought.round)
    if sought.family:
        fits.append(body(engine, _TASK)["family"].as_string() == sought.family)
    if refused:
        fits.append(~record["chosen"].as_boolean())
        if sought.reason != ANY:
            fits.append(record["reason"].as_string() == sought.reason)
    elif sought.adapter:
        trained = sa.select(links.c.parent).where(links.c.run == ledger.run, links.c.child == sought.adapter)
        fits.append(c.id.in_(trained))
    if sought.text and refused:
        joined = joined.join(_ATTEMPT, (_ATTEMPT.c.id == record["attempt"].as_string()) & (_ATTEMPT.c.run == c.run))
        fits.append(_any_says(sought.text, body(engine, _TASK)["question"], body(engine, _ATTEMPT)["text"]))
    elif sought.text:
        prompt = (record["prompt", place, "content"] for place in range(MESSAGES))
        fits.append(_any_says(sought.text, record["completion"], *prompt))
    kind = Selection.kind if refused else Row.kind
    return sa.select(*columns).select_from(joined).where(c.run == ledger.run, c.kind == kind, *fits)


def _any_says(words: str, *texts: Any) -> sa.ColumnElement[bool]:
    return sa.or_(*(text.as_string().icontains(words, autoescape=True) for text in texts))


def _critiques(ledger: RunLedger, attempts: Collection[str]) -> dict[str, Critique]:
    came = children(ledger, attempts)
    known = ledger.get_many([id for ids in came.values() for id in _of_kind(ids, Critique.kind)])
    return {record.attempt: record for record in known.values() if isinstance(record, Critique)}


def _contrasts(ledger: RunLedger, attempts: Collection[str]) -> dict[str, Contrast]:
    came = children(ledger, attempts)
    known = ledger.get_many([id for ids in came.values() for id in _of_kind(ids, Contrast.kind)])
    return {record.attempt: record for record in known.values() if isinstance(record, Contrast)}


def _rescores(ledger: RunLedger, rows: Collection[str]) -> dict[str, list[Rescore]]:
    came = {row: _of_kind(ids, Rescore.kind) for row, ids in children(ledger, rows).items()}
    known = ledger.get_many([id for ids in came.values() for id in ids])
    return {row: [one for id in ids if isinstance(one := known.get(id), Rescore)] for row, ids in came.items()}


def _of_kind(ids: Collection[str], kind: str) -> list[str]:
    return [id for id in ids if kind_of(id) == kind]


def _as(record: Record | None, kind: type[R]) -> R | None:
    return record if isinstance(record, kind) else None
