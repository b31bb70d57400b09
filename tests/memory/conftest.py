"""Records to remember, and one embedder for the whole session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quintet.memory.embedder import Embedder
from quintet.memory.index import Index
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.memory import Memory
from quintet.memory.settings import MemorySettings
from quintet.memory.workspace import Workspace


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


@pytest.fixture
def ledger(workspace: Workspace) -> Iterator[Ledger]:
    with workspace.ledger() as ledger:
        yield ledger


@pytest.fixture
def run(ledger: Ledger) -> RunLedger:
    return ledger.begin("first", 0, {"rounds": 3})


@pytest.fixture
def remembering(workspace: Workspace, embedder: Embedder) -> Iterator[Callable[..., Memory]]:
    """Makes memories over the workspace's one index, and closes them."""
    opened: list[Memory] = []

    def make(run: RunLedger, settings: MemorySettings | None = None) -> Memory:
        index = Index(workspace.chroma, settings)
        index.embedder = embedder
        opened.append(Memory(run, index, settings))
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()
