"""The commands on memory: found by meaning and by filters, retired and restored, rebuilt; also beside a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from quintet.cli import main
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Attempt, Lesson, Message, Proposal, Recall, Recalled, Retirement, Row, Task

ADAPTER = Adapter(round=1, rows=(), recipe={}, weights="0" * 64)


def make_task(question: str, family: str = "sums", level: int = 0, split: Any = "train") -> Task:
    return Task(family=family, level=level, question=question, canonical=question, truth={"answer": "1"}, split=split)


SUM = make_task("What is 12 + 30?")
CAT = make_task("Which animal says meow?", "animals", 2)
ITEM = make_task("What is 9 + 9?", split="final")


def learnt(task: Task, round: int, adapter: str, text: str) -> list[Any]:
    about: dict[str, Any] = {"round": round, "task": task.id}
    proposal = Proposal(
        **about, origin="drawn", number=0, family=task.family, level=task.level, accepted=True, reason="new"
    )
    said: dict[str, Any] = {"text": text, "answer": "1", "strict_answer": "1"}
    attempt = Attempt(**about, call="call-1", sample=0, turn=0, adapter=adapter, **said)
    lesson = Lesson(**about, attempt=attempt.id, critique="critique-1", text=text)
    prompt = (Message(role="user", content=task.question),)
    row = Row(**about, attempt=attempt.id, selection="selection-1", prompt=prompt, completion=f"I say: {text}")
    return [task, proposal, attempt, lesson, row]


LEARNT = [*learnt(SUM, 1, "base", "Carry the one."), *learnt(CAT, 2, ADAPTER.id, "Think of pets.")]
LESSON = next(record for record in LEARNT if isinstance(record, Lesson))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "runs")
    with place.ledger() as ledgers:
        run = ledgers.begin("first", 0, {"memory": {}})
        recall = Recall(
            round=2, role="solver", query="12", items=(Recalled(id=LESSON.id, distance=0.1),), sources=(LESSON.id,)
        )
        run.add(ADAPTER, *LEARNT, recall, ITEM)
    return place


def quintet(place: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["memory", *arguments, "--workspace", str(place.path)])


def told(place: Workspace, *arguments: str) -> Any:
    result = quintet(place, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_nearest_of_all_kinds_come_first_and_never_an_evaluation_item(place: Workspace):
    found = told(place, "search", "carry one")
    assert found["through"] == "index"
    assert found["found"][0]["id"] == LESSON.id
    assert found["found"][0] | {"distance": 0} == {
        "id": LESSON.id,
        "kind": "lesson",
        "distance": 0,
        "family": "sums",
        "level": 0,
        "round": 1,
        "adapter": "base",
        "retired": False,
        "recalls": 1,
        "question": SUM.question,
        "text": "Carry the one.",
    }
    assert sorted(one["kind"] for one in found["found"]) == ["lesson", "lesson", "row", "row", "task", "task"]
    distances = [one["distance"] for one in found["found"]]
    assert distances == sorted(distances)
    text = quintet(place, "search", "carry one", "--count", "1").stdout
    assert LESSON.id in text
    assert "sums level 0  round 1  base  recalled 1×" in text
    assert "Carry the one." in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("beside", [False, True])
def test_filters_through_the_index_and_beside_a_run(place: Workspace, beside: bool):
    def rounds(*arguments: str) -> list[tuple[str, int]]:
        return sorted((one["kind"], one["round"]) for one in told(place, "search", "x", *arguments)["found"])

    def ask() -> None:
        assert rounds("--family", "animals") == [("lesson", 2), ("row", 2), ("task", 2)]
        assert rounds("--kind", "row", "--kind", "task", "--level", "0") == [("row", 1), ("task", 1)]
        assert rounds("--since", "2", "--kind", "lesson") == [("lesson", 2)]
        assert rounds("--before", "2", "--level", "0", "--level", "2") == [("lesson", 1), ("row", 1), ("task", 1)]
        assert rounds("--adapter", ADAPTER.id[:12]) == [("lesson", 2), ("row", 2)]
        assert rounds("--adapter", "base", "--since", "2") == []

    if not beside:
        return ask()
    told(place, "search", "x")
    shutil.rmtree(place.chroma)
    with place.claim("first"):
        ask()
        result = quintet(place, "search", "meow")
        assert "in use: 6 memories were read from the ledger instead of its index" in result.stderr
        assert "animals level 2  round 2" in result.stdout.splitlines()[0]
        assert told(place, "stats")["indexed"] is None
    # A run's index is left alone.
    assert not place.chroma.exists()


def test_both_ways_of_searching_find_the_same(place: Workspace):
    through_index = told(place, "search", "numbers and animals")
    with place.claim("first"):
        through_ledger = told(place, "search", "numbers and animals")
    assert through_index["found"] == through_ledger["found"]
    assert (through_index["through"], through_ledger["through"]) == ("index", "ledger")


def test_retired_and_restored_also_beside_a_run(place: Workspace):
    with place.claim("first"):
        retired = told(place, "retire", LESSON.id[:14], "--reason", "wrong")
    assert retired == [{"run": "first", "retired": True, "ids": [LESSON.id], "unchanged": []}]
    assert told(place, "retire", LESSON.id, "--reason", "again")[0]["unchanged"] == [LESSON.id]
    assert [one["text"] for one in told(place, "search", "x", "--kind", "lesson")["found"]] == ["Think of pets."]
    hidden = told(place, "search", "x", "--retired")["found"]
    assert [(one["id"], one["retired"]) for one in hidden] == [(LESSON.id, True)]
    assert "retired" in quintet(place, "search", "x", "--retired").stdout
    assert told(place, "stats")["retired"] == {"task": 0, "lesson": 1, "row": 0, "skill": 0}
    assert f"{LESSON.id}  restored in first" in quintet(place, "restore", LESSON.id).stdout
    assert len(told(place, "search", "x", "--kind", "lesson")["found"]) == 2
    with place.ledger() as ledgers:
        assert [event.retired for event in ledgers.run().find(Retirement)] == [True, False]


def test_stats_tell_without_mending_and_rebuild_mends(place: Workspace):
    before = told(place, "stats")
    assert before["memories"] == {"task": 2, "lesson": 2, "row": 2, "skill": 0}
    assert (before["held"], before["recalls"], before["recalled"]) == (1, 1, 1)
    assert (before["expected"], before["indexed"], before["state"]) == (7, 0, "behind by 7")
    assert not place.chroma.exists()
    assert told(place, "rebuild") == {"run": "first", "index": str(place.chroma), "indexed": 7}
    assert "7 of 7 entries, up to date" in quintet(place, "stats").stdout
    (place.chroma / "chroma.sqlite3").write_bytes(b"rubbish" * 1000)
    assert told(place, "stats")["state"].startswith("damaged")
    assert "7 memories of first" in quintet(place, "rebuild").stdout
    assert told(place, "stats")["state"] == "up to date"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["retire", ITEM.id, "--reason", "x"], "is an evaluation item"),
        (["retire", LESSON.attempt, "--reason", "x"], "is no memory"),
        (["retire", "lesson-", "--reason", "x"], "several ids begin with 'lesson-'"),
        (["restore", "lesson-0000"], "no record has the id 'lesson-0000'"),
        (["search", "x", "--run", "frist"], "the nearest name is 'first'"),
        (["search", "x", "--adapter", LESSON.id], "is no adapter"),
        (["stats", "--run", "frist"], "the nearest name is 'first'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(place: Workspace, arguments: list[str], line: str):
    result = quintet(place, *arguments)
    assert result.exit_code == 2
    assert [line in told for told in result.stderr.splitlines()] == [True]
    assert result.stdout == ""


def test_a_rebuild_waits_for_no_run(place: Workspace):
    with place.claim("first"):
        result = quintet(place, "rebuild")
    assert result.exit_code == 2
    assert "in use by run 'first', pid" in result.stderr


def test_reading_creates_no_workspace(tmp_path: Path):
    for arguments in (["stats"], ["search", "x"], ["rebuild"], ["retire", "x", "--reason", "x"]):
        result = CliRunner().invoke(main, ["memory", *arguments, "--workspace", str(tmp_path / "typo")])
        assert result.exit_code == 2
        assert "no runs in" in result.stderr
    assert not (tmp_path / "typo").exists()


def test_a_server_that_is_away_is_told(tmp_path: Path):
    place = Workspace(tmp_path / "runs")
    with place.ledger() as ledgers:
        ledgers.begin("first", 0, {"memory": {"index": "http://127.0.0.1:9"}}).add(*LEARNT)
    state = told(place, "stats")
    assert state["index"] == "http://127.0.0.1:9"
    assert "chroma run --path FOLDER --host 127.0.0.1 --port 9" in state["state"]
    found = told(place, "search", "Carry the one.")
    assert "no Chroma server answers at http://127.0.0.1:9" in found["note"]
    assert found["found"], "the ledger suffices to search"
