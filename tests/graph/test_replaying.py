"""A replay asks nothing that was asked before, and says what a change would have come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_settings

from quintet import Loop
from quintet.graph.errors import LoopError, SettingsError
from quintet.graph.replaying import held_against, replay
from quintet.memory.errors import LedgerError
from quintet.memory.workspace import Workspace
from quintet.records import Attempt, Call

pytestmark = pytest.mark.slow

ORIGINAL = "tiny-1"
PARITY = Path(__file__).parents[1] / "parity.py"


@pytest.fixture(scope="module")
def workspace(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run."""
    place = tmp_path_factory.mktemp("replayed")
    settings = tiny_settings(tiny_model_folder, join=(f"{PARITY}:Parity",))
    Loop(settings, workspace=place).run()
    return place


def test_unchanged_it_asks_nothing_and_is_the_same_run(workspace: Path) -> None:
    loop = replay(workspace, ORIGINAL, [])
    loop.run()
    assert loop.run_name is not None
    found = held_against(workspace, loop.run_name)
    assert found.asked == 0
    assert found.answered > 0
    assert [one.differs for one in found.rounds] == [False, False]
    assert found.final_now == found.final_before
    with Workspace(workspace).ledger() as ledgers:
        old, new = ledgers.run(found.replays), ledgers.run(found.run)
        assert new.digest() == old.digest()


def test_trained_otherwise_only_what_comes_of_the_other_adapter_is_asked(workspace: Path) -> None:
    loop = replay(workspace, ORIGINAL, ["training.epochs=1"])
    loop.run()
    found = held_against(workspace, str(loop.run_name))
    first = found.rounds[0]
    assert first.before
    assert first.now
    assert first.differs
    assert first.now.rows == first.before.rows
    assert first.now.adapter != first.before.adapter
    with Workspace(workspace).ledger() as ledgers:
        old, new = ledgers.run(ORIGINAL), ledgers.run(found.run)
        assert [one.id for one in new.find(Attempt, round=1)] == [one.id for one in old.find(Attempt, round=1)]
        known = {call.id for call in old.find(Call)}
        asked = [call for call in new.find(Call) if call.id not in known]
    assert len(asked) == found.asked
    assert found.asked
    # In the first round, the new candidate alone had to be asked.
    assert {call.adapter for call in asked if call.round == 1} == {first.now.adapter}
    assert "round 1: otherwise" in found.text()
    assert f"{found.asked:,} made" in found.text()


def test_a_replay_is_resumed_as_one(workspace: Path) -> None:
    loop = replay(workspace, ORIGINAL, [])
    for event in loop.stream():
        if (event.get("event"), event.get("stage")) == ("end", "episodes"):
            break
    again = Loop.resume(loop.run_name, workspace)
    assert again.settings.replays
    again.run()
    found = held_against(workspace, str(loop.run_name))
    assert found.asked == 0


def test_what_cannot_be_replayed_is_said(workspace: Path) -> None:
    with pytest.raises(LoopError, match="another seed"):
        replay(workspace, ORIGINAL, ["seed=3"])
    with pytest.raises(SettingsError, match="did you mean evaluation"):
        replay(workspace, ORIGINAL, ["evaluation.alphas=0.1"])
    with pytest.raises(LedgerError, match="no run 'nobody'"):
        replay(workspace, "nobody", [])
