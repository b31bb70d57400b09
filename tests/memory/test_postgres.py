"""The ledger on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import postgres
from remembered import learnt, made_attempt, make_call, make_task, proposed

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Ledger
from quintet.memory.lineage import lineage
from quintet.memory.reading.chronicle import Wanted, told
from quintet.memory.reading.counting import count_rounds, count_tried
from quintet.memory.reading.evaluated import evaluated, spent
from quintet.memory.reading.recalled import gone, recalls, remembers, retirements, times, uses
from quintet.records import (
    Answer,
    Call,
    Critique,
    Evaluation,
    Recall,
    Recalled,
    Reply,
    Retirement,
    Selection,
    Task,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


def test_the_same_ledger_as_in_sqlite(url: str, tmp_path: Path):
    tasks = [make_task(f"What is {n} + {n}?") for n in range(200)]
    records = [record for n, task in enumerate(tasks) for record in proposed(task, n % 5)]
    with Ledger.open(url) as postgres, Ledger.open(tmp_path / "ledger.db") as sqlite:
        digests = []
        for ledger in (postgres, sqlite):
            run = ledger.begin("one", 0, {"a": 1})
            assert run.add(*records) == 400
            assert run.add(*records[:10], make_call("a"), seconds=1.5) == 1
            assert run.add(make_call("a")) == 0
            assert run.find(Task) == tasks
            assert run.lookup("a") == make_call("a")
            assert run.children(tasks[3].id) == [records[7].id]
            assert run.seconds(Call) == 1.5
            assert run.role_tokens() == {1: {"solver": 8}}
            assert ledger.holder(tasks[5].id[:14]).run == "one"
            assert len(lineage(run, tasks[5].id).descendants) == 1
            run.update(status="done", seconds=2.5, peak_rss_mb=1.25)
            assert (run.info.status, run.info.seconds, run.info.peak_rss_mb) == ("done", 2.5, 1.25)
            with pytest.raises(LedgerError, match="'one' exists"):
                ledger.begin("one", 0, {})
            digests.append(run.digest())
        assert digests[0] == digests[1]
    with Ledger.open(url) as again:
        assert [info.run for info in again.runs()] == ["one"]


def test_memories_and_evaluations_are_counted_the_same_way(url: str, tmp_path: Path):
    tasks = [make_task(f"What is {n} + 1?", split="gate" if n > 2 else "train") for n in range(5)]
    lesson, row = learnt(tasks[0], 1)
    recalled = (Recalled(id=lesson.id, distance=0.25), Recalled(id=row.id, distance=0.5))
    asked = {"round": 2, "task": tasks[1].id, "query": "q", "items": recalled, "sources": (lesson.id, row.id)}
    answers = tuple(Answer(task=task.id, text="1", answer="1", score=1, correct=True, strict=True) for task in tasks)
    records = [
        *(record for task in tasks[:3] for record in proposed(task, 1, accepted=task is not tasks[2])),
        *tasks[3:],
        lesson,
        row,
        Recall(role="solver", **asked),
        Recall(role="critic", **asked),
        Retirement(round=0, memory=row.id, retired=True, reason="wrong", number=1),
        *(make_call(f"item {task.id}", role="evaluation").with_(task=task.id) for task in tasks),
        evaluation := Evaluation(round=1, suite="gate", tasks=tuple(task.id for task in tasks), answers=answers),
    ]
    with Ledger.open(url) as postgres, Ledger.open(tmp_path / "ledger.db") as sqlite:
        found = []
        for ledger in (postgres, sqlite):
            run = ledger.begin("counted", 0, {})
            run.add(*records)
            heads = [one.model_copy(update={"seq": 0}) for one in evaluated(run)]
            recalled_in = [one.model_copy(update={"seq": 0}) for one in uses(run, lesson.id)]
            reasons = [one.record.reason for one in retirements(run)]
            found.append((remembers(run), recalls(run), times(run, row.id), recalled_in, gone(run), reasons, heads))
            assert spent(run, evaluation) == 3 * len(tasks)
    assert found[0] == found[1]
    known, counted, *_ = found[0]
    assert (known.memories, known.held) == ({"task": 2, "lesson": 1, "row": 1, "skill": 0}, 2)
    assert known.retired == {"task": 0, "lesson": 0, "row": 1, "skill": 0}
    assert [(one.recalls, one.distance, one.roles) for one in counted.often] == [
        (2, 0.25, {"critic": 1, "solver": 1}),
        (2, 0.5, {"critic": 1, "solver": 1}),
    ]


def test_events_are_append_only_there_too(url: str):
    with Ledger.open(url) as ledger:
        run = ledger.begin("kept", 0, {})
        run.add(*proposed(make_task("1?"), 0))
        before = run.digest()
        for statement in ("UPDATE events SET body=''", "DELETE FROM events", "TRUNCATE events", "DELETE FROM links"):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger.engine.begin() as connection:
                connection.execute(sa.text(statement))
        assert run.digest() == before


def test_what_postgres_cannot_hold_is_one_clear_line(url: str):
    with Ledger.open(url) as ledger:
        run = ledger.begin("odd", 0, {})
        odd = make_task("a zero \x00 byte")
        run.add(odd)
        assert run.get(odd.id) == odd


def test_a_server_that_is_away_is_one_clear_line(tmp_path: Path):
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'quintet[postgres]')")
    with pytest.raises(LedgerError, match="postgresql") as raised:
        Ledger.open(f"postgresql://quintet:secret@/ledger?host={tmp_path}")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rounds_are_counted_as_in_sqlite(url: str, tmp_path: Path):
    tasks = [make_task(f"What is {n} + {n}?", family=f"sums {n % 2}", level=n % 3) for n in range(40)]
    with Ledger.open(url) as postgres, Ledger.open(tmp_path / "ledger.db") as sqlite:
        counted = []
        for ledger in (postgres, sqlite):
            run = ledger.begin("rounds", 0, {})
            for n, task in enumerate(tasks):
                attempt = made_attempt(task, n % 2 + 1)
                judged = {"round": attempt.round, "task": task.id, "attempt": attempt.id}
                right = n % 3 == 0
                critique = Critique(**judged, score=float(right), correct=right, strict=False, verdict="accept")
                again = attempt.with_(turn=1, revises=attempt.id)
                rescued = critique.with_(attempt=again.id, correct=not right)
                left_out = Selection(**judged, chosen=right, reason="right" if right else f"wrong {n % 4}")
                recall = Recall(round=attempt.round, role="solver", query="", items=(), sources=())
                reply = Reply(round=attempt.round, role="skeptic", task=task.id, error=None if right else "lost")
                run.add(*proposed(task, attempt.round, accepted=n % 5 > 0), attempt, critique, again, rescued)
                run.add(left_out, recall, reply, *learnt(task, attempt.round, attempt=attempt.id))
            counted.append((count_rounds(run), count_tried(run, 1)))
        assert repr(counted[0]) == repr(counted[1])
        first = counted[0][0][1]
        assert (first.attempts, first.revised, first.right, first.rescued) == (40, 20, 20, 13)
        assert first.refused == {"too near": 4}
        assert sum(first.left_out.values()) == 13


def test_a_zero_byte_that_a_model_said_stands_in_no_counts_way(url: str):
    with Ledger.open(url) as ledger:
        run = ledger.begin("zero", 0, {})
        for text in ("plain", "zero \x00 byte", "slash \\u0000", "both \\\x00\x00"):
            task = make_task(text)
            run.add(*proposed(task, 1), made_attempt(task, 1).with_(text=text))
        assert count_rounds(run)[1].attempts == 4
        found = told(run, Wanted(kind="attempt", text="byte")), told(run, Wanted(kind="attempt", text="\\u0000"))
        assert [[event.record.text for event in some] for some in found] == [["zero \x00 byte"], ["slash \\u0000"]]
