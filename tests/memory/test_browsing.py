"""A reader of a memory gets the same from the index and from the ledger, and an answer where there is no index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from remembered import make_task, proposed

from quintet.memory import browsing
from quintet.memory.entries import Remembered
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.views import Asked
from quintet.memory.workspace import Workspace

TASKS = [make_task(f"What is {n} + {n * n}?") for n in range(4)]


def fill(run: RunLedger) -> None:
    run.add(*(record for n, task in enumerate(TASKS) for record in proposed(task, n)))


def test_both_ways_call_retired_what_is_retired_now(run: RunLedger, workspace: Workspace):
    fill(run)
    Remembered(run).retire([TASKS[0].id], "wrong", round=3)
    Remembered(run).retire([TASKS[1].id], "wrong", round=1)
    Remembered(run).restore([TASKS[1].id], "right after all", round=3)
    asked = Asked(text="What is 1 + 1?", before=3, count=9)
    by_index = browsing.search(workspace.path, asked)
    with workspace.claim("a run"):
        by_ledger = browsing.search(workspace.path, asked)
    assert (by_index.through, by_ledger.through) == ("index", "ledger")
    assert {found.id for found in by_index.found} == {TASKS[1].id, TASKS[2].id}
    assert [found.id for found in by_index.found] == [found.id for found in by_ledger.found]
    assert "is in use: 2 memories were read from the ledger" in by_ledger.note


def test_a_server_that_is_away_leaves_the_ledger(ledger: Ledger, workspace: Workspace):
    fill(ledger.begin("away", 0, {"memory": {"index": "http://127.0.0.1:9"}}))
    found = browsing.search(workspace.path, Asked(text="What is 1 + 1?", count=9))
    assert (found.through, len(found.found)) == ("ledger", 4)
    assert "no Chroma server answers at http://127.0.0.1:9" in found.note
    stats = browsing.stats(workspace.path)
    assert (stats.memories["task"], stats.indexed) == (4, None)
    assert "no Chroma server answers" in stats.state


def test_a_run_that_begins_just_then_leaves_the_ledger(
    run: RunLedger, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    fill(run)

    @contextmanager
    def taken(self: Workspace, who: str) -> Iterator[None]:
        raise LedgerError("in use by run 'next'")
        yield

    monkeypatch.setattr(Workspace, "claim", taken)
    found = browsing.search(workspace.path, Asked(text="What is 1 + 1?", count=9))
    assert (found.through, len(found.found)) == ("ledger", 4)
    assert browsing.stats(workspace.path).state == "in use by run 'next'"


def test_the_workspace_is_not_held_while_the_embedder_loads(
    run: RunLedger, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    from quintet.memory.embedder import Embedder

    fill(run)
    load, held = Embedder._model.func, list[object]()  # type: ignore[attr-defined]

    def loading(self: Embedder) -> object:
        held.append(workspace.holder())
        self.__dict__["_model"] = load(self)
        return self.__dict__["_model"]

    monkeypatch.setattr(Embedder, "_model", property(loading))
    assert browsing.search(workspace.path, Asked(text="What is 1 + 1?")).through == "index"
    assert held[0] is None
