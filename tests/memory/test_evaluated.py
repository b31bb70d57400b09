"""What a run has evaluated, as pages list it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quintet.memory.reading.evaluated import evaluated
from quintet.memory.workspace import Workspace
from quintet.records import Answer, Evaluation, Task


def test_a_test_of_personas_is_on_no_suite_and_is_not_listed_among_the_suites(tmp_path: Path) -> None:
    task = Task(family="any", level=0, question="?", canonical="?", truth={})
    answer = Answer(task=task.id, text="", answer=None, correct=False, score=0.0, strict=False)
    about: dict[str, Any] = {"round": 0, "tasks": (task.id,), "answers": (answer,), "strategy": "persona"}
    steer, tried = Evaluation(suite="steer", **about), Evaluation(suite="train", **about)
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.begin("evolved", 0, {})
        ledger.add(task, steer, tried)
        assert [one.id for one in evaluated(ledger)] == [steer.id]
