"""Skills and personas in the playground: at the attempt that they came of, in the memory, and as records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from every_kind import HOSTILE, every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import Proposal, Skill


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
