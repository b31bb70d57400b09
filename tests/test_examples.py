"""What stands under `examples/`: scripts run as they print it, and the suites of every config can be drawn."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from short import SHORT

from quintet.evaluation.suites import Suites
from quintet.graph.opening import examined
from quintet.graph.settings import Settings

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CONFIGS = sorted(path.name for path in EXAMPLES.glob("*.toml"))

SAYS = {
    "ainvoke_graph.py": ["after round 1: incumbent base", "final suite"],
    "another_model.py": [
        "final suite",
        "critic spoke through fake-list-chat-model",
        "solver spoke through smollm2-135m",
    ],
    "draw_graph.py": ["propose --> episodes", "critic --> skeptic"],
    "own_family.py": ["final suite"],
    "read_ledger.py": ["arithmetic-1: ", "from task", "from attempt", "from selection"],
    "skeptic.py": ["final suite"],
    "stream.py": ["round 1: propose", "too few rows to learn from", "final suite"],
}
"""What each script prints, among other things."""

UNTRAINED = {**SHORT, "QUINTET_TRAINER__LEAST_ROWS": "1000"}
"""Training has tests of its own, the script in the README among them."""


def lines(script: str) -> str:
    """A script's docstring."""
    return ast.get_docstring(ast.parse((EXAMPLES / script).read_text())) or ""


def run(script: str, folder: Path) -> str:
    """What a script prints, run as its docstring says."""
    printed = re.search(r"^Run it[^:]*:  (.+)$", lines(script), re.MULTILINE)
    assert printed, f"{script} does not say how to run it"
    done = subprocess.run(
        shlex.split(printed[1]),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            **UNTRAINED,
            # The commands `python` and `quintet` of this environment.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_script_has_something_to_say() -> None:
    assert set(SAYS) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, marks=() if "needs no model" in lines(script) else pytest.mark.slow) for script in SAYS],
)
def test_a_script_runs_as_it_says(script: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    if "after any run" in lines(script):
        run("stream.py", tmp_path)
    printed = run(script, tmp_path)
    for said in SAYS[script]:
        assert said in printed


@pytest.mark.parametrize("config", CONFIGS)
async def test_the_suites_of_a_config_can_be_drawn(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = EXAMPLES / config
    settings = Settings.load(path, environment={})
    async with examined(settings) as examiner:
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, settings.rounds)
    gates = sum(len(suites.gate(number)) for number in range(1, settings.rounds + 1))
    assert gates == settings.evaluation.gate_items * settings.rounds
    assert settings.name == path.stem or config == "dataset.toml"
    assert all(line.startswith("#") for line in path.read_text().splitlines()[:2])
