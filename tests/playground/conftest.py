"""A finished run of the tiny loop with a sixth role at the table, and the playground on it, in process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from many import many_run
from starlette.testclient import TestClient
from tiny import tiny_settings

from quintet import Loop
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import Adapter, Decision

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def played(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a run with the Skeptic at the table; both adapters are promoted, whatever the gate said."""
    workspace = tmp_path_factory.mktemp("played") / "runs"
    join = (f"{TESTS / 'parity.py'}:Parity", f"{TESTS.parent / 'examples' / 'skeptic.py'}:Skeptic")
    Loop(tiny_settings(tiny_model_folder, join=join), workspace=workspace).run()
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        for adapter in ledger.find(Adapter):
            ledger.add(Decision(round=adapter.round, candidate=adapter.id, promoted=True, reason="for the test"))
    return workspace


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a made-up run `many-1` of more than 100,000 events; for reading only."""
    return many_run(tmp_path_factory.mktemp("many") / "runs")


@pytest.fixture
def workspace(played: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(played, tmp_path / "runs"))


@pytest.fixture
def ledger(workspace: Path) -> Iterator[RunLedger]:
    """The ledger of the run in `workspace`."""
    with Workspace(workspace).ledger() as ledgers:
        yield ledgers.run()


@pytest.fixture
def client(workspace: Path) -> Iterator[TestClient]:
    """Asks the playground of `workspace`."""
    with TestClient(create_app(workspace), base_url="http://127.0.0.1:8420") as asking:
        yield asking
