"""Lineage both ways: drawn, and as a list that says the same; large families are counted."""

from __future__ import annotations

import html
import re
import time

import pytest
from every_kind import every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.kinship import FAN, PICKED, kinship
from quintet.playground.layers import layers, needed
from quintet.records import KINDS, Adapter, Attempt, Call, Completion, Decision, Evaluation, Message, Row, Task


def linked(page: str, run: str) -> tuple[list[str], list[str]]:
    """Ids in the drawing, and in the list."""
    drawing, rest = page.split("</svg>")
    pattern = rf'href="/runs/{run}/lineage/([\w-]+)"'
    return re.findall(pattern, drawing.split("<svg")[1]), re.findall(pattern, rest)


def test_a_row_leads_from_its_task_to_the_decision(client: TestClient, ledger: RunLedger):
    made = every_kind("fine words")
    ledger.add(*made.values())
    page = client.get(f"/runs/{ledger.run}/lineage/{made['row'].id}").text
    drawn, listed = linked(page, ledger.run)
    for kind in ("task", "proposal", "recall", "call", "attempt", "critique", "selection", "adapter", "decision"):
        assert made[kind].id in drawn, kind
        assert made[kind].id in listed, kind
    assert sorted(set(drawn) - {made["row"].id}) == sorted(listed)
    assert len(listed) == len(set(listed))
    story = " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())
    assert "Row of round 7: attempt 1 of “What is fine words?” was right (verifier 1), chosen because right;" in story
    assert "which was promoted: 41 items won, 6 lost, p = 4e-7" in story
    assert re.search(r'<a [^>]*class="node role-curator chosen"', page)


def test_the_drawing_is_for_the_eye_the_list_for_all(client: TestClient, ledger: RunLedger):
    page = client.get(f"/runs/{ledger.run}/lineage/{ledger.find(Row)[0].id}").text
    assert '<div class="graph scroll" aria-hidden="true"' in page
    drawing = page.split("<svg")[1].split("</svg>")[0]
    assert drawing.count("<a ") == drawing.count('tabindex="-1"')


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_lineage_and_no_text_is_html(client: TestClient, ledger: RunLedger, kind: str):
    made = every_kind()
    ledger.add(*made.values())
    reply = client.get(f"/runs/{ledger.run}/lineage/{made[kind].id}")
    assert reply.status_code == 200
    assert "<script>alert" not in reply.text
    assert "<img" not in reply.text
    assert " style=" not in reply.text


def spoken(ledger: RunLedger, number: int) -> tuple[Adapter, Task]:
    """An adapter of many rows that made as many attempts at one task."""
    task = Task(family="sums", level=0, question="Again?", canonical="again", truth={})
    rows = [
        Row(
            round=1,
            task=task.id,
            attempt=f"attempt-{n:016x}",
            selection=f"selection-{n:016x}",
            prompt=(Message(role="user", content="Again?"),),
            completion=str(n),
        )
        for n in range(500)
    ]
    adapter = Adapter(round=1, rows=tuple(row.id for row in rows), recipe={}, weights="cd" * 32)
    call = Call(
        request="again",
        round=2,
        role="solver",
        task=task.id,
        model="tiny",
        adapter=adapter.id,
        messages=(Message(role="user", content="Again?"),),
        completions=(Completion(text="1"),),
    )
    attempts = [
        Attempt(
            round=2,
            task=task.id,
            call=call.id,
            adapter=adapter.id,
            sample=n,
            turn=0,
            text=str(n),
            answer=None,
            strict_answer=None,
        )
        for n in range(number)
    ]
    ledger.add(task, *rows, adapter, call, *attempts)
    return adapter, task


def test_large_families_are_bundled_with_a_link_to_all(client: TestClient, ledger: RunLedger):
    adapter, task = spoken(ledger, 3000)
    page = client.get(f"/runs/{ledger.run}/lineage/{adapter.id}").text
    assert ">500 rows<" in page
    assert f'href="/runs/{ledger.run}/rows?adapter={adapter.id}"' in page
    assert ">3,000 attempts<" in page
    link = f"/runs/{ledger.run}/events?came-of={adapter.id}&kind=attempt"
    assert link in html.unescape(page)
    assert "<b>3,000</b> events" in client.get(link).text
    page = client.get(f"/runs/{ledger.run}/lineage/{task.id}").text
    assert f">{3000 - PICKED:,} more attempts<" in page
    started = time.perf_counter()
    assert client.get(f"/runs/{ledger.run}/lineage/{adapter.id}").status_code == 200
    assert time.perf_counter() - started < 1


def test_few_are_listed_and_all_have_what_they_hang_on(ledger: RunLedger):
    adapter, task = spoken(ledger, 40)
    for id in (adapter.id, task.id, ledger.find(Row)[0].id, ledger.find(Decision)[0].id):
        found = kinship(ledger, id)
        assert next(iter(found.kin)) == id
        for one in list(found.kin.values())[1:]:
            assert found.kin[one.via].depth in (one.depth - 1, one.depth)
        for fan in found.fans:
            assert fan.of in found.kin
            assert fan.count > 0
        for parent, child in found.links:
            assert {parent, child} <= set(found.kin)
    assert sum(one.id.startswith("attempt-") for one in kinship(ledger, task.id).kin.values()) == PICKED <= FAN


def test_an_evaluation_and_its_many_items(client: TestClient, ledger: RunLedger):
    one = max(ledger.find(Evaluation), key=lambda evaluation: evaluation.n)
    if one.n > FAN:
        assert f">{one.n:,} tasks<" in client.get(f"/runs/{ledger.run}/lineage/{one.id}").text


def test_layers_follow_what_came_of_what():
    links = [("task", "call"), ("call", "attempt"), ("task", "attempt"), ("attempt", "row"), ("adapter", "call")]
    at = layers(["row", "adapter", "attempt", "call", "task"], links)
    assert at == {"task": 0, "adapter": 0, "call": 1, "attempt": 2, "row": 3}
    assert ("task", "attempt") not in needed(links)
    assert set(needed(links)) == set(links) - {("task", "attempt")}
    assert layers(["a", "b"], [("a", "b"), ("b", "a")]).keys() == {"a", "b"}
    assert needed([("a", "b"), ("b", "a")])


def test_an_unknown_record_has_none(client: TestClient, ledger: RunLedger):
    assert client.get(f"/runs/{ledger.run}/lineage/row-0").status_code == 404
    assert client.get("/runs/nowhere/lineage/row-0").status_code == 404
