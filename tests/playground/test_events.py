"""All events in order, page by page, without gaps or doubles, and only those that are asked for."""

from __future__ import annotations

import html
import os
import re

import pytest
from every_kind import OURS, every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.chronicle import Wanted, told
from quintet.memory.workspace import Workspace
from quintet.records import Attempt, Critique, Row, Stage


def walk(client: TestClient, address: str) -> list[int]:
    """All `seq`, page by page."""
    found, first = list[int](), True
    while address:
        page = client.get(address, headers={} if first else {"hx-request": "true"}).text
        found += seqs(page)
        more = re.search(r'class="following"><tr><td[^>]*><a [^>]*hx-get="([^"]+)"', page)
        address, first = html.unescape(more[1]) if more else "", False
    return found


def seqs(page: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'<td class="number muted">(\d+)</td>', page)]


def later(page: str) -> str:
    """Where news is asked for."""
    [found] = re.findall(r'<tbody hx-get="([^"]+)" hx-trigger="quintet:news from:body"', page)
    return html.unescape(found)


def test_every_event_once_both_ways(client: TestClient, ledger: RunLedger):
    recorded = [event.seq for event in ledger.events(limit=100_000)]
    here = f"/runs/{ledger.run}/events"
    assert len(recorded) > 300
    assert walk(client, here) == recorded
    assert walk(client, f"{here}?order=newest") == recorded[::-1]


def test_another_runs_events_are_not_among_them(client: TestClient, ledger: RunLedger):
    other = ledger.ledger.begin("other", 0, {})
    other.add(Stage(round=1, name="elsewhere"))
    assert len(walk(client, "/runs/other/events")) == 1
    assert "elsewhere" not in client.get(f"/runs/{ledger.run}/events?order=newest").text


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"kind": "row"}, lambda event: event.kind == "row"),
        ({"round": "1"}, lambda event: event.round == 1),
        ({"role": "critic"}, lambda event: event.role == "critic" or event.kind in ("critique", "lesson")),
        (
            {"kind": "call", "role": "solver", "round": "2"},
            lambda e: (e.kind, e.role, e.round) == ("call", "solver", 2),
        ),
        ({"q": "attempt-"}, lambda event: event.kind == "attempt"),
    ],
)
def test_filters(client: TestClient, ledger: RunLedger, query: dict[str, str], fits):
    expected = [event.seq for event in ledger.events(limit=100_000) if fits(event)]
    address = f"/runs/{ledger.run}/events?" + "&".join(f"{name}={value}" for name, value in query.items())
    assert expected
    assert walk(client, address) == expected
    assert walk(client, f"{address}&order=newest") == expected[::-1]
    if "q" not in query:
        assert f"<b>{len(expected):,}</b> event" in client.get(address).text


def test_words_and_ids_are_found(ledger: RunLedger):
    made = every_kind('a Zebra\'s "100%" \\ words_')
    ledger.add(*made.values())
    for words in ("zebra's", '"100%" \\', "words_", "A ZEBRA"):
        kinds = {event.kind for event in told(ledger, Wanted(text=words), after=0, limit=1000)}
        assert {"task", "attempt", "critique", "lesson", "row", "decision", "selection"} <= kinds, words
    # What a joined role replied is searched as JSON.
    assert [event.kind for event in told(ledger, Wanted(text="zebra", kind="reply"), after=0)] == ["reply"]
    assert not told(ledger, Wanted(text="zebra_s"), after=0)
    assert not told(ledger, Wanted(text="near-fa"), after=0)
    row = made["row"]
    assert [event.id for event in told(ledger, Wanted(text=row.id[:-4]), after=0)] == [row.id]


def test_what_came_of_a_record_and_what_it_came_from(client: TestClient, ledger: RunLedger):
    attempt = ledger.find(Attempt)[0]
    for asked, ids in (("came-of", ledger.children(attempt.id)), ("led-to", ledger.parents(attempt.id))):
        page = client.get(f"/runs/{ledger.run}/events?{asked}={attempt.id}").text
        assert set(re.findall(r'<a href="[^"]+/records/([\w-]+)"', page)) == set(ids)
        assert f"<b>{len(ids)}</b>" in page
    assert any(id.startswith(Critique.kind) for id in ledger.children(attempt.id))


def test_each_line_names_role_and_kind_and_the_machinerys_are_dim(client: TestClient, ledger: RunLedger):
    page = client.get(f"/runs/{ledger.run}/events?kind=stage").text
    assert len(re.findall(r'<tr data-step class="dim">', page)) == ledger.count(Stage)
    page = client.get(f"/runs/{ledger.run}/events?kind=row").text
    assert page.count('<span class="role role-curator">curator</span>') == ledger.count(Row)
    page = client.get(f"/runs/{ledger.run}/events?kind=reply").text
    assert re.search(r'class="role hue-\d">skeptic', page)


def test_every_kind_has_a_line_and_no_text_is_html(client: TestClient, ledger: RunLedger):
    ledger.add(*every_kind().values())
    for order in ("", "?order=newest", "?q=<script>", '?kind="><b>', '?role="><b>', '?came-of="><b>', '?led-to="><b>'):
        reply = client.get(f"/runs/{ledger.run}/events{order}")
        assert reply.status_code == 200
        assert "<script>alert" not in reply.text
        assert '"><b>"' not in reply.text
    kinds = set(re.findall(r"/records/([a-z]+)-", client.get(f"/runs/{ledger.run}/events?round=7").text))
    assert OURS - {"task"} <= kinds


def test_news_comes_without_gaps_or_doubles(client: TestClient, ledger: RunLedger, workspace):
    with Workspace(workspace).claim(ledger.run):
        ledger.update(status="running", pid=os.getpid())
        here = f"/runs/{ledger.run}/events?kind=stage"
        for order in ("", "&order=newest"):
            page = client.get(here + order).text
            seen, address = seqs(page), later(page)
            for batch in (0, 3, 250, 1):
                ledger.add(*(Stage(round=50 + batch, name=f"{order} {batch} {n}") for n in range(batch)))
                # A browser asks once a second; news of 250 comes in several pieces.
                for _ in range(4):
                    part = client.get(address, headers={"hx-request": "true"}).text
                    assert "<html" not in part
                    more = re.search(r'class="following"><tr><td[^>]*><a [^>]*hx-get="([^"]+)"', part)
                    seen = seqs(part) + seen if order else seen + seqs(part)
                    address = html.unescape(more[1]) if more else later(part)
            stages = [event.seq for event in ledger.events(limit=100_000, kinds=[Stage])]
            assert seen == (stages[::-1][: len(seen)] if order else stages)


def test_a_finished_run_waits_for_no_news(client: TestClient, ledger: RunLedger):
    for order in ("", "?order=newest", "?order=newest&kind=nothing"):
        assert "quintet:news" not in client.get(f"/runs/{ledger.run}/events{order}").text


@pytest.mark.parametrize(
    "query", ["after=x", "after=-5", "before=" + "9" * 30, "round=" + "9" * 30, "round=1.5", "order=x"]
)
def test_nonsense_is_no_error(client: TestClient, ledger: RunLedger, query: str):
    assert client.get(f"/runs/{ledger.run}/events?{query}").status_code == 200


def test_an_unknown_run_is_not_found(client: TestClient):
    assert client.get("/runs/nowhere/events").status_code == 404
