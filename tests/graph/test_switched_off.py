"""What a part of the loop is worth is seen without it: each switch leaves out that part and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.memory.workspace import Workspace
from quintet.records import Attempt, Call, Critique, Curriculum, Proposal, Recall, Record, Row

pytestmark = pytest.mark.slow


def ran(workspace: Path, model: Path, **changes: Any) -> list[Record]:
    """All records of a short run."""
    Loop(tiny_settings(model, **changes), tasks=[Parity()], workspace=workspace).run()
    with Workspace(workspace).ledger() as ledgers:
        return [event.record for event in ledgers.run().events(limit=100_000)]


def of(records: list[Record], kind: type[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def test_without_advice_failed_attempts_are_revised_all_the_same(tiny_model_folder: Path, tmp_path: Path) -> None:
    assert [call for call in of(ran(tmp_path / "with", tiny_model_folder), Call) if call.role == "critic"]
    records = ran(tmp_path / "without", tiny_model_folder, critic={"advise": False})
    revised = [attempt for attempt in of(records, Attempt) if attempt.revises]
    assert revised
    assert not [call for call in of(records, Call) if call.role == "critic"]
    assert not [critique for critique in of(records, Critique) if critique.feedback or critique.call]


def test_without_recall_nothing_comes_back(tiny_model_folder: Path, tmp_path: Path) -> None:
    assert of(ran(tmp_path / "with", tiny_model_folder), Recall)
    records = ran(tmp_path / "without", tiny_model_folder, memory={"recall": 0})
    assert of(records, Row)
    assert [attempt for attempt in of(records, Attempt) if attempt.revises and attempt.round == 2]
    assert not of(records, Recall)


def test_without_a_curriculum_or_inventions_levels_stay_and_all_is_drawn(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    still = {"evaluation": {"curriculum": {"climb_at": 1.0, "fall_at": 0.0}}, "proposer": {"invented": 0}}
    settings = tiny_settings(tiny_model_folder)
    still["evaluation"] = {**settings.evaluation.model_dump(exclude={"curriculum", "monitors"}), **still["evaluation"]}
    records = ran(tmp_path, tiny_model_folder, **still)
    assert [curriculum.levels for curriculum in of(records, Curriculum)] == [{"parity": 0}] * 2
    assert {proposal.origin for proposal in of(records, Proposal)} == {"drawn"}
