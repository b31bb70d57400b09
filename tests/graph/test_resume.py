"""kill -9 at any moment, resume: nothing lost, nothing done twice, the ledger of an unbroken run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from short import SHORT

from quintet.memory.workspace import Workspace

SCRIPT = Path(__file__).with_name("tiny_run.py")
KILLS = 10


def start(workspace: Path, model: Path, *run: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(workspace), str(model), *run]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for the end; how many events there were."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-2000:]
    return len(out.splitlines())


def kill_after(process: subprocess.Popen[str], events: int, delay: float) -> None:
    """Kill it a moment after so many events, whatever it is doing then."""
    assert process.stdout is not None
    for _ in range(events):
        if not process.stdout.readline():
            break
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=60)


def digest(workspace: Path, run: str = "tiny-1") -> str:
    with Workspace(workspace).ledger() as ledger:
        return ledger.run(run).digest()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_at_random_points_ends_with_the_ledger_of_an_unbroken_run(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    whole = tmp_path / "whole"
    events = finish(start(whole, tiny_model_folder))
    expected = digest(whole)

    broken, source = tmp_path / "broken", random.Random(7)
    kill_after(start(broken, tiny_model_folder), source.randrange(1, events), source.random())
    for _ in range(KILLS - 1):
        kill_after(start(broken, tiny_model_folder, "tiny-1"), source.randrange(0, events // 2), 3 * source.random())
    process = start(broken, tiny_model_folder, "tiny-1")
    _, err = process.communicate(timeout=240)
    # The kills may have left nothing to do: then the run says that it is finished.
    assert process.returncode == 0 or "is finished" in err, err[-2000:]
    assert digest(broken) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_model_killed_while_it_generates_goes_on_to_the_same_ledger(tmp_path: Path) -> None:
    def quintet(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "quintet.cli", *arguments]
        environment = {**os.environ, **SHORT}
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = str(Path(__file__).parents[2] / "examples" / "arithmetic.toml")
    finish(quintet("run", config, "--workspace", str(whole)))

    process = quintet("run", config, "--workspace", str(broken))
    assert process.stderr is not None
    for line in process.stderr:
        if "proposer" in line:
            break
    time.sleep(4)
    process.kill()
    process.communicate(timeout=60)
    finish(quintet("resume", "arithmetic-1", "--workspace", str(broken)))
    assert digest(broken, "arithmetic-1") == digest(whole, "arithmetic-1")
