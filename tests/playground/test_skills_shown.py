"""Skills and personas in the playground: at the attempt that they came of, in the memory, and as records."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_kind import HOSTILE, every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import Attempt, Persona, Proposal, Reward, Skill


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[RunLedger]:
    """A run with a record of every kind."""
    with Workspace(tmp_path / "runs").ledger() as ledgers:
        ledger = ledgers.begin("made-1", 0, {})
        ledger.add(*every_kind(round=1).values())
        yield ledger


@pytest.fixture
def client(ledger: RunLedger, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(tmp_path / "runs"), base_url="http://127.0.0.1") as client:
        yield client


def test_an_attempt_says_which_skill_it_was_kept_as(client: TestClient, ledger: RunLedger) -> None:
    [skill] = ledger.find(Skill)
    page = client.get(f"/runs/made-1/tasks/{skill.task}").text
    assert page.count(f'id="{skill.id}"') == 1
    assert "Kept as a skill" in page
    assert f"/runs/made-1/records/{skill.id}" in page
    assert HOSTILE not in page


@pytest.mark.parametrize("kind", ["skill", "persona"])
def test_their_records_can_be_read_whole(kind: str, client: TestClient, ledger: RunLedger) -> None:
    record = every_kind(round=1)[kind]
    page = client.get(f"/runs/made-1/records/{record.id}")
    assert page.status_code == 200
    assert "&lt;script&gt;alert(1)" in page.text
    assert HOSTILE not in page.text


def test_skills_are_counted_among_the_memories(client: TestClient, ledger: RunLedger) -> None:
    [proposal] = ledger.find(Proposal)
    assert proposal.task
    page = client.get("/runs/made-1/memory").text
    assert "Skills" in page
    assert 'value="skill"' in page


def test_skills_and_personas_stand_on_the_page_of_the_memory(client: TestClient, ledger: RunLedger) -> None:
    [skill] = ledger.find(Skill)
    [kept] = ledger.find(Persona)
    [attempt] = ledger.find(Attempt)
    old, new = "evaluation-000000000000000a", "evaluation-000000000000000b"
    dropped = Persona(round=0, role="solver", text="You are slow.", reason="refused: too long")
    later = kept.with_(
        text="You are quick.",
        reason="kept: 9 items won",
        evaluations=(old, new),
        effect=0.12,
        effect_low=0.05,
        effect_high=0.2,
        p_value=0.004,
    )
    ledger.add(
        skill.with_(name="quadruple", about="Four times as much.", code="def quadruple(x): ...", uses=(skill.id,)),
        dropped,
        later.with_(role="solver"),
    )
    page = client.get("/runs/made-1/memory").text
    assert HOSTILE not in page
    assert "def quadruple(x): ..." in page
    assert re.search(rf"calls <a [^>]*/records/{skill.id}", page)
    assert f"/runs/made-1/tasks/{skill.task}#{attempt.id}" in page
    table = page.partition('id="personas"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr data-step>(.*?)</tr>", table, re.S)
    assert [
        ("You are quick." in row, "You are slow." in row, "kept</span>" in row, "in use" in row) for row in rows
    ] == [
        (True, False, True, True),
        (False, True, False, False),
        # Of another role, whose newest it is.
        (False, False, True, True),
    ]
    assert "+12.0 <small>[+5.0, +20.0]</small>" in rows[0]
    assert all(f"/runs/made-1/records/{id}" in rows[0] for id in (old, new))
    assert "refused: too long" in rows[1]
    assert "+0.0" not in rows[1]


def test_what_a_proposal_earned_stands_beside_it(client: TestClient, ledger: RunLedger) -> None:
    [proposal] = ledger.find(Proposal)
    reward = Reward(round=1, role="proposer", about=proposal.id, value=0.75, reason="learnability of pass rate 0.25")
    ledger.add(reward)
    page = client.get(f"/runs/made-1/tasks/{proposal.task}").text
    assert re.search(rf'/records/{reward.id}" title="learnability of pass rate 0.25">reward 0.75</a>', page)


def test_a_reason_leads_to_the_proposals_that_were_refused_for_it(client: TestClient, ledger: RunLedger) -> None:
    values = {"round": 1, "origin": "invented", "number": 1, "family": "sums", "level": 1, "accepted": False}
    refused = Proposal(**values, reason="no agreement")
    ledger.add(refused)
    page = client.get("/runs/made-1").text
    [address] = re.findall(r'<a href="([^"]+)"[^>]*>no agreement</a>', page)
    events = client.get(html.unescape(address)).text
    assert refused.id in events
    assert ledger.find(Proposal)[0].id not in events


@pytest.mark.parametrize(
    ("kind", "words"), [("skill", "fine words"), ("persona", "fine words"), ("reward", "fine words")]
)
def test_events_are_found_by_the_words_of_these_kinds_too(
    client: TestClient, ledger: RunLedger, kind: str, words: str
) -> None:
    made = every_kind(words, round=2)
    ledger.add(*made.values())
    page = client.get(f"/runs/made-1/events?kind={kind}&q=fine").text
    assert made[kind].id in page
