"""A finished run of the tiny loop, made once; each test gets a copy of its workspace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tiny import tiny_settings

from quintet import Loop
from quintet.cli import main
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Decision

PARITY = Path(__file__).parents[1] / "parity.py"


@pytest.fixture(scope="session")
def finished_run(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a run with two adapters; both are promoted, whatever the gate said of a random model."""
    workspace = tmp_path_factory.mktemp("finished") / "runs"
    Loop(tiny_settings(tiny_model_folder, join=(f"{PARITY}:Parity",)), workspace=workspace).run()
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        for adapter in ledger.find(Adapter):
            ledger.add(Decision(round=adapter.round, candidate=adapter.id, promoted=True, reason="for the test"))
    return workspace


@pytest.fixture
def workspace(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished_run, tmp_path / "runs"))


@pytest.fixture
def quintet(workspace: Path) -> Callable[..., Result]:
    """Types a command."""

    def typed(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(main, [*arguments, "--workspace", str(workspace)], input=given)

    return typed


@pytest.fixture
def answered(quintet: Callable[..., Result]) -> Callable[..., Any]:
    """Types a command with `--json`, and reads what it prints."""

    def typed(*arguments: str, given: str | None = None) -> Any:
        result = quintet(*arguments, "--json", given=given)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return typed
