"""An evaluation holds one judged answer an item, in order, and refuses anything else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from made_evaluations import evaluation  # type: ignore[import-not-found]

from quintet.evaluation.errors import EvaluationError
from quintet.evaluation.evaluate import evaluate, family_shares, score
from quintet.records import BASE, Part, Task

TASKS = [
    Task(family=family, level=0, question=f"{n}?", canonical=f"{family}{n}", truth={"n": str(n)}, split="gate")
    for family in ("odd", "even")
    for n in range(3)
]


class Judgement(Part):
    answer: str | None
    score: float
    correct: bool
    strict: bool


async def answer(tasks: Sequence[Task], adapter: str) -> list[str]:
    return [f"Answer: {task.truth['n']}" if task.family == "odd" else "7" for task in tasks]


async def judge(task: Task, texts: Sequence[str], /) -> list[Judgement]:
    right = [text.endswith(task.truth["n"]) for text in texts]
    return [
        Judgement(answer=text[-1:], score=float(mark), correct=mark, strict=mark and "Answer:" in text)
        for text, mark in zip(texts, right, strict=True)
    ]


async def test_answers_stand_in_the_order_of_the_items() -> None:
    found = await evaluate("gate", BASE, TASKS, 2, answer, judge)
    assert found.tasks == tuple(task.id for task in TASKS) == tuple(one.task for one in found.answers)
    assert [one.correct for one in found.answers] == [True] * 3 + [False] * 3
    assert (found.n, found.correct, found.strict, found.round) == (6, 3, 3, 2)
    assert family_shares(found, TASKS) == {"odd": 1.0, "even": 0.0}
    assert found == await evaluate("gate", BASE, TASKS, 2, answer, judge)


async def test_a_missing_answer_is_an_error_not_a_shift() -> None:
    async def short(tasks: Sequence[Task], adapter: str) -> list[str]:
        return ["7"] * (len(tasks) - 1)

    with pytest.raises(EvaluationError, match="6 items got 5 answers"):
        await evaluate("gate", BASE, TASKS, 1, short, judge)


async def test_a_missing_judgement_is_an_error() -> None:
    async def silent(task: Task, texts: Sequence[str], /) -> list[Judgement]:
        return []

    with pytest.raises(EvaluationError, match="0 judgements"):
        await evaluate("gate", BASE, TASKS, 1, answer, silent)


async def test_a_suite_of_no_items_asks_nothing() -> None:
    assert (await evaluate("steer", BASE, [], 1, answer, judge)).n == 0


def test_a_score_has_the_wilson_interval() -> None:
    found = score(evaluation([True] * 15 + [False] * 133))
    assert (found.n, found.correct) == (148, 15)
    assert (found.low, found.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)
