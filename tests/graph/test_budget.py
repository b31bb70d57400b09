"""Budgets: no run takes more than it may, nothing that was recorded is lost, and a larger budget goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.graph.report import overview
from quintet.memory.workspace import Workspace
from quintet.records import Stage, Verification


def run(model: Path, workspace: Path, **changes: Any) -> list[dict[str, Any]]:
    loop = Loop(tiny_settings(model, **changes), tasks=[Parity()], workspace=workspace)
    return list(loop.stream())


def resumed(workspace: Path, **budget: Any) -> list[dict[str, Any]]:
    return list(Loop.resume(workspace=workspace, budget=budget, tasks=[Parity()]).stream())


def spent(events: list[dict[str, Any]]) -> list[str]:
    return [event["text"] for event in events if event["event"] == "spent"]


@pytest.fixture(scope="module")
def unbroken(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """Digest and tokens of a run without a budget."""
    workspace = tmp_path_factory.mktemp("unbroken")
    run(tiny_model_folder, workspace)
    with Workspace(workspace).ledger() as ledgers:
        return ledgers.run().digest(), ledgers.run().tokens()


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.35])
def test_tokens_run_out_and_a_larger_budget_goes_on_to_the_same_ledger(
    share: float, unbroken: tuple[str, int], tiny_model_folder: Path, tmp_path: Path
) -> None:
    digest, tokens = unbroken
    limit = int(share * tokens)
    events = run(tiny_model_folder, tmp_path, budget={"tokens": limit})
    [why] = spent(events)
    assert why.startswith(f"the budget of {limit:,} tokens is spent, ")
    assert why.endswith(" of it on calls that were cut off and are asked again on resume")
    assert overview(tmp_path)[0].status == "out of budget"
    with Workspace(tmp_path).ledger() as ledgers:
        assert ledgers.run().tokens() <= limit
    again = resumed(tmp_path)
    assert spent(again), "the same budget is still spent"
    assert spent(resumed(tmp_path, tokens=0)) == []
    with Workspace(tmp_path).ledger() as ledgers:
        assert ledgers.run().digest() == digest


def test_seconds_run_out(tiny_model_folder: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    events = run(tiny_model_folder, tmp_path, budget={"seconds": 0.5})
    assert spent(events) == ["the budget of 0.5 seconds is spent"]
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_no_round_begins_that_would_leave_nothing_for_the_final_suite(
    unbroken: tuple[str, int], tiny_model_folder: Path, tmp_path: Path
) -> None:
    limit = int(0.9 * unbroken[1])
    events = run(tiny_model_folder, tmp_path, budget={"tokens": limit})
    said = [event["text"] for event in events if event["event"] == "said"]
    assert any("the run ends with round 1" in text for text in said), said
    assert not spent(events)
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run()
        assert ledger.find(Verification)
        assert {stage.round for stage in ledger.find(Stage)} == {1}
        assert ledger.tokens() <= limit
