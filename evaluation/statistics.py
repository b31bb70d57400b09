"""The paired tests and intervals that decisions rest on, in closed form wherever there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Bootstrap(NamedTuple):
    """What a paired bootstrap found about a mean difference."""

    effect: float
    """Mean of the differences."""
    low: float
    high: float
    p_value: float
    """Two-sided, that the mean is zero; at least 1 / (resamples + 1)."""


def quantile(confidence: float) -> float:
    """The standard normal's two-sided quantile z, so that P(|Z| < z) = `confidence`."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie strictly between 0 and 1")
    # By symmetry from the lower tail, which keeps its precision where the upper one rounds to 1.
    return -NormalDist().inv_cdf((1 - confidence) / 2)


def alpha_at(k: int, alpha: float) -> float:
    """The k-th test's share of an error budget over an open-ended number of tests: 6α / (π²k²).

    The shares add up to `alpha` over k = 1, 2, … (Basel series), so the chance of any false rejection stays
    below it, by Boole's inequality, however many tests follow and however they depend on each other.

    Args:
        k: Number of this test, from 1; only tests made count.
        alpha: The whole budget.
    """
    if k < 1:
        raise ValueError(f"test number is {k}; tests are counted from 1")
    return 6 * alpha / (math.pi * k) ** 2


def next_alpha(k: int, alpha: float, last: float, passed: bool) -> float:
    """The level of the k-th test by the online fallback procedure of Tian and Ramdas (2021, arXiv 1910.04900).

    A test that passes hands its level on to the next: α_k = 6α / (π²k²) + R_{k-1} α_{k-1}. The chance of any false
    rejection stays below `alpha` all the same: on the way to a first one, all that was handed on came from true
    discoveries, so each share is spent on a true null at most once.

    Args:
        k: Number of this test, from 1; only tests made count.
        alpha: The whole budget.
        last: The level of the test before; 0 for the first.
        passed: Whether that one passed.
    """
    return alpha_at(k, alpha) + (last if passed else 0.0)


def mcnemar_exact(won: int, lost: int) -> float:
    """Two-sided p-value of the exact conditional McNemar test.

    Doubles the smaller binomial tail of the discordant pairs under p = 1/2. Its error never exceeds its
    level, unlike that of the asymptotic and (rarely) the mid-p version: Fagerland, Lydersen, Laake (2013),
    BMC Med. Res. Methodol. 13:91.

    Args:
        won: Pairs only the candidate has right.
        lost: Pairs only the incumbent has right.
    """
    check_counts(won, lost)
    discordant = won + lost
    tail = sum(math.comb(discordant, i) for i in range(min(won, lost) + 1))
    p_value = 2 * tail / (1 << discordant)
    return min(1.0, max(p_value, math.ulp(0.0)))


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion (1927): Newcombe (1998), Stat. Med. 17:857, method 3.

    Args:
        correct: Items right.
        n: Items; with none, the interval is all of [0, 1].
        confidence: Two-sided confidence level.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} items right; it must be 0 to {n}")
    if n == 0:
        return Interval(low=0.0, high=1.0)
    share = correct / n
    square = quantile(confidence) ** 2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(square * (share * (1 - share) / n + square / (4 * n * n))) / (1 + square / n)
    return Interval(low=max(0.0, min(share, centre - half)), high=min(1.0, max(share, centre + half)))


def score_statistic(difference: float, won: int, lost: int, n: int) -> float:
    """Tango's score statistic of the hypothesis that the true paired difference is `difference`.

    Tango (1998), Stat. Med. 17:891: (b - c - nΔ) / sqrt(n (2q + Δ(1 - Δ))), with q the maximum-likelihood
    estimate of P(only the incumbent is right) under the hypothesis. Asymptotically standard normal, and
    falling in Δ.
    """
    linear = -won - lost + (2 * n - won + lost) * difference
    constant = -lost * difference * (1 - difference)
    q = (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
    distance = won - lost - n * difference
    variance = n * (2 * q + difference * (1 - difference))
    if variance > 0:
        return distance / math.sqrt(variance)
    return math.copysign(math.inf, distance) if distance else 0.0


def tango(won: int, lost: int, n: int, confidence: float = 0.95) -> Interval:
    """Tango's score interval for a difference of paired proportions, candidate's minus incumbent's.

    All differences that the score test does not reject (Tango 1998). Chosen over method 10 of Newcombe
    (1998), Stat. Med. 17:2635, since it needs the discordant pairs only, and its limits are those at which
    `noninferiority` decides: what is reported and what is decided never differ.

    Args:
        won: Pairs only the candidate has right.
        lost: Pairs only the incumbent has right.
        n: All pairs; with none, the interval is all of [-1, 1].
        confidence: Two-sided confidence level.
    """
    check_counts(won, lost, n)
    if n == 0:
        return Interval(low=-1.0, high=1.0)
    z = quantile(confidence)
    estimate = (won - lost) / n
    return Interval(low=_crossing(-1.0, estimate, z, won, lost, n), high=_crossing(estimate, 1.0, -z, won, lost, n))


def noninferiority(won: int, lost: int, n: int, margin: float) -> float:
    """One-sided p-value of the hypothesis that the candidate's share fell by `margin` or more.

    The score test of Nam (1997), Biometrics 53:1422, and Tango (1998), at Δ = -margin. Its p-value is below α
    just where the lower limit of `tango` at confidence 1 - 2α lies above -margin. It is asymptotic: by
    enumeration (64 to 200 pairs, margin 0.1, at most half of them discordant) its error is at most 1.1 times
    its level.

    Args:
        won: Pairs only the candidate has right.
        lost: Pairs only the incumbent has right.
        n: All pairs; with none, the p-value is 1.
        margin: The largest fall to be tolerated, as a fraction in (0, 1).
    """
    check_counts(won, lost, n)
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}; it must lie strictly between 0 and 1")
    if n == 0:
        return 1.0
    return NormalDist().cdf(-score_statistic(-margin, won, lost, n))


def paired_bootstrap(
    differences: Sequence[float], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Bootstrap:
    """Studentised bootstrap of the mean of paired differences, for graded scores.

    Efron and Tibshirani (1993), An Introduction to the Bootstrap: the bootstrap-t interval (section 12.5) and
    the one-sample test (section 16.4) made two-sided, its p-value (1 + as extreme) / (1 + resamples).

    Args:
        differences: Candidate's minus incumbent's score on each item, in [-1, 1].
        confidence: Two-sided confidence level.
        resamples: Bootstrap samples; the smallest p-value is 1 / (resamples + 1).
        seed: Seed of a generator of its own.
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n == 0:
        return Bootstrap(effect=0.0, low=-1.0, high=1.0, p_value=1.0)
    effect = float(values.mean())
    error = float(values.std() / math.sqrt(n))
    if error == 0:
        # One value throughout says nothing about its spread; no claim is safer than a false certainty.
        return Bootstrap(effect=effect, low=-1.0, high=1.0, p_value=1.0)
    generator = np.random.default_rng(seed)
    drawn = [_studentised(values, generator, size) for size in _chunks(resamples, n)]
    statistics = np.concatenate(drawn)
    extreme = int((np.abs(statistics) >= abs(effect / error) * (1 - 1e-12)).sum())
    tail = (1 - confidence) / 2
    # "higher" and "lower" pick a drawn value, since interpolating between infinities gives no number.
    high_t = float(np.quantile(statistics, 1 - tail, method="higher"))
    low_t = float(np.quantile(statistics, tail, method="lower"))
    return Bootstrap(
        effect=effect,
        low=max(-1.0, min(effect, effect - high_t * error)),
        high=min(1.0, max(effect, effect - low_t * error)),
        p_value=(1 + extreme) / (1 + resamples),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for several tests at once by Holm (1979), Scand. J. Stat. 6:65, in the order given.

    Whoever rejects those below α errs in any of them with a chance of at most α, however the tests hang together.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased pass@k: Chen et al. (2021), arXiv 2107.03374, eq. 1.

    Args:
        samples: Samples drawn for a task.
        correct: Those that are right.
        k: At most `samples`.
    """
    if not (0 <= correct <= samples and 1 <= k <= samples):
        raise ValueError(f"pass@{k} of {correct} right in {samples} samples; need correct and k at most samples")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def check_counts(won: int, lost: int, n: int | None = None) -> None:
    """Refuse counts that no set of pairs can have."""
    if won < 0 or lost < 0 or (n is not None and won + lost > n):
        raise ValueError(f"won {won}, lost {lost} of {n if n is not None else 'any'} pairs; not possible")


def _crossing(low: float, high: float, target: float, won: int, lost: int, n: int) -> float:
    """Where the score statistic, which falls in the difference, crosses `target`: by bisection to the last bit."""
    while low < (middle := (low + high) / 2) < high:
        if score_statistic(middle, won, lost, n) > target:
            low = middle
        else:
            high = middle
    return middle


def _chunks(resamples: int, n: int, most: int = 4_000_000) -> list[int]:
    """Split resamples so that no block holds more than `most` numbers."""
    size = max(1, most // n)
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def _studentised(values: Any, generator: Any, size: int) -> Any:
    """Student's t of `size` resamples about the observed mean, infinite where a resample has no spread."""
    import numpy as np

    resampled = values[generator.integers(0, len(values), (size, len(values)))]
    shift = resampled.mean(axis=1) - values.mean()
    error = resampled.std(axis=1) / math.sqrt(len(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        without_spread = np.where(abs(shift) < 1e-15, 0.0, np.copysign(np.inf, shift))
        return np.where(error > 1e-15, shift / error, without_spread)


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of paired numbers; `None` where one of them does not vary.

    With truth values (0 or 1) on one side it is the point-biserial correlation.
    """
    if len(one) < 2:
        return None
    middle, centre = math.fsum(one) / len(one), math.fsum(other) / len(other)
    spread = math.sqrt(math.fsum((x - middle) ** 2 for x in one) * math.fsum((y - centre) ** 2 for y in other))
    if not spread:
        return None
    return math.fsum((x - middle) * (y - centre) for x, y in zip(one, other, strict=True)) / spread
