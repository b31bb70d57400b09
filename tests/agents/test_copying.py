"""An answer that was read off what came back from memory is learnt by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.agents.curator import Curator
from quintet.agents.table import Round
from quintet.records import BASE, Attempt, Call, Critique, Recall, Recalled, Row, Selection, Task


@pytest.fixture(scope="module")
def workspace(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run, whose rows can be recalled."""
    place = tmp_path_factory.mktemp("copying")
    Loop(tiny_settings(tiny_model_folder, rounds=1), tasks=[Parity()], workspace=place).run()
    return place


@pytest.mark.parametrize(
    ("turn", "same", "reason"),
    [
        (1, True, "its answer stood in what was recalled"),
        (1, False, "right after revision"),
        # What was recalled in another turn was not before it.
        (2, True, "right after revision"),
    ],
)
async def test_a_revision_that_gives_an_exemplars_answer_gives_no_row(
    workspace: Path, turn: int, same: bool, reason: str
) -> None:
    async with Loop.resume(None, workspace, tasks=[Parity()]).context() as context:
        table, ledger = context.table, context.table.ledger
        row = ledger.find(Row)[0]
        exemplar: Any = ledger.get(row.attempt)
        call = ledger.get(exemplar.call)
        assert isinstance(call, Call)
        number = 10 * turn + same
        task = Task(
            family="parity", level=0, question=f"What of {number}?", canonical=f"{number}", truth={}, split="train"
        )
        said: dict[str, Any] = {"round": number, "task": task.id, "strict_answer": None, "call": call.id}
        failed = Attempt(**said, sample=0, turn=0, text="no idea", answer=None)
        recall = Recall(
            round=number,
            role="solver",
            task=task.id,
            turn=1,
            query=task.question,
            items=(Recalled(id=row.id, distance=0.1),),
            sources=(row.id,),
        )
        answer = exemplar.answer if same else "another"
        sample = next(place for place, one in enumerate(call.completions) if one.finish == "stop")
        revised = Attempt(**said, sample=sample, turn=turn, revises=failed.id, text="So it is.", answer=answer)
        judged: dict[str, Any] = {"round": number, "task": task.id}
        critiques = [
            Critique(**judged, attempt=failed.id, score=0, correct=False, strict=False, verdict="revise"),
            Critique(**judged, attempt=revised.id, score=1, correct=True, strict=True, verdict="accept"),
        ]
        ledger.add(task, failed, recall, revised, *critiques)
        found = await Curator().sit(table).act(Round(number, BASE, {"parity": 0}, [task]))
    reasons = {one.attempt: one.reason for one in found if isinstance(one, Selection)}
    assert reasons[revised.id].startswith(reason)
    assert [row.attempt for row in found if isinstance(row, Row)] == ([revised.id] if "right" in reason else [])
