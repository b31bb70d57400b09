"""`show`, `export jsonl`, hints and completion on a finished run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from parity import CANARY

from quintet.cli import main
from quintet.graph.hints import hints
from quintet.graph.report import report
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Reply, Row

Typed = Callable[..., Result]


def test_rows_are_exported_as_conversations_and_no_truth_is_in_them(
    quintet: Typed, workspace: Path, tmp_path: Path
) -> None:
    result = quintet("export", "tiny-1", "jsonl", str(tmp_path / "rows.jsonl"))
    assert result.exit_code == 0, result.output
    text = (tmp_path / "rows.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        recorded, adapters = ledger.find(Row), ledger.find(Adapter)
    assert [row["id"] for row in rows] == [row.id for row in recorded]
    assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user"]
    assert rows[0]["completion"] == [{"role": "assistant", "content": recorded[0].completion}]
    assert adapters[0].id in rows[0]["trained"]
    assert CANARY not in text
    assert not list(tmp_path.glob(".*.part"))
    assert quintet("export", "tiny-1", "jsonl", "-").stdout == text
    assert quintet("export", "tiny-1", "jsonl", "-").stderr == f"{len(rows)} rows\n"
    assert quintet("export", "tiny-1", "jsonl", str(tmp_path / "no" / "rows.jsonl")).exit_code == 2


def test_show_draws_each_gate_as_an_interval(quintet: Typed, answered: Callable[..., Any]) -> None:
    shown = quintet("show").stdout
    lines = [line for line in shown.splitlines() if "●" in line]
    gates = [side for r in answered("show")["rounds"] for side in (r["gate"]["incumbent"], r["gate"]["candidate"])]
    assert len(lines) == len(gates)
    places = [line.index("●") for line in lines]
    assert sorted(range(len(gates)), key=lambda i: (gates[i]["correct"], i)) == sorted(
        range(len(places)), key=lambda i: (places[i], i)
    )
    for line, gate in zip(lines, gates, strict=True):
        # An interval that ends in its estimate shows the estimate.
        assert "├" in line or gate["correct"] == 0


def test_a_report_fits_a_narrow_terminal(workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        found = report(ledgers.run(), Workspace(workspace))
    for width in (80, 118):
        lines = found.table(width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line or line.endswith(" ") for line in lines)


def test_what_joined_roles_said_is_counted(workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        ledger.add(
            *(Reply(round=1, role="skeptic", turn=turn, content={"doubt": "Sure?"}) for turn in range(3)),
            Reply(round=1, role="skeptic", turn=3, error="KeyError: 'no such thing'"),
            Reply(round=1, role="auditor", error="stalled for more than 0.1 s"),
        )
        found = report(ledger, Workspace(workspace))
    assert (found.rounds[0].counts.said, found.rounds[0].counts.lost) == ({"skeptic": 3}, {"skeptic": 1, "auditor": 1})
    assert "round 1: joined roles said: skeptic 3 (1 lost), auditor 0 (1 lost)\n" in found.table()
    assert "round 2: joined roles" not in found.table()


def test_runs_tells_the_minute_and_an_empty_workspace_how_to_begin(quintet: Typed, tmp_path: Path) -> None:
    assert re.search(r"^tiny-1 +finished +\d{4}-\d\d-\d\d \d\d:\d\d +\d", quintet("runs").stdout, re.MULTILINE)
    empty = CliRunner().invoke(main, ["runs", "--workspace", str(tmp_path / "none"), "--json"])
    assert (empty.exit_code, json.loads(empty.stdout)) == (0, [])
    assert "begin one with quintet run CONFIG" in empty.stderr


def test_a_run_that_ends_says_what_to_do_next(workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        found = report(ledgers.run(), Workspace(workspace))
    lines = hints(found, workspace)
    assert any(line.startswith("more rounds: quintet resume tiny-1 --rounds 4") for line in lines)
    assert f"quintet lineage {found.rounds[-1].adapter} " in lines[-1]
    assert all(f"--workspace {workspace}" in line for line in lines if "quintet" in line)
    settings = {**found.settings, "budget": {"tokens": 0, "seconds": 90.0}}
    spent = found.model_copy(update={"status": "out of budget", "settings": settings})
    assert hints(spent, Path("runs")) == ["go on:      quintet resume tiny-1 --seconds 180"]
    assert hints(found.model_copy(update={"status": "interrupted"}), Path("runs")) == [
        "go on:      quintet resume tiny-1"
    ]


def test_the_shell_completes_runs_and_strategies(workspace: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = CliRunner().invoke(main, ["completion", shell]).stdout
        assert "_QUINTET_COMPLETE" in script

    def completed(words: str) -> list[str]:
        found = subprocess.run(
            [sys.executable, "-c", "from quintet.cli import main; main(prog_name='quintet')"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={
                **os.environ,
                "_QUINTET_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split(" ")) - 1),
            },
        )
        return [line.removeprefix("plain,") for line in found.stdout.splitlines() if line]

    assert completed(f"quintet show --workspace {workspace} t") == ["tiny-1"]
    assert completed("quintet show --workspace /nowhere t") == []
    assert "self_consistency" in completed("quintet solve x --strategy ")


def test_every_command_that_prints_a_result_takes_json() -> None:
    """`completion` prints a script for the shell, and nothing else does without."""

    def commands(group: Any, path: str = "") -> list[tuple[str, Any]]:
        found = []
        for name, command in group.commands.items():
            found += commands(command, f"{path}{name} ") if hasattr(command, "commands") else [(path + name, command)]
        return found

    without = [name for name, command in commands(main) if not any("--json" in param.opts for param in command.params)]
    assert without == ["completion"]
