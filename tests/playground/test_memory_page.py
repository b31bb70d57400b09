"""The memory page: its counts are the ledger's, its search that of `quintet memory search`; it changes nothing."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from quintet.memory.browsing import retire, stats
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.recalled import gone, recalls, remembers, times, uses
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import Attempt, Lesson, Recall, Recalled, Retirement, Row, Task

HOSTILE = '</div><script>alert("x")</script>'

HOLD = """
import sys
from quintet.memory.workspace import Workspace
with Workspace(sys.argv[1]).claim("another-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(workspace: Path) -> Iterator[None]:
    """The workspace in the hands of another process, as while a run lives there."""
    command = [sys.executable, "-c", HOLD, str(workspace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdout is not None
        assert holding.stdin is not None
        assert holding.stdout.readline() == "held\n"
        yield
        holding.stdin.close()


def remember(ledger: RunLedger, count: int = 3) -> Lesson:
    """A lesson that the solver recalled so often, and the critic once."""
    attempt = ledger.find(Attempt)[0]
    lesson = Lesson(round=1, task=attempt.task, attempt=attempt.id, critique="critique-1", text=f"Carry {HOSTILE}.")
    tasks = [task.id for task in ledger.find(Task) if task.id != attempt.task]
    told = [("solver", number) for number in range(count)] + [("critic", count)]
    ledger.add(
        lesson,
        *(
            Recall(
                round=2,
                role=role,
                task=tasks[number % len(tasks)],
                turn=number,
                query=f"query {number} {HOSTILE}",
                items=(Recalled(id=lesson.id, distance=0.25 if role == "solver" else 0.75),),
                sources=(lesson.id,),
            )
            for role, number in told
        ),
    )
    return lesson


def test_the_counts_are_those_of_memory_stats(client: TestClient, workspace: Path, ledger: RunLedger) -> None:
    remember(ledger)
    found, known, recalled = stats(workspace), remembers(ledger), recalls(ledger)
    assert (known.memories, known.retired, known.held) == (found.memories, found.retired, found.held)
    assert (recalled.times, recalled.memories) == (found.recalls, found.recalled)
    page = client.get(f"/runs/{ledger.run}/memory").text
    for count in (*known.memories.values(), known.held, recalled.times, recalled.memories):
        assert f"<dd>{count}" in page
    assert f"<dd>{recalled.times}" in client.get(f"/runs/{ledger.run}/memory/counts").text


def test_what_was_recalled_most_stands_first(client: TestClient, ledger: RunLedger) -> None:
    lesson = remember(ledger)
    counted = Counter(item.id for recall in ledger.find(Recall) for item in recall.items)
    found = recalls(ledger)
    assert [one.recalls for one in found.often] == sorted(counted.values(), reverse=True)
    assert all(one.recalls == counted[one.id] == times(ledger, one.id) for one in found.often)
    [mine] = [one for one in found.often if one.id == lesson.id]
    assert (mine.recalls, mine.roles) == (4, {"critic": 1, "solver": 3})
    assert mine.distance == pytest.approx(0.375)
    page = client.get(f"/runs/{ledger.run}/memory").text
    assert "at a mean distance of 0.375" in page
    assert "<script>alert" not in page
    for part in ("records", "lineage"):
        assert f'href="/runs/{ledger.run}/{part}/{lesson.id}"' in page


def test_a_memory_leads_to_the_conversations_it_was_recalled_in(client: TestClient, ledger: RunLedger) -> None:
    lesson = remember(ledger, 70)
    path = f"/runs/{ledger.run}/memory/{lesson.id}/recalls"
    page = client.get(path).text
    found = uses(ledger, lesson.id)
    assert [one.seq for one in found] == sorted((one.seq for one in found), reverse=True)
    assert re.findall(r'href="([^"]+)">query', page) == [
        f"/runs/{ledger.run}/tasks/{one.task}#{one.id}" for one in found
    ]
    assert len(found) == 50
    [more] = re.findall(r'hx-get="([^"]+)"', page)
    assert len(re.findall(r'">query', client.get(html.unescape(more)).text)) == 21
    assert "<script>alert" not in page
    assert "Nobody recalled it" in client.get(f"/runs/{ledger.run}/memory/lesson-none/recalls").text


def test_a_task_does_not_count_as_recalled_where_it_was_asked(ledger: RunLedger) -> None:
    lesson = remember(ledger)
    asked = ledger.find(Recall, role="critic")[-1].task
    assert asked is not None
    assert lesson.id in {item.id for recall in ledger.find(Recall, task=asked) for item in recall.items}
    wanted = sum(any(item.id == asked for item in recall.items) for recall in ledger.find(Recall))
    assert times(ledger, asked) == wanted


def test_what_was_retired_is_told_with_the_reason(client: TestClient, workspace: Path, ledger: RunLedger) -> None:
    lesson = remember(ledger)
    row = ledger.find(Row)[0].id if ledger.find(Row) else ""
    ledger.add(Retirement(round=2, memory=lesson.id, retired=True, reason="rolled back", number=1))
    ledger.add(Retirement(round=2, memory=lesson.id, retired=False, reason="it was right", number=2))
    assert gone(ledger) == frozenset()
    retire(workspace, [lesson.id], f"wrong {HOSTILE}", ledger.run)
    assert gone(ledger) == {lesson.id}
    assert remembers(ledger).retired == {"task": 0, "lesson": 1, "row": 0, "skill": 0}
    page = html.unescape(client.get(f"/runs/{ledger.run}/memory").text)
    reasons = [page.index(reason) for reason in (f"wrong {HOSTILE}", "it was right", "rolled back")]
    assert reasons == sorted(reasons)
    assert "round 2" in page
    assert f"quintet memory restore {lesson.id} --run {ledger.run}" in page
    assert "1 retired" in page
    assert "<script>alert" not in client.get(f"/runs/{ledger.run}/memory").text
    assert row not in gone(ledger)


def test_the_page_does_not_wait_for_a_search(client: TestClient, ledger: RunLedger) -> None:
    page = client.get(f"/runs/{ledger.run}/memory?q=an+odd+number&kind=task&level=0").text
    assert re.search(r'hx-get="/runs/[^"]+/memory/found\?q=an\+odd\+number&amp;kind=task&amp;level=0"', page)
    assert 'class="memory"' not in page
    assert "data-search" in page
    assert '<option value="task" selected>' in page


def ids(page: str) -> list[str]:
    """Of the memories found, in order."""
    return re.findall(r'<article class="memory".*?/records/([a-z0-9-]+)"', page, re.S)


def test_the_search_is_by_meaning_and_filtered(client: TestClient, workspace: Path, ledger: RunLedger) -> None:
    lesson = remember(ledger)
    base = f"/runs/{ledger.run}/memory/found"
    question = next(task.question for task in ledger.find(Task) if task.split == "train")
    reply = client.get(base, params={"q": question})
    assert "cosine distance" in reply.text
    distances = [float(one) for one in re.findall(r'title="cosine distance">([\d.]+)<', reply.text)]
    assert distances == sorted(distances)
    assert distances[0] == 0.0
    assert reply.headers["hx-push-url"].startswith(f"/runs/{ledger.run}/memory?q=")
    lessons = client.get(base, params={"q": "carry", "kind": "lesson"}).text
    assert lesson.id in ids(lessons)
    assert all(id.startswith("lesson-") for id in ids(lessons))
    assert "<script>alert" not in lessons
    assert "recalled 4 ×" in lessons
    assert f"quintet memory retire {lesson.id}" in html.unescape(lessons)
    for none in ({"family": "gcd"}, {"level": "9"}, {"round": "77"}, {"retired": "1"}):
        assert "Nothing matches" in client.get(base, params={"q": "carry", **none}).text
    assert lesson.id in ids(client.get(base, params={"q": "carry", "kind": "lesson", "round": "1"}).text)
    retire(workspace, [lesson.id], "wrong", ledger.run)
    assert ids(client.get(base, params={"q": "carry", "retired": "1"}).text) == [lesson.id]
    failed = client.get(base, params={"q": "carry", "adapter": "adapter-none"})
    assert failed.status_code == 200
    assert "adapter-none" in failed.text
    whole = client.get(f"/runs/{ledger.run}/memory", params={"q": "carry", "kind": "lesson", "now": "1"}).text
    assert ids(whole) == ids(client.get(base, params={"q": "carry", "kind": "lesson"}).text)


def test_beside_a_run_the_ledger_is_read(client: TestClient, workspace: Path, ledger: RunLedger) -> None:
    path = f"/runs/{ledger.run}/memory/found?q=odd"
    alone = client.get(path).text
    assert "from the index" in alone
    with held(workspace):
        beside = client.get(path).text
        assert "is in use" in beside
        assert "in use by another-1" in client.get(f"/runs/{ledger.run}/memory").text
    assert ids(beside) == ids(alone)


def test_an_index_that_is_behind_is_not_mended(client: TestClient, workspace: Path, ledger: RunLedger) -> None:
    shutil.rmtree(workspace / "chroma")
    reply = client.get(f"/runs/{ledger.run}/memory/found?q=odd").text
    assert "behind" in reply
    assert ids(reply)
    assert not list((workspace / "chroma").glob("**/*.sqlite3"))
    # Nobody holds the workspace any more.
    assert Workspace(workspace).holder() is None


def test_nothing_is_changed_by_looking(client: TestClient, ledger: RunLedger) -> None:
    before = ledger.digest()
    for path in ("", "/found", "/counts", "/retired", "/found?q=odd", "/lesson-1/recalls"):
        assert client.get(f"/runs/{ledger.run}/memory{path}").status_code == 200
        assert client.post(f"/runs/{ledger.run}/memory{path}").status_code == 405
    assert ledger.digest() == before
    assert client.get("/runs/nowhere/memory").status_code == 404


def test_a_run_that_remembers_nothing(tmp_path: Path) -> None:
    with Workspace(tmp_path).ledger() as ledgers:
        ledgers.begin("bare-1", 0, {})
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client:
        page = client.get("/runs/bare-1/memory").text
        assert "Nobody has recalled anything yet" in page
        assert "Nothing was taken out of recall" in page
