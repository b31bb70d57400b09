"""The command line: quick to answer, one line for what is wrong, JSON and nothing else where asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def quintet(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quintet.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False)


def test_help_answers_in_under_half_a_second() -> None:
    best = float("inf")
    for _ in range(3):
        begun = time.monotonic()
        assert quintet("--help").returncode == 0
        best = min(best, time.monotonic() - begun)
    assert best < 0.5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "nowhere.toml"], ["nowhere.toml", "No such file"]),
        (["run", "examples/arithmetic.toml", "--set", "solver.sampels=2"], ["solver.sampels", "solver.samples"]),
        (
            ["run", "examples/arithmetic.toml", "--set", "proposer.families=['chain_summ']"],
            ["chain_summ", "chain_sum"],
        ),
        (["run", "examples/arithmetic.toml", "--set", "model.name=no-such-model"], ["no-such-model"]),
        (
            ["run", "examples/arithmetic.toml", "--set", "evaluation.gate_items=9999"],
            ["gate suite", "chain_sum", "gate_items"],
        ),
        (["show", "nobody-1"], ["no runs"]),
        (["lineage", "task-0000"], ["no runs"]),
        (["resume"], ["no runs"]),
        (["eval", "--suite", "steer"], ["no runs"]),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments: list[str], parts: list[str], tmp_path: Path) -> None:
    found = quintet(*arguments, "--workspace", str(tmp_path))
    lines = [line for line in found.stderr.splitlines() if line.startswith("quintet:")]
    assert found.returncode == 2, found.stderr
    assert len(lines) == 1
    assert "Traceback" not in found.stderr
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("arguments", [["show"], ["runs"], ["adapters"], ["lineage", "task-0"]])
def test_reading_creates_no_workspace(arguments: list[str], tmp_path: Path) -> None:
    quintet(*arguments, "--workspace", str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_an_empty_workspace_has_no_runs(tmp_path: Path) -> None:
    found = quintet("runs", "--json", "--workspace", str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == []


def test_roles_and_tasks_are_listed_as_json() -> None:
    roles = json.loads(quintet("roles", "--json").stdout)
    assert [role["role"] for role in roles][:2] == ["proposer", "solver"]
    tasks = {task["family"]: task for task in json.loads(quintet("tasks", "--json").stdout)}
    assert len(tasks) >= 102
    assert tasks["chain_sum"]["levels"] > 3


@pytest.mark.slow
def test_the_doctor_finds_everything_that_the_loop_needs() -> None:
    found = quintet("doctor", "--json")
    findings = json.loads(found.stdout)
    assert found.returncode == 0, findings
    assert all(finding["ok"] for finding in findings if finding["needed"])
