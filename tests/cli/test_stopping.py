"""Ctrl-C: once stops cleanly and says how to go on, twice stops at once; either way nothing recorded is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from quintet.graph.report import overview
from quintet.memory.workspace import Workspace
from quintet.records import Verification

PARITY = Path(__file__).parents[1] / "parity.py"

CONFIG = """
name = "tiny"
rounds = 2
join = ["{parity}:Parity"]
model = {{ name = "{model}" }}
proposer = {{ families = ["parity"], tasks = 6, invented = 2 }}
solver = {{ samples = 4, max_tokens = {tokens}, revise_below = 1.0 }}
critic = {{ max_tokens = 24 }}
curator = {{ longest = 1000 }}
trainer = {{ least_rows = 1 }}

[evaluation]
families = {{ parity = [0] }}
steer_items = 4
gate_items = 12
retention_items = 0
final_items = 12
"""


class Run:
    """A run in a process of its own, its lines read as they come."""

    def __init__(self, folder: Path, model: Path, tokens: int = 8) -> None:
        config = folder / "tiny.toml"
        config.write_text(CONFIG.format(parity=PARITY, model=model, tokens=tokens))
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quintet.cli", "run", str(config), "--workspace", str(folder / "runs")],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A group of its own: Ctrl-C in a terminal reaches every process of it, and so it does here.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not any(text in line for line in self.lines):
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < until, f"no {text!r} in {self.lines}"
            time.sleep(0.02)

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self, seconds: float) -> tuple[int, str]:
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code, "".join(self.lines)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["run tiny-1 in", "curator selects rows"], ids=["generating", "training"])
def test_once_stops_cleanly_and_says_how_to_go_on(stage: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, tiny_model_folder)
    run.wait_for(stage)
    time.sleep(0.3)
    run.interrupt()
    code, said = run.ended(30)
    assert code == 130, said
    assert "Traceback" not in said
    assert f"go on with: quintet resume tiny-1 --workspace {tmp_path / 'runs'}" in said
    assert overview(tmp_path / "runs")[0].status == "stopped"
    went_on = subprocess.run(
        [sys.executable, "-m", "quintet.cli", "resume", "tiny-1", "--workspace", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert went_on.returncode == 0, went_on.stderr
    with Workspace(tmp_path / "runs").ledger() as ledgers:
        assert ledgers.run().find(Verification)


@pytest.mark.slow
def test_twice_stops_at_once(tiny_model_folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, tiny_model_folder, tokens=300)
    run.wait_for("proposer sets tasks")
    time.sleep(0.2)
    run.interrupt()
    time.sleep(0.05)
    run.interrupt()
    begun = time.monotonic()
    code, said = run.ended(20)
    assert code in (130, -signal.SIGINT), said
    assert time.monotonic() - begun < 10
    assert overview(tmp_path / "runs")[0].status in ("stopped", "interrupted")
