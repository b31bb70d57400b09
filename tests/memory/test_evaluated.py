"""What a run has evaluated, as pages list it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quintet.memory.reading.evaluated import evaluated, spent
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Answer, Call, Completion, Evaluation, Message, Record, Task


def test_a_test_of_personas_is_on_no_suite_and_is_not_listed_among_the_suites(tmp_path: Path) -> None:
    task = Task(family="any", level=0, question="?", canonical="?", truth={})
    answer = Answer(task=task.id, text="", answer=None, correct=False, score=0.0, strict=False)
    about: dict[str, Any] = {"round": 0, "tasks": (task.id,), "answers": (answer,), "strategy": "persona"}
    steer, tried = Evaluation(suite="steer", **about), Evaluation(suite="train", **about)
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.begin("evolved", 0, {})
        ledger.add(task, steer, tried)
        assert [one.id for one in evaluated(ledger)] == [steer.id]


def asked(task: Task, tokens: int, round: int, adapter: str = BASE, role: str = "evaluation") -> Call:
    """A call with a prompt of 7 tokens."""
    return Call(
        request=f"{task.id} {tokens} {round} {adapter} {role}",
        round=round,
        role=role,
        task=task.id,
        model="tiny",
        adapter=adapter,
        messages=(Message(role="user", content=task.question),),
        completions=(Completion(text="odd", tokens=tuple(range(tokens))),),
        prompt_tokens=7,
    )


def test_what_answers_took_is_known_from_their_calls_and_of_a_strategy_from_the_evaluation(tmp_path: Path) -> None:
    tasks = [Task(family="any", level=0, question=str(n), canonical=str(n), truth={}, split="steer") for n in range(2)]
    answers = tuple(Answer(task=t.id, text="odd", answer=None, correct=False, score=0, strict=False) for t in tasks)
    made: dict[str, Any] = {"suite": "steer", "tasks": tuple(task.id for task in tasks), "answers": answers}
    first, later = Evaluation(round=1, **made), Evaluation(round=2, **made)
    tried = Evaluation(round=0, strategy="beam", tokens=50, **made)
    unknown = Evaluation(round=0, strategy="revise", **made)
    records: list[Record] = [
        asked(tasks[0], 3, 1),
        asked(tasks[1], 5, 1),
        # Asked again in the second round, with two actions; the first item's answer came from the log.
        asked(tasks[1], 11, 2),
        asked(tasks[1], 13, 2),
        asked(tasks[0], 100, 1, adapter="adapter-0000000000000000"),
        asked(tasks[0], 100, 1, role="solver"),
    ]
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.begin("spent", 0, {})
        ledger.add(*tasks, *records, first, later, tried, unknown)
        assert spent(ledger, first) == 3 + 5
        assert spent(ledger, later) == 3 + 11 + 13
        assert spent(ledger, tried) == 50
        assert spent(ledger, unknown) is None
        assert spent(ledger, first.with_(adapter="adapter-0000000000000000")) is None
