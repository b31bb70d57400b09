"""Two evaluations side by side: their scores, the paired test, and how each item fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from quintet.evaluation.evaluate import Score, score
from quintet.evaluation.gate import Comparison, compare
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.statistics import Interval, wilson
from quintet.graph.comparing import on_both
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.evaluated import spent
from quintet.records import Answer, Evaluation, Part, Task

Outcome = Literal["won", "lost", "both", "neither"]

SHOWN: dict[str, tuple[Outcome, ...]] = {
    "flipped": ("won", "lost"),
    "won": ("won",),
    "lost": ("lost",),
    "both": ("both",),
    "neither": ("neither",),
    "all": ("won", "lost", "both", "neither"),
}
"""What the list of items can be narrowed to."""


class Scored(Part):
    """One evaluation in numbers."""

    id: str
    round: int
    lenient: Score
    strict: Interval
    """Wilson interval of the share right by the strict extractor."""
    tokens: float | None
    """Generated for an item, on average; `None` where that is not known."""


class Cell(Part):
    """The items of one family and level."""

    family: str
    level: int
    left: int
    """Right on the left side."""
    of_left: int
    right: int
    of_right: int
    won: int = 0
    lost: int = 0


class Item(Part):
    """An item that both answered."""

    task: str
    asked: Task | None
    """`None` where the ledger lacks the task."""
    left: Answer
    right: Answer
    places: tuple[int, int]
    """Among the answers of each evaluation."""

    @property
    def outcome(self) -> Outcome:
        """How the right side fared against the left."""
        if self.left.correct == self.right.correct:
            return "both" if self.left.correct else "neither"
        return "won" if self.right.correct else "lost"


class Pairing(Part):
    """Two evaluations of one suite."""

    left: Scored
    right: Scored
    confidence: float
    """Level of all intervals."""
    test: str
    """Name of the paired test."""
    lenient: Comparison | None
    """The right against the left on the items that both answered; `None` where there are none."""
    strict: Comparison | None
    """The same, strictly read."""
    items: tuple[Item, ...]
    """In the suite's order."""
    cells: tuple[Cell, ...]

    @property
    def partly(self) -> bool:
        """Whether only some items are those of the other side too."""
        return bool(self.items) and not len(self.items) == self.left.lenient.n == self.right.lenient.n

    @property
    def counts(self) -> dict[str, int]:
        """How many items each of `SHOWN` holds."""
        outcomes = [item.outcome for item in self.items]
        return {name: sum(outcomes.count(one) for one in wanted) for name, wanted in SHOWN.items()}


def pairing(lefts: RunLedger, rights: RunLedger, left: Evaluation, right: Evaluation) -> Pairing:
    """Put two evaluations of a suite side by side.

    Args:
        lefts: The run of the left one, whose settings name the test and the level of the intervals.
        rights: The run of the right one.
        left: What is compared against.
        right: What is compared.
    """
    settings = settings_of(lefts)
    a, b = on_both(left, right)
    paired = bool(a.tasks)
    tasks = {**_tasks(rights, right.tasks), **_tasks(lefts, left.tasks)}
    items = _items(left, right, tasks)
    return Pairing(
        left=_scored(lefts, left, settings.confidence),
        right=_scored(rights, right, settings.confidence),
        confidence=settings.confidence,
        test="exact McNemar test" if settings.test == "mcnemar" else "paired bootstrap of the scores",
        lenient=compare(a, b, settings) if paired else None,
        strict=compare(a, b, settings, "strict") if paired else None,
        items=items,
        cells=_cells(left, right, tasks, items),
    )


def settings_of(ledger: RunLedger) -> EvaluationSettings:
    """How a run evaluates; the defaults, where another version recorded it."""
    try:
        return EvaluationSettings.model_validate(ledger.info.settings.get("evaluation", {}))
    except ValidationError:
        return EvaluationSettings()


def narrowed(items: Sequence[Item], asked: Mapping[str, str]) -> list[Item]:
    """The items that fit `show` (see `SHOWN`), `family`, `level` and the words of `q`, in any of their texts."""
    outcomes = SHOWN.get(asked.get("show", ""), SHOWN["all"])
    family, level, wanted = asked.get("family", ""), asked.get("level", ""), asked.get("q", "").lower()
    return [
        item
        for item in items
        if item.outcome in outcomes
        and (not family or (item.asked is not None and item.asked.family == family))
        and (not level or (item.asked is not None and str(item.asked.level) == level))
        and (not wanted or wanted in _words(item))
    ]


def _words(item: Item) -> str:
    said = (item.asked.question if item.asked else "", item.left.text, item.right.text, item.task)
    return "\n".join(said).lower()


def _scored(ledger: RunLedger, evaluation: Evaluation, confidence: float) -> Scored:
    tokens = spent(ledger, evaluation)
    return Scored(
        id=evaluation.id,
        round=evaluation.round,
        lenient=score(evaluation, confidence),
        strict=wilson(evaluation.strict, evaluation.n, confidence),
        tokens=None if tokens is None or not evaluation.n else tokens / evaluation.n,
    )


def _tasks(ledger: RunLedger, ids: Sequence[str]) -> dict[str, Task]:
    return {id: task for id, task in ledger.get_many(ids).items() if isinstance(task, Task)}


def _items(left: Evaluation, right: Evaluation, tasks: Mapping[str, Task]) -> tuple[Item, ...]:
    there = {answer.task: (place, answer) for place, answer in enumerate(right.answers)}
    found = []
    for place, answer in enumerate(left.answers):
        if answer.task in there:
            other, of_right = there[answer.task]
            # Validated before, each in its evaluation.
            item: dict[str, Any] = {"task": answer.task, "asked": tasks.get(answer.task), "left": answer}
            found.append(Item.model_construct(**item, right=of_right, places=(place, other)))
    return tuple(found)


def _cells(left: Evaluation, right: Evaluation, tasks: Mapping[str, Task], items: Sequence[Item]) -> tuple[Cell, ...]:
    counted: dict[tuple[str, int], dict[str, int]] = {}

    def count(id: str, **more: int) -> None:
        if id in tasks:
            cell = counted.setdefault((tasks[id].family, tasks[id].level), {})
            for name, number in more.items():
                cell[name] = cell.get(name, 0) + number

    for answer in left.answers:
        count(answer.task, left=answer.correct, of_left=1, right=0, of_right=0)
    for answer in right.answers:
        count(answer.task, left=0, of_left=0, right=answer.correct, of_right=1)
    for item in items:
        count(item.task, won=item.outcome == "won", lost=item.outcome == "lost")
    return tuple(Cell(family=family, level=level, **numbers) for (family, level), numbers in sorted(counted.items()))
