"""The gate promotes gains, refuses chance and loss, and errs as rarely as it says over a whole run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_evaluations import evaluation, pair  # type: ignore[import-not-found]

from quintet.evaluation.errors import EvaluationError
from quintet.evaluation.gate import abstain, compare, decide, verify_final
from quintet.evaluation.settings import EvaluationSettings
from quintet.records import BASE, Decision, Evaluation, Opening

SETTINGS = EvaluationSettings()
ALONE = EvaluationSettings(retention_items=0)


Counts = tuple[int, int, int]
"""Won, lost, all."""


def earlier(number: int) -> list[Decision]:
    """So many earlier decisions that promoted nothing."""
    return [
        Decision(round=round, candidate="adapter-0", incumbent=BASE, promoted=False, reason="rejected", alpha=0.01)
        for round in range(1, number + 1)
    ]


def decision(
    gate: Counts, retention: Counts | None = (6, 2, 128), number: int = 1, settings: EvaluationSettings = SETTINGS
) -> Decision:
    before, after = pair(*gate)
    held = pair(*retention, suite="retention") if retention else (None, None)
    return decide(number, "adapter-1", BASE, before, after, held[0], held[1], settings, earlier(number - 1))


class TestDecide:
    def test_a_clear_gain_is_promoted_and_says_why(self) -> None:
        made = decision((41, 6, 120))
        assert made.promoted
        assert made.reason == "promoted: 41 items won, 6 lost, p = 2e-07 < α = 0.03, +29.2 points [19.1, 39.1]"
        assert (made.won, made.lost) == (41, 6)
        assert made.effect == pytest.approx(35 / 120)
        assert made.effect_low < made.effect < made.effect_high
        assert len(made.evaluations) == 4

    def test_a_promotion_hands_its_level_on_to_the_next_gate(self) -> None:
        before, after = pair(13, 3, 120)
        first = decision((41, 6, 120))
        alone = decide(2, "adapter-2", BASE, before, after, None, None, ALONE, earlier(1))
        after_one = decide(2, "adapter-2", BASE, before, after, None, None, ALONE, [first])
        assert (alone.promoted, after_one.promoted) == (False, True)
        assert after_one.alpha == pytest.approx(first.alpha + alone.alpha)

    def test_chance_is_rejected(self) -> None:
        made = decision((20, 14, 120))
        assert not made.promoted
        assert "p = 0.39 ≥ α = 0.03" in made.reason

    def test_a_clear_loss_is_rejected(self) -> None:
        made = decision((6, 41, 120))
        assert not made.promoted
        assert "worse than the incumbent" in made.reason

    def test_a_significant_gain_too_small_to_matter_is_rejected(self) -> None:
        made = decision((14, 1, 1000))
        assert made.p_value < made.alpha
        assert not made.promoted
        assert "below the minimum of 2 points" in made.reason

    def test_the_same_evidence_must_be_stronger_at_a_later_test(self) -> None:
        assert decision((25, 10, 150), number=1).promoted
        later = decision((25, 10, 150), number=4)
        assert not later.promoted
        assert later.alpha == pytest.approx(decision((25, 10, 150)).alpha / 16)

    def test_lost_abilities_stop_a_gain(self) -> None:
        made = decision((41, 6, 120), retention=(4, 16, 128))
        assert not made.promoted
        assert "retention: 4 items won, 16 lost, -9.4 points; a fall of 10 cannot be excluded" in made.reason

    def test_a_retention_suite_that_did_not_change_passes(self) -> None:
        assert decision((41, 6, 120), retention=(0, 0, 128), number=8).promoted

    def test_retention_is_not_optional_once_the_gate_is_passed(self) -> None:
        with pytest.raises(EvaluationError, match="not evaluated on retention"):
            decision((41, 6, 120), retention=None)
        assert not decision((20, 14, 120), retention=None).promoted

    def test_without_a_retention_suite_the_gate_decides_alone(self) -> None:
        assert decision((41, 6, 120), retention=None, settings=ALONE).promoted

    def test_a_gain_in_format_only_is_named_and_rejected(self) -> None:
        n = 120
        before = evaluation([True] * 40 + [False] * 80, strict=[False] * n)
        after = evaluation([True] * 40 + [False] * 80, "adapter-1", strict=[True] * 40 + [False] * 80)
        made = decide(1, "adapter-1", BASE, before, after, None, None, SETTINGS)
        assert not made.promoted
        assert "gained the format only: strictly read, +33.3 points" in made.reason

    def test_different_items_cannot_be_compared(self) -> None:
        with pytest.raises(EvaluationError, match="same items"):
            compare(evaluation([True] * 5), evaluation([True] * 6, "adapter-1"), SETTINGS)

    def test_a_round_without_a_candidate_spends_nothing(self) -> None:
        made = abstain(3, BASE, "no rows to learn from")
        assert (made.promoted, made.candidate, made.alpha, made.evaluations) == (False, None, 0.0, ())

    @given(st.integers(0, 60), st.integers(0, 60))
    @settings(max_examples=60, deadline=None)
    def test_one_more_win_never_turns_a_promotion_down(self, won: int, lost: int) -> None:
        if decision((won, lost, 130), retention=None, settings=ALONE).promoted:
            assert decision((won + 1, lost, 130), retention=None, settings=ALONE).promoted


class TestGradedScores:
    GRADED = EvaluationSettings(test="bootstrap", resamples=5000, retention_items=0)

    def graded(self, scores: Iterable[float], adapter: str) -> Evaluation:
        marks: Evaluation = evaluation([score == 1 for score in scores], adapter)
        answers = tuple(
            answer.model_copy(update={"score": score}) for answer, score in zip(marks.answers, scores, strict=True)
        )
        return marks.model_copy(update={"answers": answers})

    def test_partial_gains_count(self) -> None:
        scores = np.random.default_rng(0).uniform(0.2, 0.6, 100)
        gains = np.random.default_rng(1).normal(0.1, 0.1, 100)
        before, after = self.graded(scores, BASE), self.graded(scores + gains, "adapter-1")
        made = decide(1, "adapter-1", BASE, before, after, None, None, self.GRADED)
        assert made.promoted
        assert made.effect == pytest.approx(gains.mean())
        assert made == decide(1, "adapter-1", BASE, before, after, None, None, self.GRADED)

    def test_the_same_scores_are_no_gain(self) -> None:
        before, after = self.graded([0.5] * 50, BASE), self.graded([0.5] * 50, "adapter-1")
        assert not decide(1, "adapter-1", BASE, before, after, None, None, self.GRADED).promoted


class TestErrorOverAWholeRun:
    """Candidates that are no better, round after round, through `decide` itself."""

    ROUNDS, RUNS = 20, 4000

    def share_of_runs(self, n: int, chances: tuple[float, float], promoted: Callable[[int, int, int], bool]) -> float:
        """Share of runs with any promotion; outcomes repeat, so each is decided once."""
        generator = np.random.default_rng(20)
        drawn = generator.multinomial(n, [*chances, 1 - sum(chances)], (self.RUNS, self.ROUNDS))
        once = functools.cache(promoted)
        return float(
            np.mean(
                [
                    any(once(int(won), int(lost), number) for number, (won, lost, _) in enumerate(run, 1))
                    for run in drawn
                ]
            )
        )

    def test_candidates_that_are_no_better_are_rarely_ever_promoted(self) -> None:
        def promoted(won: int, lost: int, number: int) -> bool:
            # Most outcomes are even, and a lead of three can never pass: spare deciding them.
            return won > lost + 3 and decision((won, lost, 100), None, number, ALONE).promoted

        share = self.share_of_runs(100, (0.15, 0.15), promoted)
        assert 0.003 < share <= SETTINGS.alpha

    def test_candidates_that_lost_old_abilities_are_rarely_ever_promoted(self) -> None:
        # The gate is passed for certain here: retention alone stands in the way.
        def promoted(won: int, lost: int, number: int) -> bool:
            return won > lost - 13 and decision((60, 0, 100), (won, lost, 128), number).promoted

        share = self.share_of_runs(128, (0.03, 0.13), promoted)
        assert 0.01 < share <= SETTINGS.retention_alpha * 1.1

    def test_the_default_gate_sees_the_gain_it_claims_to_see(self) -> None:
        generator = np.random.default_rng(3)
        made = [
            decision((int(won), int(lost), SETTINGS.gate_items), retention=None, number=number, settings=ALONE)
            for number in (1, 4)
            for won, lost, _ in generator.multinomial(SETTINGS.gate_items, [0.20, 0.05, 0.75], 150)
        ]
        assert np.mean([d.promoted for d in made[:150]]) > 0.93
        assert np.mean([d.promoted for d in made[150:]]) > 0.78


class TestVerifyFinal:
    def test_the_result_is_the_promoted_adapter_against_the_base(self) -> None:
        base, best = pair(60, 20, 240, "final")
        opening = Opening(round=3, number=1, tasks=base.tasks)
        found = verify_final(opening, base, best, SETTINGS)
        assert (found.base, found.promoted, found.opening, found.round) == (base.id, best.id, opening.id, 3)
        assert found.effect == pytest.approx(40 / 240)
        assert found.effect_low == pytest.approx(0.0963, abs=1e-4)
        assert found.p_value < 1e-4

    def test_nothing_promoted_is_no_effect(self) -> None:
        base, _ = pair(0, 0, 40, "final")
        found = verify_final(Opening(round=1, number=1, tasks=base.tasks), base, None, SETTINGS)
        assert (found.promoted, found.effect, found.p_value) == (None, 0.0, 1.0)

    def test_other_items_than_the_opening_are_refused(self) -> None:
        base, best = pair(6, 2, 40, "final")
        with pytest.raises(EvaluationError, match="not about the items"):
            verify_final(Opening(round=1, number=1, tasks=base.tasks[:-1]), base, best, SETTINGS)

    def test_only_the_base_model_is_the_yardstick(self) -> None:
        base, best = pair(6, 2, 40, "final")
        with pytest.raises(EvaluationError, match="base model"):
            verify_final(Opening(round=1, number=1, tasks=base.tasks), best, base, SETTINGS)


def test_a_decision_says_the_same_twice() -> None:
    first, second = decision((30, 9, 120)), decision((30, 9, 120))
    assert isinstance(first, Decision)
    assert first.id == second.id
