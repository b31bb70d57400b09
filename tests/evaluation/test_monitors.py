"""Each known failure raises its alarm, and a healthy round raises none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from made_evaluations import evaluation, pair  # type: ignore[import-not-found]

from quintet.evaluation.gate import decide
from quintet.evaluation.monitors import monitors
from quintet.evaluation.settings import EvaluationSettings
from quintet.records import Attempt, Call, Completion, Critique, Evaluation, Monitors, Row, Selection, Task

SETTINGS = EvaluationSettings()
TASKS, SAMPLES = 30, 8


class Round:
    """A round of a healthy run, whose parts a test spoils."""

    def __init__(self, round: int = 2) -> None:
        self.round = round
        self.tasks = [
            Task(family="products", level=0, question=f"{n}?", canonical=f"products {n}", truth={}, choices=None)
            for n in range(TASKS)
        ]
        self.attempts: list[Attempt] = []
        self.critiques: list[Critique] = []
        self.calls: list[Call] = []
        for n, task in enumerate(self.tasks):
            # A third of the tasks is solved by half of the samples; wrong answers differ.
            marks = [n % 3 == 0 and sample % 2 == 0 for sample in range(SAMPLES)]
            texts = [f"Answer: {n if mark else 1000 * n + sample}" for sample, mark in enumerate(marks)]
            self.say(task, texts, marks)
        gate = pair(40, 10, 192)
        kept = pair(6, 2, 128, "retention")
        self.decision = decide(round, "adapter-1", "base", gate[0], gate[1], kept[0], kept[1], SETTINGS)
        self.evaluations: list[Evaluation] = [*gate, *kept]
        self.held_out: set[str] = {"products 999"}
        self.selections, self.rows = self.curate()

    def say(self, task: Task, texts: list[str], marks: Iterable[bool], finish: Any = "stop", turn: int = 0) -> None:
        completions = tuple(Completion(text=text, tokens=tuple(range(6)), finish=finish) for text in texts)
        call = Call(
            request=f"{task.id}-{turn}",
            round=self.round,
            role="solver",
            model="m",
            messages=(),
            completions=completions,
        )
        self.calls.append(call)
        for sample, (text, mark) in enumerate(zip(texts, marks, strict=True)):
            read = text.removeprefix("Answer: ") or None
            attempt = Attempt(
                round=self.round,
                task=task.id,
                call=call.id,
                sample=sample,
                turn=turn,
                text=text,
                answer=read,
                strict_answer=read,
            )
            self.attempts.append(attempt)
            self.critiques.append(
                Critique(
                    round=self.round,
                    task=task.id,
                    attempt=attempt.id,
                    score=float(mark),
                    correct=mark,
                    strict=mark,
                    verdict="accept" if mark else "revise",
                )
            )

    def curate(self) -> tuple[list[Selection], list[Row]]:
        right = {critique.attempt for critique in self.critiques if critique.correct}
        chosen = [attempt for attempt in self.attempts if attempt.id in right]
        selections = [
            Selection(round=self.round, task=a.task, attempt=a.id, chosen=a in chosen, reason="rule")
            for a in self.attempts
        ]
        rows = [
            Row(round=self.round, task=a.task, attempt=a.id, selection="s", prompt=(), completion=a.text)
            for a in chosen
        ]
        return selections, rows

    def change(self, name: str, **update: object) -> None:
        """Give every record of a list these values; `model_copy` keeps the id, so links still hold."""
        setattr(self, name, [one.model_copy(update=update) for one in getattr(self, name)])

    def watch(self) -> Monitors:
        return monitors(
            self.round,
            SETTINGS,
            tasks=self.tasks,
            attempts=self.attempts,
            critiques=self.critiques,
            calls=self.calls,
            selections=self.selections,
            rows=self.rows,
            evaluations=self.evaluations,
            decision=self.decision,
            held_out=self.held_out,
        )


def test_a_healthy_round_raises_no_alarm_and_is_measured() -> None:
    found = Round().watch()
    assert found.alarms == ()
    values = found.values
    assert values["pass@1"] == pytest.approx(1 / 6)
    # 10 of 30 tasks have 4 of 8 right: 1 - C(4, 4) / C(8, 4) each.
    assert values["pass@4"] == pytest.approx((1 - 1 / 70) / 3)
    assert values["completion_tokens"] == 6
    assert values["truncated"] == values["empty"] == values["contaminated"] == 0
    assert values["distinct_unsolved"] == 1
    assert values["rows.products"] == 40
    assert values["selected"] == pytest.approx(40 / 240)
    assert "critic_agreement" not in values


def truncated(made: Round) -> None:
    made.calls = [
        call.model_copy(
            update={"completions": tuple(c.model_copy(update={"finish": "length"}) for c in call.completions)}
        )
        for call in made.calls
    ]


def empty(made: Round) -> None:
    made.attempts[:40] = [a.model_copy(update={"text": " ", "answer": None}) for a in made.attempts[:40]]


def failed_calls(made: Round) -> None:
    made.calls[:20] = [call.model_copy(update={"error": "stalled"}) for call in made.calls[:20]]


def verifier_errors(made: Round) -> None:
    made.change("critiques", error="timed out")


def critic_agreement(made: Round) -> None:
    made.change("critiques", verdict="accept")


def distinct(made: Round) -> None:
    made.attempts = [a.model_copy(update={"answer": a.task}) for a in made.attempts]


def same_answer(made: Round) -> None:
    made.change("attempts", answer="42")


def rows(made: Round) -> None:
    made.rows = []


def contaminated(made: Round) -> None:
    made.held_out.add("products 3")


def format_only(made: Round) -> None:
    marks = [i % 2 == 0 for i in range(192)]
    before, after = evaluation(marks, strict=[False] * 192), evaluation(marks, "adapter-1")
    kept = pair(6, 2, 128, "retention")
    made.decision = decide(2, "adapter-1", "base", before, after, kept[0], kept[1], SETTINGS)
    made.evaluations = [before, after, *kept]


def forgetting(made: Round) -> None:
    made.evaluations += steps("retention", 60, 74, 50)


def decline(made: Round) -> None:
    made.evaluations += steps("steer", 20, 40, 20)


def steps(suite: Any, *correct: int) -> list[Evaluation]:
    n = 128 if suite == "retention" else 48
    return [
        evaluation([i < right for i in range(n)], f"adapter-{round}", suite, round)
        for round, right in enumerate(correct)
    ]


FAILURES = [
    truncated,
    empty,
    failed_calls,
    verifier_errors,
    critic_agreement,
    distinct,
    same_answer,
    rows,
    contaminated,
    format_only,
    forgetting,
    decline,
]


@pytest.mark.parametrize("spoil", FAILURES, ids=lambda spoil: spoil.__name__)
def test_each_failure_raises_its_own_alarm(spoil: Callable[[Round], None]) -> None:
    made = Round()
    spoil(made)
    names = {alarm.split(":")[0] for alarm in made.watch().alarms}
    # One answer to everything is also no diversity within a task.
    assert names == ({"same_answer", "distinct"} if spoil is same_answer else {spoil.__name__})


@pytest.mark.parametrize(
    ("right", "wrong", "agrees", "correlates"), [(5, 1, 1.0, 1.0), (2, 5, 0.0, -1.0), (5, 5, 1 / 6, None)]
)
def test_the_critics_marks_are_held_against_the_verifier(
    right: int, wrong: int, agrees: float, correlates: float | None
) -> None:
    made = Round()
    correct = {critique.attempt: critique.correct for critique in made.critiques}
    made.selections = [
        one.model_copy(
            update={"scores": {"rubric": right if correct[one.attempt] else wrong, "correct": correct[one.attempt]}}
        )
        for one in made.selections
    ]
    # One mark that could not be read counts for nothing.
    made.selections.append(made.selections[0].model_copy(update={"scores": {"rubric": 0.0, "correct": 1.0}}))
    found = made.watch()
    assert found.values["critic_agreement"] == pytest.approx(agrees)
    assert found.values.get("critic_correlation") == (None if correlates is None else pytest.approx(correlates))
    assert [alarm.split(":")[0] for alarm in found.alarms] == ([] if agrees == 1 else ["critic_agreement"])


def test_the_order_in_which_attempts_ended_changes_no_value() -> None:
    made = Round()
    source = random.Random(0)
    made.critiques = [
        one.model_copy(update={"correct": source.random() < 0.4, "verdict": "accept"}) for one in made.critiques
    ]
    correct = {critique.attempt: critique.correct for critique in made.critiques}
    made.selections = [
        one.model_copy(update={"scores": {"rubric": source.randint(1, 5), "correct": float(correct[one.attempt])}})
        for one in made.selections
    ]
    found = made.watch().values
    assert {"pass@1", "pass@4", "distinct", "critic_correlation"} <= found.keys()
    for _ in range(10):
        for shuffled in (made.attempts, made.critiques, made.selections):
            source.shuffle(shuffled)
        assert made.watch().values == found


def test_a_fall_within_noise_is_no_alarm() -> None:
    made = Round()
    made.evaluations += [*steps("retention", 60, 74, 72), *steps("steer", 20, 30, 28)]
    found = made.watch()
    assert found.alarms == ()
    assert found.values["steer"] == pytest.approx(28 / 48)
    assert found.values["decline.from_best"] == pytest.approx(-2 / 48)


def test_an_old_fall_is_not_reported_again() -> None:
    made = Round(round=3)
    made.evaluations += steps("retention", 60, 74, 50)
    assert made.watch().alarms == ()


def test_families_with_few_answers_may_repeat_them() -> None:
    made = Round()
    made.change("attempts", answer="yes")
    made.change("tasks", choices=2)
    assert made.watch().alarms == ()


def test_a_handful_of_observations_raises_no_alarm() -> None:
    made = Round()
    made.tasks, made.rows = made.tasks[1:2], []
    of_one = {attempt.id for attempt in made.attempts if attempt.task == made.tasks[0].id}
    made.attempts = [a for a in made.attempts if a.id in of_one]
    made.critiques = [c.model_copy(update={"error": "crashed"}) for c in made.critiques if c.attempt in of_one]
    made.calls = []
    assert made.watch().alarms == ()


def test_rescues_are_counted_among_revisions_only() -> None:
    made = Round()
    made.say(made.tasks[1], ["Answer: 1", "Answer: 2"], [True, False], turn=1)
    assert made.watch().values["rescued"] == 0.5
    assert made.watch().values["pass@1"] == pytest.approx(1 / 6)


def test_a_round_without_anything_is_no_failure() -> None:
    found = monitors(1, SETTINGS)
    assert found.alarms == ()
    assert found.values == {"contaminated": 0.0}
