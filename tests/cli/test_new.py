"""`quintet new`: what it writes passes its own test, runs, and overwrites nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from quintet.cli import main


def new(folder: Path, *arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["new", *arguments, "--dir", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def passes(folder: Path) -> None:
    """The tests in a folder pass, and would fail were they not run."""
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
    assert found.returncode == 0, found.stdout[-3000:]
    assert "2 passed" in found.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["role", "Timekeeper"],
        ["role", "second-opinion", "--before", "critic", "--verdict"],
        ["role", "herald", "--before", "proposer"],
        ["role", "auditor", "--after", "curator", "--verdict"],
        ["task", "larger"],
        ["environment", "lift"],
    ],
    ids="-".join,
)
def test_what_is_written_passes_its_own_test(arguments: list[str], tmp_path: Path) -> None:
    written = new(tmp_path, *arguments)
    files = written["files"]
    assert isinstance(files, list)
    assert all(Path(file).is_file() for file in files)
    passes(tmp_path)


def test_a_role_takes_under_twenty_lines_of_code(tmp_path: Path) -> None:
    new(tmp_path, "role", "timekeeper")
    text = (tmp_path / "timekeeper.py").read_text()
    code = text[text.index("from pydantic") :].splitlines()
    assert len([line for line in code if line.strip()]) < 20


def test_nothing_is_overwritten_and_names_are_checked(tmp_path: Path) -> None:
    new(tmp_path, "role", "timekeeper")
    (tmp_path / "timekeeper.py").write_text("mine")
    again = CliRunner().invoke(main, ["new", "role", "timekeeper", "--dir", str(tmp_path)])
    assert again.exit_code == 2
    assert "there already" in again.output
    assert (tmp_path / "timekeeper.py").read_text() == "mine"
    for wrong, said in (
        (["role", "2nd"], "cannot name a class"),
        (["role", "x", "--after", "nobody"], "the chairs are proposer, solver, critic, curator, trainer"),
        (["role", "Critic"], "critic sits at the table already"),
        (["task", "a b"], "cannot name a class"),
    ):
        refused = CliRunner().invoke(main, ["new", *wrong, "--dir", str(tmp_path)])
        assert refused.exit_code == 2
        assert said in refused.output


def test_a_new_family_says_what_a_config_must_name(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["new", "task", "larger", "--dir", str(tmp_path)]).stderr
    assert 'families = ["larger"] under [proposer], families = { larger = [0] } under [evaluation]' in said
