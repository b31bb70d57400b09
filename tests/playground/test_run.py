"""A run at a glance, and its adapters: whether it got better and where, and where it stands now."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from quintet.evaluation.gate import decide
from quintet.graph.report import report, state
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.counting import RoundCounts, count_rounds, count_tried
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.playground.lifecycle import lifecycle_of
from quintet.records import (
    BASE,
    Adapter,
    Answer,
    Attempt,
    Critique,
    Curation,
    Curriculum,
    Decision,
    Evaluation,
    Monitors,
    Opening,
    Proposal,
    Recall,
    Record,
    Reply,
    Rollback,
    Row,
    Selection,
    Stage,
    Task,
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
NODES = ("propose", "episodes", "curate", "approve", "train", "evaluate", "decide", "finish")


def begin(workspace: Path, name: str, **changes: Any) -> RunLedger:
    """A run with settings and nothing else, in a workspace that is left open."""
    settings = Settings.compose({"rounds": 2, **changes}).model_dump(mode="json")
    return Workspace(workspace).ledger().begin(name, 0, {**settings, "joined": []}, "finished")


def page(client: TestClient, path: str) -> str:
    reply = client.get(path)
    assert reply.status_code in (200, 286), reply.text
    return reply.text


def data(text: str) -> list[Any]:
    """What scripts of a page are given."""
    return [
        json.loads(found) for found in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    ]


def test_the_overview_says_what_came_of_it_and_where(client: TestClient, ledger: RunLedger) -> None:
    text = page(client, f"/runs/{ledger.run}")
    found = report(ledger, Workspace(client.app.state.site.path))  # type: ignore[attr-defined]
    assert found.final is not None
    assert text.count("<h1") == 1
    assert f"answered its {found.final.n} items" in text
    assert f"{100 * found.final.base.correct / found.final.n:.1f} %" in text
    assert "in the form asked for" in text
    assert re.search(r"<th scope=\"row\">All</th>|>parity <small>level 0", text)
    for number in (1, 2):
        assert f"/runs/{ledger.run}/rows?round={number}" in text
        assert f"/runs/{ledger.run}/conversations?round={number}" in text
    for adapter in ledger.find(Adapter):
        assert f"/runs/{ledger.run}/adapters#{adapter.id}" in text
        assert re.search(rf"/compare\?left={ledger.run}:[\w-]+&right={ledger.run}:{adapter.id}&suite=gate&round=", text)


def test_the_loop_is_drawn_and_nothing_is_at_work_in_a_finished_run(client: TestClient, ledger: RunLedger) -> None:
    text = page(client, f"/runs/{ledger.run}")
    drawn = re.findall(r'class="label"[^>]*>(\w+)</text>', text)
    assert tuple(drawn) == NODES
    assert "is-now" not in text
    assert "is-halted" not in text
    assert "role-" in text
    assert "skeptic" in text
    assert client.get(f"/runs/{ledger.run}/overview/now").status_code == 286


def test_a_running_run_moves(workspace: Path, client: TestClient, ledger: RunLedger) -> None:
    ledger.update(status="running", pid=os.getpid(), settings={**ledger.info.settings, "rounds": 3})
    with Workspace(workspace).claim(ledger.run):
        ledger.add(Stage(round=3, name="propose"), seconds=1.0)
        text = page(client, f"/runs/{ledger.run}")
        assert f'data-live="/runs/{ledger.run}/stream' in text
        for part in ("result", "now", "rounds"):
            assert f'hx-get="/runs/{ledger.run}/overview/{part}"' in text
            assert client.get(f"/runs/{ledger.run}/overview/{part}").status_code == 200
        assert re.search(r'id="node-episodes" class="node role-solver is-now"', text)
        assert "<b>episodes</b> at work" in text
        assert re.search(rf'data-latest="/runs/{ledger.run}/records/"', text)
        assert f'href="/runs/{ledger.run}/records/{Stage(round=3, name="propose").id}"' in text
        now = page(client, f"/runs/{ledger.run}/overview/now")
        for part in ("life", "at", "meter"):
            assert f'id="{part}"' in now


@pytest.mark.parametrize(
    ("stages", "status", "expected"),
    [
        ([], "running", (1, "propose")),
        ([(1, "propose")], "running", (1, "episodes")),
        ([(1, "curate")], "running", (1, "train")),
        ([(1, "curate")], "waiting", (1, "approve")),
        ([(1, "evaluate")], "interrupted", (1, "decide")),
        ([(1, "decide")], "running", (2, "propose")),
        ([(1, "decide"), (2, "decide")], "running", (2, "finish")),
        ([(2, "finish")], "finished", (2, "")),
        ([(2, "finish")], "running", (3, "propose")),
    ],
)
def test_the_node_after_the_last_that_ended_is_at_work(
    tmp_path: Path, stages: list[tuple[int, str]], status: str, expected: tuple[int, str]
) -> None:
    ledger = begin(tmp_path, "one")
    ledger.add(*(Stage(round=round, name=name) for round, name in stages))
    found = lifecycle_of(ledger, ledger.info, status)
    assert (found.round, found.at) == expected
    lit = [step.state for step in found.steps if step.name == found.at]
    assert lit == (["now" if status == "running" else "halted"] if found.at else [])


def test_a_run_that_ends_early_is_at_its_final_suite(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "one", rounds=9)
    ledger.add(Stage(round=4, name="decide"), Opening(round=4, number=1, tasks=()))
    assert lifecycle_of(ledger, ledger.info, "running").at == "finish"


def test_a_run_that_waits_says_for_what(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "one", approve=True)
    ledger.add(Stage(round=1, name="curate"))
    ledger.update(status="waiting")
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client:
        text = page(client, "/runs/one")
        assert "<b>approve</b> waits for an answer" in text
        assert f"quintet resume one --workspace {tmp_path}" in text


def test_a_joined_round_role_has_a_node_once_it_has_acted(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "one")
    ledger.add(*(Stage(round=1, name=name) for name in ("warden", "propose", "episodes", "curate", "referee")))
    assert [step.name for step in lifecycle_of(ledger, ledger.info, "running").steps] == [
        "warden",
        *NODES[:3],
        "referee",
        *NODES[3:],
    ]
    found = lifecycle_of(ledger, ledger.info, "running")
    assert found.at == "train"
    assert len(found.lines) == len(NODES) + 2
    assert [line.back for line in found.lines].count(True) == 1
    ledger.add(Stage(round=1, name="train"), Stage(round=1, name="evaluate"), Stage(round=1, name="decide"))
    assert lifecycle_of(ledger, ledger.info, "running").at == "warden"


def test_no_code_is_imported_that_a_workspace_names(tmp_path: Path) -> None:
    file = tmp_path / "hostile.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    ledger = begin(tmp_path / "runs", "one", join=(f"{file}:Role",))
    ledger.update(settings={**ledger.info.settings, "joined": ["role"]})
    with TestClient(create_app(tmp_path / "runs"), base_url="http://127.0.0.1:8420") as client:
        for tab in ("", "/adapters", "/conversations", "/rows", "/memory", "/events"):
            page(client, f"/runs/one{tab}")
    assert not (tmp_path / "ran").exists()


def test_a_run_without_rounds_has_its_pages(tmp_path: Path) -> None:
    begin(tmp_path, "none", join=())
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client:
        text = page(client, "/runs/none")
        assert "Nothing decided yet" in text
        assert "No round has been decided yet" in text
        assert "data-chart" not in text
        assert "No adapter" in page(client, "/runs/none/adapters")


def test_settings_that_differ_come_first(client: TestClient, ledger: RunLedger) -> None:
    text = page(client, f"/runs/{ledger.run}")
    table = text[text.index('<table class="settings">') :]
    differing = table[: table.index("</table>")]
    assert "solver.samples" in differing
    assert "solver.temperature" not in differing
    assert "joined" not in differing
    assert "temperature" in table


def hostile(ledger: RunLedger) -> None:
    """Text of models and users, hostile throughout, on every record and setting that the pages show."""
    task = Task(family=HOSTILE, level=0, question=HOSTILE, canonical=HOSTILE, truth={}, split="gate")
    ledger.add(task)
    recipe = {"objective": HOSTILE, HOSTILE: HOSTILE}
    adapter = Adapter(round=1, rows=(), recipe=recipe, weights=HOSTILE, metrics={"first_loss": 1.0, "last_loss": 0.5})
    answer = Answer(task=task.id, text=HOSTILE, answer=HOSTILE, score=1.0, correct=True, strict=False)
    found = [
        Evaluation(round=1, suite="gate", adapter=one, tasks=(task.id,), answers=(answer,), strategy=strategy)
        for one, strategy in ((BASE, "greedy"), (adapter.id, "greedy"), (adapter.id, HOSTILE))
    ]
    ledger.add(
        Proposal(
            round=1, origin="drawn", number=0, family=HOSTILE, level=0, task=task.id, accepted=True, reason=HOSTILE
        ),
        Stage(round=1, name=HOSTILE),
        adapter,
        *found,
        Decision(
            round=1,
            candidate=adapter.id,
            promoted=True,
            reason=HOSTILE,
            evaluations=tuple(one.id for one in found[:2]),
        ),
        Curriculum(round=1, levels={HOSTILE: 1}, reason=HOSTILE),
        Monitors(
            round=1, values={f"rows.{HOSTILE}": 3.0, HOSTILE: 2.0, f"lost_replies.{HOSTILE}": 0.5}, alarms=(HOSTILE,)
        ),
        Rollback(round=1, adapter=BASE, retired=(adapter.id,), reason=HOSTILE, number=1),
    )
    odd = {"model": {"name": HOSTILE}, "joined": [HOSTILE], "join": [HOSTILE], HOSTILE: {HOSTILE: HOSTILE}}
    ledger.update(settings={**ledger.info.settings, **odd})


def test_no_text_gets_out_of_its_place(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "a&b<i>")
    hostile(ledger)
    ledger.update(status="running", pid=os.getpid())
    with (
        TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client,
        Workspace(tmp_path).claim(ledger.run),
    ):
        here = "/runs/a%26b%3Ci%3E"
        for path in ("", "/adapters", "/overview/result", "/overview/now", "/overview/rounds"):
            text = page(client, here + path)
            assert "<script>alert" not in text, path
            assert "<img" not in text, path
            assert "<i>" not in text, path
            assert " style=" not in text, path
            assert data(text) or path != ""
        assert "&lt;script&gt;alert(1)" in page(client, here)
        assert "&lt;script&gt;alert(1)" in page(client, f"{here}/adapters")


def test_a_filtered_data_set_says_what_was_left_out(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "filtered-1")
    record = Curation(
        round=0,
        family=HOSTILE,
        read=12_345,
        kept=12_000,
        rejected={"not JSON": 300, HOSTILE: 45},
        examples={"not JSON": "x.jsonl:7: {cut", HOSTILE: HOSTILE},
        file="curation/x-0123/rejected.jsonl",
    )
    ledger.add(record)
    client = TestClient(create_app(tmp_path), base_url="http://localhost")
    text = page(client, "/runs/filtered-1")
    assert HOSTILE not in text
    assert f"/runs/filtered-1/records/{record.id}" in text
    assert "curation/x-0123/rejected.jsonl" in text
    for said in ("12,345", "12,000", "345", "x.jsonl:7: {cut", ">300<"):
        assert said in text.replace("\N{NO-BREAK SPACE}", ",").replace("\N{NARROW NO-BREAK SPACE}", ","), said


def test_only_the_form_learnt_is_called_so(tmp_path: Path) -> None:
    ledger = begin(tmp_path, "form")
    tasks = [Task(family="sums", level=n % 2, question=f"{n}?", canonical=f"{n}", truth={}) for n in range(60)]
    adapter = Adapter(round=1, rows=(), recipe={}, weights="0")

    def evaluated(of: str, strict: bool) -> Evaluation:
        answers = tuple(
            Answer(task=one.id, text="4", answer="4", score=1.0, correct=n < 30, strict=strict and n < 30)
            for n, one in enumerate(tasks)
        )
        return Evaluation(round=1, suite="gate", adapter=of, tasks=tuple(one.id for one in tasks), answers=answers)

    base, candidate = evaluated(BASE, False), evaluated(adapter.id, True)
    settings = Settings.compose({"evaluation": {"retention_items": 0}}).evaluation
    ledger.add(*tasks, adapter, base, candidate, decide(1, adapter.id, BASE, base, candidate, None, None, settings))
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client:
        text = page(client, "/runs/form")
        assert "Nothing promoted so far" in text
        assert "Only the form has improved" in text
        assert "0.0 % → 50.0 %" in text
        assert "sums <small>level 1</small>" in text


def test_the_adapters_say_what_became_of_them(client: TestClient, ledger: RunLedger) -> None:
    text = page(client, f"/runs/{ledger.run}/adapters")
    made = ledger.find(Adapter)
    assert text.count("<article") == len(made) == 2
    for adapter in made:
        assert f'id="{adapter.id}"' in text
        assert f"/runs/{ledger.run}/lineage/{adapter.id}" in text
        assert f"quintet adapters export {adapter.id} FOLDER" in text
        assert f"SHA-256 {adapter.weights}" in text
        for evaluation in ledger.find(Evaluation, adapter=adapter.id):
            assert f"/runs/{ledger.run}/records/{evaluation.id}" in text
    assert "MB" in text
    assert text.count('<span class="badge">incumbent</span>') == 1
    ledger.add(Rollback(round=2, adapter=made[0].id, retired=(made[1].id,), reason="for the test", number=1))
    text = page(client, f"/runs/{ledger.run}/adapters")
    assert ">rolled back<" in text
    assert "for the test" in text
    assert made[1].id not in "".join(re.findall("<code data-copy>(.*?)</code>", page(client, f"/runs/{ledger.run}")))
    assert len(page(client, f"/runs/{ledger.run}/adapters?before=2").split("<article")) == 2


def test_the_charts_hold_what_the_ledger_does(client: TestClient, ledger: RunLedger) -> None:
    charts = {found["title"]: found for found in data(page(client, f"/runs/{ledger.run}")) if "title" in found}
    gate = charts["Gate"]
    assert gate["rounds"] == [1, 2]
    for decision in ledger.find(Decision):
        for series, id in zip(gate["series"], decision.evaluations[:2], strict=False):
            evaluation = ledger.get(id)
            assert isinstance(evaluation, Evaluation)
            at = gate["rounds"].index(decision.round)
            assert series["values"][at] == pytest.approx(evaluation.correct / evaluation.n)
            assert series["low"][at] <= series["values"][at] <= series["high"][at]
    passes = charts["First attempts that pass"]["series"]
    assert [one["label"] for one in passes] == ["pass@1", "pass@3"]
    watched = [one.values for one in ledger.find(Monitors)]
    for series in passes:
        assert series["values"] == pytest.approx([values[series["label"]] for values in watched])
    attempts = charts["Attempts"]["series"]
    assert sum(sum(one["values"]) for one in attempts) == ledger.count(Attempt)


def plain_counts(ledger: RunLedger, number: int) -> dict[str, Any]:
    """The same as `RoundCounts`, by reading every record of the round."""

    def here(kind: type[Record]) -> list[Any]:
        return ledger.find(kind, round=number)

    proposals, critiques, attempts = here(Proposal), here(Critique), here(Attempt)
    right = {one.attempt for one in critiques if one.correct}
    revised = [one for one in attempts if one.revises]
    samples: Counter[str] = Counter(one.task for one in attempts if not one.revises)
    passed: Counter[str] = Counter(one.task for one in attempts if not one.revises and one.id in right)
    tried = Counter((samples[task], passed[task]) for task in samples)
    recalls, adapters = here(Recall), here(Adapter)
    replies = here(Reply)
    return {
        "tasks": len({one.task for one in proposals if one.accepted}),
        "drawn": sum(one.origin == "drawn" and one.accepted for one in proposals),
        "invented": sum(one.origin == "invented" and one.accepted for one in proposals),
        "refused": list(Counter(one.reason for one in proposals if not one.accepted).most_common()),
        "levels": list({one.family: one.level for one in proposals if one.origin == "drawn"}.items()),
        "sources": plain_sources(proposals, attempts, right, here(Row)),
        "attempts": len(attempts),
        "right": sum(one.correct for one in critiques),
        "tried": sorted((n, won, tasks) for (n, won), tasks in tried.items()),
        "revised": len(revised),
        "rescued": sum(one.id in right for one in revised),
        "left_out": list(Counter(one.reason for one in here(Selection) if not one.chosen).most_common()),
        "rows": len(here(Row)),
        "recalls": len(recalls),
        "memories": sum(len(one.items) for one in recalls),
        "said": list(Counter(one.role for one in replies if one.error is None).items()),
        "lost": list(Counter(one.role for one in replies if one.error is not None).items()),
        "adapter": adapters[-1].id if adapters else None,
    }


def plain_sources(
    proposals: list[Proposal], attempts: list[Attempt], right: set[str], rows: list[Row]
) -> dict[str, dict[str, Any]]:
    """What became of each source's proposals; nothing here is rewarded, or grounded by agreement."""
    found = {}
    for source in dict.fromkeys(one.origin for one in proposals):
        mine = [one for one in proposals if one.origin == source]
        tasks = {one.task for one in mine if one.accepted}
        tried = [one for one in attempts if one.task in tasks and not one.revises]
        found[source] = {
            "proposed": len(mine),
            "accepted": sum(one.accepted for one in mine),
            "refused": dict(Counter(one.reason for one in mine if not one.accepted)),
            "agreed": 0,
            "attempts": len(tried),
            "right": sum(one.id in right for one in tried),
            "rows": sum(one.task in tasks for one in rows),
            "reward": None,
        }
    return found


def as_plain(found: RoundCounts) -> dict[str, Any]:
    return {
        **found.model_dump(),
        "tried": sorted((one.samples, one.right, one.tasks) for one in found.tried),
        **{name: list(getattr(found, name).items()) for name in ("refused", "levels", "left_out", "said", "lost")},
    }


def test_the_database_counts_as_a_reader_does(ledger: RunLedger) -> None:
    counted = count_rounds(ledger)
    assert list(counted) == [1, 2]
    for number, found in counted.items():
        assert as_plain(found) == plain_counts(ledger, number)
        assert count_tried(ledger, number) == (found.tasks, found.tasks)


def test_nothing_is_changed_by_looking(client: TestClient, ledger: RunLedger) -> None:
    before = ledger.digest()
    for path in ("", "/adapters", "/overview/result", "/overview/now", "/overview/rounds"):
        page(client, f"/runs/{ledger.run}{path}")
    assert ledger.digest() == before


@pytest.mark.slow
def test_a_hundred_thousand_events_are_counted_right_and_at_once(many: Path) -> None:
    place = Workspace(many)
    with place.ledger() as ledgers:
        ledger = ledgers.run()
        assert ledger.newest() > 100_000
        assert state(ledger.info, place) == "finished"
        counted = count_rounds(ledger)
        for number in (1, 10):
            assert as_plain(counted[number]) == plain_counts(ledger, number)
    with TestClient(create_app(many), base_url="http://127.0.0.1:8420") as client:
        for path in ("/runs/many-1", "/runs/many-1/adapters"):
            page(client, path)
            begun = time.process_time()
            page(client, path)
            assert time.process_time() - begun < 1, path
