"""The tests and intervals give the published figures, keep their error rates, and obey their laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quintet.evaluation.statistics import (
    alpha_at,
    correlation,
    holm,
    mcnemar_exact,
    next_alpha,
    noninferiority,
    paired_bootstrap,
    pass_at_k,
    quantile,
    score_statistic,
    tango,
    wilson,
)

Counts = tuple[int, int, int]
"""Won, lost, all."""


@st.composite
def pairs(draw: st.DrawFn, largest: int = 200) -> Counts:
    n = draw(st.integers(1, largest))
    won = draw(st.integers(0, n))
    return won, draw(st.integers(0, n - won)), n


def outcomes(n: int) -> tuple[Any, Any, Any]:
    """All (won, lost) of n pairs, and the logarithm of their multinomial coefficient."""
    won, lost = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = won + lost <= n
    won, lost = won[possible], lost[possible]
    factorial = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    return won, lost, factorial[n] - factorial[won] - factorial[lost] - factorial[n - won - lost]


def chances(n: int, p_won: float, p_lost: float) -> Any:
    won, lost, ways = outcomes(n)
    rest = 1 - p_won - p_lost
    return np.exp(ways + won * np.log(p_won) + lost * np.log(p_lost) + (n - won - lost) * np.log(rest))


class TestPublishedExamples:
    def test_mcnemar_airway_reactivity(self) -> None:
        # Bentur et al. (2009), as analysed by Fagerland et al. (2013), table 2: 1 and 7 discordant pairs.
        assert mcnemar_exact(1, 7) == pytest.approx(0.0703125)

    def test_mcnemar_response_to_therapy(self) -> None:
        # Cavo et al. (2012): 6 and 16; R package contingencytables prints 0.052479.
        assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)

    def test_tango_airway_reactivity(self) -> None:
        # Fagerland, Lydersen, Laake (2014), Stat. Med. 33:2850: -0.517 to -0.026, with 21 pairs.
        assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)

    def test_tango_response_to_therapy(self) -> None:
        # R package contingencytables: -0.1240 to -0.0054, with 161 pairs.
        assert tango(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)

    def test_wilson(self) -> None:
        # Newcombe (1998), Stat. Med. 17:857, table I: 81/263, 15/148, 0/20, 1/29.
        assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
        assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
        assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
        assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)

    def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(self) -> None:
        from itertools import combinations

        marks = [1, 1, 0, 0, 0, 0, 0]
        subsets = [any(subset) for subset in combinations(marks, 3)]
        assert pass_at_k(7, 2, 3) == pytest.approx(sum(subsets) / len(subsets))


class TestLaws:
    @given(pairs())
    def test_mcnemar_is_a_symmetric_p_value(self, counts: Counts) -> None:
        won, lost, _ = counts
        assert 0 < mcnemar_exact(won, lost) <= 1
        assert mcnemar_exact(won, lost) == mcnemar_exact(lost, won)

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_one_more_win_for_the_leader_is_more_evidence(self, won: int, lost: int) -> None:
        if won > lost:
            assert mcnemar_exact(won + 1, lost) < mcnemar_exact(won, lost)

    def test_mcnemar_survives_more_wins_than_a_float_can_tell(self) -> None:
        assert 0 < mcnemar_exact(5000, 0) < 1e-300

    @given(pairs())
    @settings(deadline=None)  # scipy.stats is slow to import
    def test_mcnemar_agrees_with_scipy(self, counts: Counts) -> None:
        from scipy.stats import binomtest

        won, lost, _ = counts
        if won + lost:
            assert mcnemar_exact(won, lost) == pytest.approx(binomtest(won, won + lost).pvalue, rel=1e-9)

    @given(pairs(), st.floats(0.5, 0.9999))
    def test_tango_holds_the_estimate_and_stays_in_range(self, counts: Counts, confidence: float) -> None:
        won, lost, n = counts
        low, high = tango(won, lost, n, confidence)
        assert -1 <= low <= (won - lost) / n <= high <= 1
        assert low < high

    @given(pairs())
    def test_tango_mirrors_when_the_two_change_places(self, counts: Counts) -> None:
        won, lost, n = counts
        low, high = tango(won, lost, n)
        assert tango(lost, won, n) == pytest.approx((-high, -low), abs=1e-9)

    @given(pairs(), st.floats(0.5, 0.98))
    def test_more_confidence_is_a_wider_interval(self, counts: Counts, confidence: float) -> None:
        narrow, wide = tango(*counts, confidence=confidence), tango(*counts, confidence=confidence + 0.01)
        assert wide.low <= narrow.low
        assert narrow.high <= wide.high

    @given(pairs(), st.floats(0.01, 0.5), st.floats(0.001, 0.2))
    def test_noninferiority_and_interval_decide_alike(self, counts: Counts, margin: float, alpha: float) -> None:
        low = tango(*counts, confidence=1 - 2 * alpha).low
        if abs(low + margin) > 1e-9:
            assert (noninferiority(*counts, margin=margin) < alpha) == (low > -margin)

    @given(pairs(), st.integers(-99, 98))
    def test_the_score_statistic_falls_with_the_difference(self, counts: Counts, percent: int) -> None:
        later = score_statistic((percent + 1) / 100, *counts)
        assert later <= score_statistic(percent / 100, *counts) + 1e-12

    @given(st.integers(0, 500), st.integers(1, 500), st.floats(0.5, 0.9999))
    def test_wilson_holds_the_share(self, correct: int, n: int, confidence: float) -> None:
        correct = min(correct, n)
        low, high = wilson(correct, n, confidence)
        assert 0 <= low <= correct / n <= high <= 1

    def test_alpha_is_spent_up_to_the_budget_and_never_beyond(self) -> None:
        spent = math.fsum(alpha_at(k, 0.05) for k in range(1, 100_000))
        assert 0.05 - 1e-6 < spent < 0.05

    @pytest.mark.parametrize("truths", [0.0, 0.3, 0.7])
    def test_levels_handed_on_keep_the_chance_of_any_false_rejection(self, truths: float) -> None:
        # Tests of which some have an effect that is always found; the others' p-values are uniform.
        source, alpha, runs, false = np.random.default_rng(5), 0.2, 20_000, 0
        for _ in range(runs):
            level, passed, wrong = 0.0, False, False
            for k in range(1, 9):
                level = next_alpha(k, alpha, level, passed)
                effect = source.random() < truths
                passed = bool(effect or source.random() < level)
                wrong |= passed and not effect
            false += wrong
        assert false / runs < alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)

    def test_a_promotion_hands_its_level_on(self) -> None:
        first = next_alpha(1, 0.05, 0.0, False)
        assert first == alpha_at(1, 0.05)
        assert next_alpha(2, 0.05, first, True) == pytest.approx(first + alpha_at(2, 0.05))
        assert next_alpha(2, 0.05, first, False) == alpha_at(2, 0.05)

    @given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(0, 9))
    def test_bootstrap_holds_the_mean_and_repeats_itself(self, differences: list[float], seed: int) -> None:
        found = paired_bootstrap(differences, resamples=200, seed=seed)
        assert -1 <= found.low <= found.effect <= found.high <= 1
        assert 0 < found.p_value <= 1
        assert found == paired_bootstrap(differences, resamples=200, seed=seed)

    def test_bootstrap_leaves_the_global_generator_alone(self) -> None:
        np.random.seed(7)
        before = np.random.random_sample()
        np.random.seed(7)
        paired_bootstrap([0.1, -0.2, 0.4], resamples=200)
        assert np.random.random_sample() == before

    @pytest.mark.parametrize("wrong", [(-1, 2), (2, -1)])
    def test_impossible_counts_are_refused(self, wrong: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="not possible"):
            mcnemar_exact(*wrong)

    def test_more_discordant_pairs_than_pairs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not possible"):
            tango(6, 5, 10)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
    def test_a_confidence_that_is_none_is_refused(self, confidence: float) -> None:
        with pytest.raises(ValueError, match="confidence"):
            quantile(confidence)

    def test_no_items_prove_nothing(self) -> None:
        assert tango(0, 0, 0) == (-1, 1)
        assert wilson(0, 0) == (0, 1)
        assert noninferiority(0, 0, 0, 0.1) == 1
        assert mcnemar_exact(0, 0) == 1
        assert paired_bootstrap([]).p_value == 1


class TestErrorRates:
    """By enumeration of all outcomes: exact, so nothing here hangs on a seed."""

    @pytest.mark.parametrize("n", [30, 96])
    @pytest.mark.parametrize("discordant", [0.05, 0.3, 0.8])
    @pytest.mark.parametrize("alpha", [0.05, 0.0076])
    def test_mcnemar_never_exceeds_its_level(self, n: int, discordant: float, alpha: float) -> None:
        won, lost, _ = outcomes(n)
        rejected = np.array([mcnemar_exact(int(b), int(c)) < alpha for b, c in zip(won, lost, strict=True)])
        assert chances(n, discordant / 2, discordant / 2)[rejected].sum() <= alpha

    @pytest.mark.parametrize("n", [30, 60])
    def test_tango_covers_as_it_says(self, n: int) -> None:
        won, lost, _ = outcomes(n)
        limits = np.array([tango(int(b), int(c), n) for b, c in zip(won, lost, strict=True)])
        coverage = []
        for p_won, p_lost in [(0.05, 0.05), (0.1, 0.1), (0.2, 0.05), (0.3, 0.1), (0.4, 0.2), (0.05, 0.25)]:
            inside = (limits[:, 0] <= p_won - p_lost) & (p_won - p_lost <= limits[:, 1])
            coverage.append(chances(n, p_won, p_lost)[inside].sum())
        assert min(coverage) > 0.935
        assert np.mean(coverage) == pytest.approx(0.95, abs=0.012)

    @pytest.mark.parametrize("n", [64, 128, 200])
    @pytest.mark.parametrize("alpha", [0.0608, 0.0152, 0.0038])
    def test_noninferiority_is_near_its_level_at_the_margin(self, n: int, alpha: float) -> None:
        margin = 0.10
        won, lost, _ = outcomes(n)
        passed = np.array([noninferiority(int(b), int(c), n, margin) < alpha for b, c in zip(won, lost, strict=True)])
        for p_won in (0.01, 0.03, 0.06, 0.1, 0.15, 0.2):
            assert chances(n, p_won, p_won + margin)[passed].sum() <= 1.1 * alpha

    def test_bootstrap_keeps_its_level_on_graded_scores(self) -> None:
        generator = np.random.default_rng(1)
        draws = generator.beta(0.5, 0.7, (300, 60)) - generator.beta(0.5, 0.7, (300, 60))
        p_values = np.array([paired_bootstrap(draw, resamples=500, seed=i).p_value for i, draw in enumerate(draws)])
        assert (p_values < 0.05).mean() < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
        assert (p_values < 0.5).mean() == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 300))


class TestSeveralTests:
    def test_holm_steps_down_and_keeps_the_order_given(self) -> None:
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        assert holm([0.5, 0.9]) == [1.0, 1.0]
        assert holm([]) == []

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_adjusted_values_are_no_smaller_and_in_the_same_order(self, values: list[float]) -> None:
        adjusted = holm(values)
        assert all(raw <= one <= 1 for raw, one in zip(values, adjusted, strict=True))
        assert min(adjusted) == min(1.0, len(values) * min(values))
        ranked = sorted(zip(values, adjusted, strict=True))
        assert [one for _, one in ranked] == sorted(adjusted)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=30))
def test_a_correlation_is_that_of_numpy(pairs: list[tuple[int, int]]) -> None:
    one, other = ([float(number) for number in numbers] for numbers in zip(*pairs, strict=True))
    found = correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-9)
