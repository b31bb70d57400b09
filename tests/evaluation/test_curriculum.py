"""Training climbs with what the model can do, falls where nothing passes, and stops where nothing is gained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_evaluations import evaluation  # type: ignore[import-not-found]

from quintet.evaluation.curriculum import advance, pass_rates, stalled
from quintet.evaluation.settings import CurriculumSettings, EvaluationSettings
from quintet.records import Attempt, Critique, Evaluation, Task

SETTINGS = EvaluationSettings()
LEVELS = {"gcd": 1}


@pytest.mark.parametrize(
    ("rate", "level", "says"),
    [
        (0.51, 2, "gcd climbs to 2 (51% right at 1)"),
        (0.50, 1, "gcd stays at 1 (50% right at 1)"),
        (0.04, 0, "gcd falls to 0 (4% right at 1)"),
        (0.05, 1, "gcd stays at 1 (5% right at 1)"),
    ],
)
def test_a_family_moves_by_its_pass_rate(rate: float, level: int, says: str) -> None:
    made = advance(1, LEVELS, {"gcd": rate}, SETTINGS, {"gcd": 3})
    assert made.levels == {"gcd": level}
    assert made.reason == says
    assert made.evidence == {"gcd": rate}


def test_the_top_and_the_bottom_hold() -> None:
    assert advance(1, {"gcd": 2}, {"gcd": 1.0}, SETTINGS, {"gcd": 3}).levels == {"gcd": 2}
    assert advance(1, {"gcd": 0}, {"gcd": 0.0}, SETTINGS, {"gcd": 3}).levels == {"gcd": 0}


def test_a_family_that_was_not_practised_stays() -> None:
    made = advance(1, LEVELS, {}, SETTINGS, {"gcd": 3})
    assert (made.levels, made.evidence) == (LEVELS, {})
    assert "not practised" in made.reason


def test_the_steer_suite_holds_a_climb_that_does_not_carry_over() -> None:
    made = advance(1, LEVELS, {"gcd": 0.9}, SETTINGS, {"gcd": 3}, {"gcd": -0.25})
    assert made.levels == LEVELS
    assert "held by the steer suite, -25 points" in made.reason
    assert advance(1, LEVELS, {"gcd": 0.9}, SETTINGS, {"gcd": 3}, {"gcd": -0.05}).levels == {"gcd": 2}


@given(st.integers(0, 4), st.floats(0, 1), st.floats(-1, 1))
def test_a_level_moves_one_step_and_stays_in_range(level: int, rate: float, change: float) -> None:
    made = advance(1, {"gcd": level}, {"gcd": rate}, SETTINGS, {"gcd": 5}, {"gcd": change}).levels["gcd"]
    assert abs(made - level) <= 1
    assert 0 <= made <= 4


def test_pass_rates_count_first_attempts_at_the_level_trained_on() -> None:
    def task(level: int) -> Task:
        return Task(family="gcd", level=level, question="?", canonical=f"gcd{level}", truth={})

    def attempt(task: Task, sample: int, turn: int = 0) -> Attempt:
        return Attempt(
            round=1, task=task.id, call="c", sample=sample, turn=turn, text="", answer=None, strict_answer=None
        )

    here, below = task(1), task(0)
    attempts = [attempt(here, 0), attempt(here, 1), attempt(here, 2, turn=1), attempt(below, 0)]
    critiques = [
        Critique(round=1, task=a.task, attempt=a.id, score=mark, correct=mark, strict=False, verdict="accept")
        for a, mark in zip(attempts, [True, False, True, True], strict=True)
    ]
    assert pass_rates([here, below], attempts, critiques, LEVELS) == {"gcd": 0.5}


def steer(*correct: int) -> list[Evaluation]:
    return [
        evaluation([i < right for i in range(48)], f"adapter-{number}", "steer", number)
        for number, right in enumerate(correct)
    ]


def test_a_run_stalls_after_so_many_rounds_without_a_new_best() -> None:
    three = EvaluationSettings(curriculum=CurriculumSettings(patience=3))
    assert not stalled(steer(10, 20, 20, 19), three)
    assert stalled(steer(10, 20, 20, 19, 18), three)
    assert not stalled(steer(10, 20, 20, 19, 21), three)
    assert not stalled(steer(10, 9, 8, 7, 6), SETTINGS)


def test_only_the_steer_suite_says_whether_a_run_stalls() -> None:
    three = EvaluationSettings(curriculum=CurriculumSettings(patience=3))
    others = [evaluation([False] * 9, f"adapter-{n}", "retention", n) for n in range(6)]
    assert not stalled([*steer(10, 20), *others], three)
