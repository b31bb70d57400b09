"""A sixth role and a new family: by argument, by entry point, and as the guides print them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from installing import install
from parity import Parity
from short import SHORT
from tiny import tiny_settings

from quintet import EpisodeRole, Loop, TaskFamily
from quintet.agents.roles import Role
from quintet.graph.conducting import unasked
from quintet.graph.errors import LoopError
from quintet.graph.joining import joining
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.plugins import PluginError
from quintet.records import Call, Reply
from quintet.tasks.examiner import Examiner

ROOT = Path(__file__).parents[2]


SKEPTIC = ROOT / "examples" / "skeptic.py"


def from_file(given: str) -> Role:
    """The role that a config's `join` would bring."""
    [role] = joining(Settings(join=(given,))).roles
    return role


def test_what_joins_from_a_file_is_told_apart_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    found = joining(Settings(join=(f"{SKEPTIC}:Skeptic", f"{Path(__file__).parents[1] / 'parity.py'}:Parity")))
    assert [role.name for role in found.roles] == ["skeptic"]
    assert [family.name for family in found.tasks] == ["parity"]
    # Of an installed package, by its dotted name, from whatever folder.
    assert from_file("quintet.agents.reflector:Reflector").name == "reflector"
    assert Settings(join=("quintet.agents.reflector:Reflector",)).join == ("quintet.agents.reflector:Reflector",)
    broken = tmp_path / "broken_role.py"
    broken.write_text("raise RuntimeError('no')")
    for given, said in (
        ("skeptic", r"expected FILE\.py:NAME"),
        (str(SKEPTIC), r"expected FILE\.py:NAME, such as"),
        ("nowhere.py:Role", r"there is no file .*nowhere\.py"),
        (f"{SKEPTIC}:Optimist", r"skeptic\.py has nothing called Optimist"),
        ("quintet.agents.nowhere:Role", r"quintet\.agents\.nowhere does not load: ModuleNotFoundError"),
        ("quintet.agents.reflector:Optimist", r"quintet\.agents\.reflector has nothing called Optimist"),
        (f"{broken}:Role", "does not load: RuntimeError: no"),
    ):
        with pytest.raises(PluginError, match=said):
            joining(Settings(join=(given,)))
    with pytest.raises(LoopError, match=r"skeptic\.py:Doubt: "):
        joining(Settings(join=(f"{SKEPTIC}:Doubt",)))


def test_a_family_that_joined_and_is_asked_nowhere_is_named() -> None:
    joined = (f"{Path(__file__).parents[1] / 'parity.py'}:Parity",)
    assert unasked(Loop(Settings(join=joined))) == ["parity"]
    for section in ({"proposer": {"families": ["parity"]}}, {"evaluation": {"retention_families": {"parity": [0]}}}):
        assert unasked(Loop(Settings.compose({"join": joined, **section}))) == []


def blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def ran(workspace: Path, model: Path, role: EpisodeRole) -> list[Reply]:
    """A role's replies in a short run on the tiny model."""
    Loop(tiny_settings(model, rounds=1), roles=[role], tasks=[Parity()], workspace=workspace).run()
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        replies = [reply for reply in ledger.find(Reply) if reply.role == role.name]
        assert {call.role for call in ledger.find(Call)} >= {role.name}, [reply.error for reply in replies]
        return replies


def test_the_skeptic_joins_by_argument_and_its_doubts_are_recorded(tiny_model_folder: Path, tmp_path: Path) -> None:
    skeptic = from_file(f"{SKEPTIC}:Skeptic")
    assert isinstance(skeptic, EpisodeRole)
    replies = ran(tmp_path, tiny_model_folder, skeptic)
    assert replies
    # A random model may be cut off in the middle of its JSON; that costs the reply and says why.
    assert all(reply.content.get("doubt") is not None or "nonsense" in (reply.error or "") for reply in replies)


def test_the_skeptic_joins_by_entry_point(tmp_path: Path) -> None:
    install(tmp_path, "[quintet.roles]", "skeptic = skeptic_module:Skeptic", package="skeptic-package")
    (tmp_path / "skeptic_module.py").write_text((ROOT / "examples" / "skeptic.py").read_text())
    found = subprocess.run(
        [sys.executable, "-m", "quintet.cli", "roles", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    roles = {role["role"]: role for role in json.loads(found.stdout)}
    assert roles["skeptic"]["beside"] == "after critic"
    assert roles["skeptic"]["source"] == "skeptic_module"


def test_the_guides_role_runs_as_printed(tiny_model_folder: Path, tmp_path: Path) -> None:
    printed = next(block for block in blocks("CONTRIBUTING.md") if "class Referee" in block)
    (tmp_path / "printed.py").write_text(printed)
    referee = from_file(f"{tmp_path / 'printed.py'}:Referee")
    assert isinstance(referee, EpisodeRole)
    assert ran(tmp_path / "runs", tiny_model_folder, referee)


async def test_the_guides_family_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = next(block for block in blocks("CONTRIBUTING.md") if "class Doubles" in block)
    (tmp_path / "doubles_printed.py").write_text(printed)
    monkeypatch.syspath_prepend(tmp_path)
    import doubles_printed

    family = doubles_printed.Doubles()
    assert isinstance(family, TaskFamily)
    with Examiner([family]) as examiner:
        [task] = await examiner.draw("doubles", 1, seed=0, count=1, split="train")
        right, wrong = await examiner.judge(task, [f"Answer: {task.truth['answer']}", "Answer: 1"])
    assert right.correct
    assert not wrong.correct


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_readmes_script_runs_as_printed_on_the_real_model(tmp_path: Path) -> None:
    printed = next(block for block in blocks("README.md") if "Loop(" in block)
    (tmp_path / "script.py").write_text(printed)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    found = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **SHORT},
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "final suite" in found.stdout
