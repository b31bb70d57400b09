"""One adapter on one suite: greedy answers, judged, as a record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from quintet.evaluation.errors import EvaluationError
from quintet.evaluation.statistics import wilson
from quintet.records import GREEDY, Answer, Evaluation, Part, Split, Task

AnswerTasks = Callable[[Sequence[Task], str], Awaitable[list[str]]]
"""Answers tasks under an adapter: one text for each task, in order; an empty one where the call failed."""


class Judged(Protocol):
    """What is read from a verifier's judgement of a text."""

    @property
    def answer(self) -> str | None:
        """The lenient answer."""

    @property
    def score(self) -> float:
        """Its score, 0 to 1."""

    @property
    def correct(self) -> bool:
        """Whether that is full marks."""

    @property
    def strict(self) -> bool:
        """Whether the strict answer is correct too."""


class Judge(Protocol):
    """Judges texts that answer a task, as `Examiner.judge` does."""

    async def __call__(self, task: Task, texts: Sequence[str], /) -> Sequence[Judged]:
        """One judgement for each text; a failed verification counts as wrong."""
        ...


class Score(Part):
    """An evaluation in numbers."""

    n: int
    correct: int
    """Right by the lenient extractor."""
    strict: int
    """Right by the strict extractor."""
    low: float
    high: float
    """Wilson interval of the share right by the lenient extractor."""


async def evaluate(
    suite: Split,
    adapter: str,
    tasks: Sequence[Task],
    round: int,
    answer: AnswerTasks,
    judge: Judge,
    strategy: str = GREEDY,
) -> Evaluation:
    """Have an adapter answer a suite's items, and judge the answers.

    Args:
        suite: The suite's name.
        adapter: An adapter's id, or `BASE`.
        tasks: The items, in order.
        round: The round it belongs to.
        answer: Answers all items; the prompts carry no exemplars.
        judge: Judges an item's answer.
        strategy: How `answer` gets them, for the record.

    Raises:
        EvaluationError: `answer` or `judge` returned another number of things than it was given.
    """
    texts = await answer(tasks, adapter) if tasks else []
    if len(texts) != len(tasks):
        raise EvaluationError(f"{suite} suite: {len(tasks)} items got {len(texts)} answers; one each is needed")
    answers = []
    for task, text in zip(tasks, texts, strict=True):
        judged = await judge(task, [text])
        if len(judged) != 1:
            raise EvaluationError(f"{suite} suite: {task.id} got {len(judged)} judgements of one answer")
        answers.append(
            Answer(
                task=task.id,
                text=text,
                answer=judged[0].answer,
                score=judged[0].score,
                correct=judged[0].correct,
                strict=judged[0].strict,
            )
        )
    return Evaluation(
        round=round,
        suite=suite,
        adapter=adapter,
        strategy=strategy,
        tasks=tuple(task.id for task in tasks),
        answers=tuple(answers),
    )


def score(evaluation: Evaluation, confidence: float = 0.95) -> Score:
    """An evaluation's counts, with the Wilson interval of its share right."""
    low, high = wilson(evaluation.correct, evaluation.n, confidence)
    return Score(n=evaluation.n, correct=evaluation.correct, strict=evaluation.strict, low=low, high=high)


def family_shares(evaluation: Evaluation, tasks: Iterable[Task]) -> dict[str, float]:
    """Share of each family's items that an evaluation has right."""
    families: Mapping[str, str] = {task.id: task.family for task in tasks}
    right: dict[str, list[bool]] = {}
    for answer in evaluation.answers:
        right.setdefault(families[answer.task], []).append(answer.correct)
    return {family: sum(marks) / len(marks) for family, marks in right.items()}
