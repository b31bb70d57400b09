"""The outline of a run's conversations: one line for each task of each round, found by what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.schema import events
from quintet.records import Attempt, Call, Critique, Evaluation, Lesson, Part, Proposal, Record, Reply, Row, Task

Came = Literal["", "solved", "failed", "revised", "row", "lesson", "error"]
"""What a conversation can be asked for by; empty: any."""


class Sought(Part):
    """Which conversations are to be listed."""

    round: int | None = None
    """Of this round only; `None`: of all."""
    held_out: bool = False
    """Evaluation items instead of the rounds' tasks."""
    family: str = ""
    came: Came = ""
    words: str = ""
    """Part of the question, in any case."""


class Place(NamedTuple):
    """A conversation: a task, in a round that asked it."""

    round: int | None
    """`None` for an evaluation item, which belongs to none."""
    task: str


class Line(Part):
    """A conversation in the outline."""

    round: int | None
    task: str
    family: str
    level: int
    split: str
    question: str
    right: int = 0
    """First attempts that the verifier accepts; for an evaluation item, answers."""
    tried: int = 0
    """First attempts, or answers."""
    judged: bool = False
    """Whether the verifier has spoken."""
    revised: bool = False
    rescued: bool = False
    """Whether a revision was right where its attempt was wrong."""
    row: bool = False
    lesson: bool = False
    error: bool = False
    """Whether the verifier, a role or a model call failed."""


def rounds(ledger: RunLedger) -> dict[int, int]:
    """How many tasks each round asked, by round."""
    e = events.c
    chosen = sa.select(e.round, sa.func.count(e.task)).where(e.run == ledger.run, e.kind == Proposal.kind)
    with ledger.ledger.reading() as connection:
        return dict(tuple(row) for row in connection.execute(chosen.group_by(e.round).order_by(e.round)))


def families(ledger: RunLedger) -> tuple[list[str], bool]:
    """The families of a run's tasks, and whether there are evaluation items among these."""
    said = body(ledger.ledger.engine)
    family, held_out = said["family"].as_string(), said["split"].as_string() != "train"
    chosen = sa.select(family, held_out).where(events.c.run == ledger.run, events.c.kind == Task.kind).distinct()
    with ledger.ledger.reading() as connection:
        found = connection.execute(chosen).all()
    return sorted({name for name, _ in found}), any(held for _, held in found)


def worth_reading(ledger: RunLedger) -> Place | None:
    """The newest round's first conversation that a lesson came of, else a row; `None` before anything was asked.

    A round that is not as far yet is passed over.
    """
    for kinds in ((Lesson, Row), (Attempt,), (Proposal,)):
        newest = [round for kind in kinds if (round := _newest_round(ledger, kind)) is not None]
        for kind in kinds:
            if newest and (task := _first_task(ledger, kind, max(newest))):
                return Place(max(newest), task)
    return None


def _newest_round(ledger: RunLedger, kind: type[Record]) -> int | None:
    e = events.c
    chosen = sa.select(sa.func.max(e.round)).where(e.run == ledger.run, e.kind == kind.kind)
    with ledger.ledger.reading() as connection:
        return connection.execute(chosen).scalar()


def _first_task(ledger: RunLedger, kind: type[Record], round: int) -> str | None:
    e = events.c
    chosen = sa.select(e.task).where(e.run == ledger.run, e.kind == kind.kind, e.round == round, e.task.is_not(None))
    with ledger.ledger.reading() as connection:
        return connection.execute(chosen.order_by(e.seq).limit(1)).scalar()


def places(ledger: RunLedger, sought: Sought) -> list[Place]:
    """All conversations that fit, in the order in which their tasks were proposed; no texts are read for it."""
    return _items(ledger, sought) if sought.held_out else _asked(ledger, sought)


def _asked(ledger: RunLedger, sought: Sought) -> list[Place]:
    p, t = events.alias("proposals"), events.alias("tasks")
    chosen = sa.select(p.c.round, p.c.task).where(
        p.c.run == ledger.run, p.c.kind == Proposal.kind, p.c.task.is_not(None)
    )
    if sought.round is not None:
        chosen = chosen.where(p.c.round == sought.round)
    if sought.family or sought.words:
        chosen = chosen.join(t, (t.c.id == p.c.task) & (t.c.run == p.c.run)).where(*_fitting(ledger, t, sought))
    with ledger.ledger.reading() as connection:
        found = connection.execute(chosen.order_by(p.c.seq)).all()
    asked = dict.fromkeys(Place(round, task) for round, task in found)
    if not sought.came:
        return list(asked)
    came = _came(ledger, sought.came, sought.round)
    return [place for place in asked if place in came]


def _came(ledger: RunLedger, came: Came, round: int | None) -> set[Place]:
    """The conversations of a round, or of all, that this came of."""
    e, said = events.c, body(ledger.ledger.engine)
    right = sa.func.max(sa.case((said["correct"].as_boolean(), 1), else_=0))

    def of(*kinds: type[Record], where: Any = (), having: Any = ()) -> set[Place]:
        # Kind by kind and not task by task, which SQLite would look up through an index that ends at the round.
        found = set[Place]()
        for kind in kinds:
            chosen = sa.select(e.round, e.task).where(e.run == ledger.run, e.kind == kind.kind, *where)
            if round is not None:
                chosen = chosen.where(e.round == round)
            with ledger.ledger.reading() as connection:
                rows = connection.execute(chosen.group_by(e.round, e.task).having(*having)).all()
            found |= {Place(number, task) for number, task in rows}
        return found

    match came:
        case "solved":
            return of(Critique, having=[right == 1])
        case "failed":
            return of(Critique, having=[right == 0])
        case "revised":
            return of(Attempt, where=[said["revises"].as_string().is_not(None)])
        case "row":
            return of(Row)
        case "lesson":
            return of(Lesson)
        case _:
            return of(Critique, Reply, Call, where=[said["error"].as_string().is_not(None)])


def _items(ledger: RunLedger, sought: Sought) -> list[Place]:
    if sought.came not in ("", "solved", "failed"):
        return []
    held_out = body(ledger.ledger.engine)["split"].as_string() != "train"
    chosen = sa.select(events.c.id).where(events.c.run == ledger.run, events.c.kind == Task.kind, held_out)
    chosen = chosen.where(*_fitting(ledger, events, sought))
    with ledger.ledger.reading() as connection:
        found = list(connection.execute(chosen.order_by(events.c.seq)).scalars())
    if sought.came:
        answers = _answers(ledger)
        found = [id for id in found if id in answers and (answers[id][0] > 0) == (sought.came == "solved")]
    return [Place(None, id) for id in found]


def _fitting(ledger: RunLedger, tasks: sa.FromClause, sought: Sought) -> list[sa.ColumnElement[bool]]:
    said, found = body(ledger.ledger.engine, tasks), list[sa.ColumnElement[bool]]()
    if sought.family:
        found.append(said["family"].as_string() == sought.family)
    if sought.words:
        found.append(said["question"].as_string().icontains(sought.words, autoescape=True))
    return found


def lines(ledger: RunLedger, wanted: Sequence[Place]) -> list[Line]:
    """Conversations as lines; a few at a time, since their tasks' records are read."""
    tasks = ledger.get_many({place.task for place in wanted})
    came = _marks(ledger, [place.task for place in wanted if place.round is not None])
    answers = _answers(ledger) if any(place.round is None for place in wanted) else {}
    found = []
    for place in wanted:
        task = tasks.get(place.task)
        if not isinstance(task, Task):
            continue
        marks = came.get(place, {})
        if place.round is None and task.id in answers:
            right, tried = answers[task.id]
            marks = {"right": right, "tried": tried, "judged": True}
        found.append(
            Line(
                round=place.round,
                task=task.id,
                family=task.family,
                level=task.level,
                split=task.split,
                question=task.question,
                **marks,
            )
        )
    return found


def _marks(ledger: RunLedger, tasks: Sequence[str]) -> dict[Place, dict[str, Any]]:
    """By conversation, what came of it, as the fields of a line."""
    e, said = events.c, body(ledger.ledger.engine)
    kinds = (Attempt, Critique, Lesson, Row, Reply, Call)
    chosen = sa.select(
        e.id,
        e.kind,
        e.round,
        e.task,
        said["attempt"].as_string().label("attempt"),
        said["revises"].as_string().label("revises"),
        sa.case((e.kind == Critique.kind, said["correct"].as_boolean()), else_=False).label("correct"),
        said["error"].as_string().label("error"),
    ).where(e.run == ledger.run, e.task.in_(tasks), e.kind.in_([kind.kind for kind in kinds]))
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen).all()
    right = {row.attempt for row in rows if row.kind == Critique.kind and row.correct}
    found: dict[Place, dict[str, Any]] = {}
    for row in rows:
        marks = found.setdefault(Place(row.round, row.task), {"right": 0, "tried": 0})
        if row.error is not None:
            marks["error"] = True
        if row.kind == Attempt.kind and row.revises is None:
            marks["tried"] += 1
            marks["right"] += row.id in right
        elif row.kind == Attempt.kind:
            marks["revised"] = True
            if row.id in right and row.revises not in right:
                marks["rescued"] = True
        elif row.kind == Critique.kind:
            marks["judged"] = True
        elif row.kind in (Row.kind, Lesson.kind):
            marks[row.kind] = True
    return found


def _answers(ledger: RunLedger) -> dict[str, tuple[int, int]]:
    """By evaluation item, how many answers were right, of how many."""
    found: dict[str, tuple[int, int]] = {}
    for evaluation in ledger.find(Evaluation):
        for answer in evaluation.answers:
            right, tried = found.get(answer.task, (0, 0))
            found[answer.task] = right + answer.correct, tried + 1
    return found
