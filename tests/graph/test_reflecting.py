"""A run with the reflector: failed tasks leave lessons, and later rounds recall them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_settings

from quintet import Loop
from quintet.memory.workspace import Workspace
from quintet.records import Call, Critique, Lesson, Recall

PARITY = Path(__file__).parents[1] / "parity.py"


@pytest.mark.slow
def test_lessons_of_failed_tasks_are_recorded_and_recalled_in_the_next_round(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    join = (f"{PARITY}:Parity", "quintet.agents.reflector:Reflector")
    # One attempt a task, so that some stay unsolved, and no training, which is not the point.
    changes: dict[str, Any] = {
        "join": join,
        "solver": {"samples": 1, "lessons": 8},
        "proposer": {"tasks": 8},
        "trainer": {"least_rows": 1000},
    }
    Loop(tiny_settings(tiny_model_folder, **changes), workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run()
        lessons = [lesson for lesson in ledger.find(Lesson) if lesson.text.startswith("After failing ")]
        critiques = {critique.id: critique for critique in ledger.find(Critique)}
        assert lessons
        for lesson in lessons:
            judged = critiques[lesson.critique]
            assert judged.attempt == lesson.attempt
            assert not judged.correct
            # Nobody solved the task, in any turn.
            assert not any(
                one.correct for one in critiques.values() if (one.task, one.round) == (lesson.task, lesson.round)
            )
        first = {lesson.id for lesson in lessons if lesson.round == 1}
        recalled = {source for recall in ledger.find(Recall, round=2) for source in recall.sources}
        assert first & recalled
        heeded = [call.messages[0].content for call in ledger.find(Call, round=2, role="solver") if call.turn]
        assert any("After failing " in words for words in heeded)
