"""`examples/vllm.toml` on real vLLM, shortened, with its server killed in the middle of a round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from short import SHORT

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(3600)]


def servers(run: int) -> list[psutil.Process]:
    """vLLM's processes below a run's."""
    below = psutil.Process(run).children(recursive=True)
    return [
        one for one in below if "api_server" in " ".join(one.cmdline()) and "guard.py" not in " ".join(one.cmdline())
    ]


def quintet(*words: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "quintet.cli", *words, "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_the_loop_runs_on_vllm_and_outlives_its_server(tmp_path: Path) -> None:
    workspace, said = tmp_path / "runs", tmp_path / "said.txt"
    command = [sys.executable, "-m", "quintet.cli", "run", str(ROOT / "examples" / "vllm.toml")]
    environment = os.environ | SHORT | {"QUINTET_VLLM__PYTHON": sys.executable, "QUINTET_VLLM__START_SECONDS": "1200"}
    with said.open("wb") as out:
        run = subprocess.Popen([*command, "--workspace", str(workspace)], stdout=out, stderr=out, env=environment)
    killed = False
    while run.poll() is None:
        time.sleep(0.5)
        log = workspace / "vllm.log"
        if not killed and log.exists() and log.read_text(errors="replace").count("POST /v1/completions") >= 12:
            for process in servers(run.pid):
                process.kill()
                killed = True
    printed = said.read_text()
    assert run.returncode == 0, printed[-3000:]
    assert killed
    # It was lost in a wave, or found to be gone before the next one.
    assert "what it did not answer is asked again" in printed or printed.count(" answers, after ") == 2
    shown = quintet("show", "vllm-1", "--workspace", str(workspace))
    assert shown["status"] == "finished"
    [first] = shown["rounds"]
    # A few rows of such a short round make an adapter, which is served and proved before it is evaluated.
    assert first["adapter"]
    assert f"{first['adapter']} is served: " in printed
    assert first["gate"]["candidate"]["n"] == 20
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(workspace) in (process.info["cmdline"] or [])
    ]
