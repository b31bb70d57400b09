"""The training set: why a row is in it and what came of it, and why the other attempts are not."""

from __future__ import annotations

import html
import re
from collections import Counter

import pytest
from every_kind import every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.trainset import ANY, Sought, choice_of, choices, counts
from quintet.records import Adapter, Attempt, Message, Row, Selection, Task


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def many(ledger: RunLedger, number: int, round: int = 9) -> list[Row]:
    """So many rows of as many tasks, an attempt left out beside each."""
    rows = []
    for n in range(number):
        task = Task(family="plums", level=n % 3, question=f"How many plums, {n}?", canonical=f"plums {n}", truth={})
        good, bad = (
            Attempt(
                round=round,
                task=task.id,
                call="call-0000000000000000",
                sample=sample,
                turn=0,
                text=f"{text} {n}",
                answer=None,
                strict_answer=None,
            )
            for sample, text in enumerate(("Sweet ones:", "Sour ones:"))
        )
        chosen, refused = (
            Selection(round=round, task=task.id, attempt=one.id, chosen=one is good, reason=reason)
            for one, reason in ((good, "ripe"), (bad, f"not ripe, {n % 2}"))
        )
        row = Row(
            round=round,
            task=task.id,
            attempt=good.id,
            selection=chosen.id,
            prompt=(Message(role="system", content="Count fruit."), Message(role="user", content=f"Plums {n}?")),
            completion=good.text,
        )
        ledger.add(task, good, bad, chosen, refused, row)
        rows.append(row)
    return rows


def walk(client: TestClient, address: str) -> list[str]:
    """Ids of all rows or selections, page by page, as a browser fetches them."""
    found, first = list[str](), True
    while address:
        page = client.get(address, headers={} if first else {"hx-request": "true"}).text
        found += re.findall(r'<a class="id" href="[^"]+/records/((?:row|selection)-\w+)"', page)
        more = re.search(r'class="following"><a [^>]*hx-get="([^"]+)"', page)
        address, first = html.unescape(more[1]) if more else "", False
    return found


def test_every_row_is_there_once_in_order(client: TestClient, ledger: RunLedger):
    rows = ledger.find(Row) + many(ledger, 120)
    assert walk(client, f"/runs/{ledger.run}/rows") == [row.id for row in rows]


def test_every_attempt_left_out_is_there_once(client: TestClient, ledger: RunLedger):
    many(ledger, 60)
    refused = [one for one in ledger.find(Selection) if not one.chosen]
    assert walk(client, f"/runs/{ledger.run}/rows?left-out=*") == [one.id for one in refused]
    odd = [one.id for one in refused if one.reason == "not ripe, 1"]
    assert walk(client, f"/runs/{ledger.run}/rows?left-out=not ripe, 1") == odd


def test_a_row_says_why_and_what_came_of_it(client: TestClient, ledger: RunLedger):
    made = every_kind("fine words")
    ledger.add(*made.values())
    page = client.get(f"/runs/{ledger.run}/rows", params={"adapter": made["adapter"].id}).text
    said = text_of(page)
    for words in (
        "What is fine words?",
        "right; fine words",
        "fine words 0.25",
        "weight 0.5",
        f"in {made['adapter'].id[:14]} : promoted , +15.6 points, later taken back",
    ):
        assert words in said
    assert f'href="/runs/{ledger.run}/lineage/{made["row"].id}"' in page
    assert f'href="/runs/{ledger.run}/tasks/{made["task"].id}#{made["attempt"].id}"' in page
    assert "hidden" not in said


def test_filters_by_round_family_adapter_and_words(client: TestClient, ledger: RunLedger):
    rows = many(ledger, 60)
    adapter = Adapter(round=9, rows=tuple(row.id for row in rows[:3]), recipe={}, weights="ab" * 32)
    ledger.add(adapter)
    here = f"/runs/{ledger.run}/rows"
    assert walk(client, f"{here}?round=9") == [row.id for row in rows]
    assert walk(client, f"{here}?family=plums") == [row.id for row in rows]
    assert walk(client, f"{here}?adapter={adapter.id}") == [row.id for row in rows[:3]]
    assert walk(client, f"{here}?q=SWEET ones: 17") == [rows[17].id]
    assert walk(client, f"{here}?q=plums 17?") == [rows[17].id]
    assert walk(client, f"{here}?q=count FRUIT") == [row.id for row in rows]
    assert walk(client, f"{here}?q=%25") == walk(client, f"{here}?q=role") == []
    assert len(walk(client, f"{here}?left-out=*&q=sour ones: 4")) == 11
    assert "Nothing matches." in client.get(f"{here}?q=nowhere").text


def test_counts_add_up(ledger: RunLedger):
    many(ledger, 10)
    rows, selections = ledger.find(Row), ledger.find(Selection)
    families = {task.id: task.family for task in ledger.find(Task)}
    found = counts(ledger)
    assert found.rows == len(rows)
    assert found.rounds == dict(sorted(Counter(row.round for row in rows).items()))
    assert found.families == dict(Counter(families[row.task] for row in rows))
    assert found.left_out == dict(Counter(one.reason for one in selections if not one.chosen))
    assert list(found.left_out.values()) == sorted(found.left_out.values(), reverse=True)
    nine = counts(ledger, round=9, family="plums")
    assert (nine.rows, nine.rounds, nine.families) == (10, {9: 10}, {"plums": 10})
    assert nine.left_out == {"not ripe, 0": 5, "not ripe, 1": 5}


def test_counts_are_links(client: TestClient, ledger: RunLedger):
    many(ledger, 4)
    page = client.get(f"/runs/{ledger.run}/rows").text
    link = re.search(r'<a href="([^"]+)">not ripe, 1 2</a>', page)
    assert link
    assert len(walk(client, html.unescape(link[1]))) == 2
    assert "4 plums" in text_of(page)
    assert "4 in round 9" in text_of(page)


def test_a_row_without_its_past_is_still_a_row(client: TestClient, ledger: RunLedger):
    row = every_kind("lonely")["row"]
    ledger.add(row)
    assert row.id in client.get(f"/runs/{ledger.run}/rows").text
    [found] = [one for one in choices(ledger, Sought(), limit=10_000) if one.row and one.row.id == row.id]
    assert (found.selection, found.attempt, found.task, found.critique) == (None, None, None, None)


def test_hostile_words_are_only_words(client: TestClient, ledger: RunLedger):
    made = every_kind()
    left_out = made["selection"].with_(chosen=False, reason="<b>no</b>")
    ledger.add(*made.values(), left_out)
    for query in ("", "?left-out=*", "?left-out=<b>no</b>", "?q=<script>", '?family="><i>', '?adapter="><i>', "?q=<i>"):
        reply = client.get(f"/runs/{ledger.run}/rows{query}")
        assert reply.status_code == 200
        assert "<script>alert" not in reply.text
        assert "<b>no" not in reply.text
        assert "<i>" not in reply.text


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=9" + "9" * 40, "round=9" + "9" * 40, "after=0", "round="]
)
def test_nonsense_is_no_error(client: TestClient, ledger: RunLedger, query: str):
    assert client.get(f"/runs/{ledger.run}/rows?{query}").status_code == 200


def test_a_run_without_rows_says_so(client: TestClient, ledger: RunLedger):
    ledger.ledger.begin("young", 0, {})
    assert "No rows yet." in client.get("/runs/young/rows").text
    assert client.get("/runs/old/rows").status_code == 404


def test_the_choice_behind_a_record(ledger: RunLedger):
    row = ledger.find(Row)[0]
    for id in (row.id, row.selection, row.attempt):
        found = choice_of(ledger, id)
        assert found
        assert found.row == row
    refused = next(one for one in ledger.find(Selection) if not one.chosen)
    found = choice_of(ledger, refused.attempt)
    assert found
    assert (found.row, found.selection) == (None, refused)
    assert choice_of(ledger, ledger.find(Adapter)[0].id) is None
    assert len(choices(ledger, Sought(reason=ANY), limit=3)) == 3
