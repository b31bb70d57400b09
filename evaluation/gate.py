"""The decisions: whether a candidate is promoted, and what a run achieved in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from quintet.evaluation.errors import EvaluationError
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.statistics import (
    alpha_at,
    mcnemar_exact,
    next_alpha,
    noninferiority,
    paired_bootstrap,
    tango,
)
from quintet.records import BASE, Decision, Evaluation, Opening, Part, Verification, digest

Extractor = Literal["correct", "strict"]


class Comparison(Part):
    """A candidate against an incumbent on the same items."""

    n: int
    won: int
    """Items only the candidate has right."""
    lost: int
    """Items only the incumbent has right."""
    effect: float
    """Candidate's minus incumbent's share right, or mean score."""
    low: float
    high: float
    p_value: float
    """Two-sided, that there is no difference."""


def compare(
    incumbent: Evaluation,
    candidate: Evaluation,
    settings: EvaluationSettings,
    extractor: Extractor = "correct",
    confidence: float | None = None,
) -> Comparison:
    """Compare two evaluations of the same items, pair by pair.

    Args:
        incumbent: What it is measured against.
        candidate: What is measured.
        settings: Which test, and the level of the interval.
        extractor: Count the lenient answers (`correct`) or the strict ones; graded scores are always lenient.
        confidence: Another level of the interval than the settings'.

    Raises:
        EvaluationError: The two are not about the same items in the same order.
    """
    if incumbent.tasks != candidate.tasks or incumbent.suite != candidate.suite:
        raise EvaluationError(
            f"{candidate.id} ({candidate.suite}, {candidate.n} items) and {incumbent.id} ({incumbent.suite}, "
            f"{incumbent.n} items) cannot be compared; both must answer the same items of one suite"
        )
    confidence = confidence or settings.confidence
    pairs = [
        (getattr(before, extractor), getattr(after, extractor))
        for before, after in zip(incumbent.answers, candidate.answers, strict=True)
    ]
    n, won, lost = len(pairs), pairs.count((False, True)), pairs.count((True, False))
    if settings.test == "bootstrap" and extractor == "correct":
        differences = [
            after.score - before.score for before, after in zip(incumbent.answers, candidate.answers, strict=True)
        ]
        seed = int(digest([incumbent.id, candidate.id])[:8], 16)
        found = paired_bootstrap(differences, confidence, settings.resamples, seed)
        return Comparison(n=n, won=won, lost=lost, **found._asdict())
    interval = tango(won, lost, n, confidence)
    return Comparison(
        n=n,
        won=won,
        lost=lost,
        effect=(won - lost) / n if n else 0.0,
        low=interval.low,
        high=interval.high,
        p_value=mcnemar_exact(won, lost),
    )


def decide(
    round: int,
    candidate: str,
    incumbent: str,
    gate_incumbent: Evaluation,
    gate_candidate: Evaluation,
    retention_incumbent: Evaluation | None,
    retention_candidate: Evaluation | None,
    settings: EvaluationSettings,
    tested: Sequence[Decision] = (),
) -> Decision:
    """Promote a candidate if it is better beyond chance, by enough, and has lost no old ability.

    Decided by the lenient extractor. The test is two-sided while only gains promote, so that a false
    promotion has at most half of `alpha` as its chance. The retention suite is the same in every round, and
    each decision tells one bit about it: its error budget holds for candidates that do not depend on earlier
    decisions, and is stretched by those that do, slowly (Dwork et al. 2015, arXiv 1506.02629).

    Args:
        round: The round.
        candidate: The candidate adapter's id.
        incumbent: The incumbent's id, or `BASE`.
        gate_incumbent: The incumbent on this round's gate.
        gate_candidate: The candidate on the same items.
        retention_incumbent: The incumbent on the retention suite; may be `None` where the gate refuses
            anyway or there is no such suite.
        retention_candidate: The candidate on it; `None` likewise.
        settings: Error budgets, minimum effect, margin.
        tested: The run's decisions so far that tested a candidate, in order: α is spent on tests made, and a
            promotion hands its level on to the next test.

    Raises:
        EvaluationError: The evaluations do not pair up, or the retention suite is missing where it decides.
    """
    gate = compare(gate_incumbent, gate_candidate, settings)
    number, last = len(tested) + 1, tested[-1] if tested else None
    alpha = next_alpha(number, settings.alpha, (last and last.alpha) or 0.0, last is not None and last.promoted)
    against = gate_objections(gate, alpha, settings)
    if settings.retention_items and retention_incumbent is not None and retention_candidate is not None:
        against += _retention_objections(retention_incumbent, retention_candidate, settings, number)
    elif settings.retention_items and not against:
        raise EvaluationError(f"round {round}: {candidate} passed the gate, but was not evaluated on retention")
    reason = f"rejected: {'; '.join(against)}" if against else f"promoted: {_sentence(gate, alpha)}"
    strict = compare(gate_incumbent, gate_candidate, settings, "strict")
    if against and gate.p_value >= alpha > strict.p_value and strict.effect > 0:
        reason += f"; gained the format only: strictly read, {_points(strict)}"
    evaluations = (gate_incumbent, gate_candidate, retention_incumbent, retention_candidate)
    return Decision(
        round=round,
        candidate=candidate,
        incumbent=incumbent,
        promoted=not against,
        reason=reason,
        evaluations=tuple(evaluation.id for evaluation in evaluations if evaluation is not None),
        won=gate.won,
        lost=gate.lost,
        effect=gate.effect,
        effect_low=gate.low,
        effect_high=gate.high,
        p_value=gate.p_value,
        alpha=alpha,
    )


def abstain(round: int, incumbent: str, reason: str) -> Decision:
    """The decision of a round that has no candidate: nothing is tested, and no α is spent."""
    return Decision(round=round, incumbent=incumbent, promoted=False, reason=reason)


def gate_objections(gate: Comparison, alpha: float, settings: EvaluationSettings) -> list[str]:
    """What the gate suite says against a promotion; nothing, if it passes."""
    if gate.p_value >= alpha:
        return [f"{_tally(gate)}, {_p(gate.p_value)} ≥ α = {alpha:.2g}, {_points(gate)}"]
    if gate.effect <= 0:
        return [f"worse than the incumbent: {_sentence(gate, alpha)}"]
    if gate.effect < settings.minimum_effect:
        least = f"{100 * settings.minimum_effect:.3g}"
        return [f"a gain below the minimum of {least} points: {_sentence(gate, alpha)}"]
    return []


def verify_final(
    opening: Opening,
    base: Evaluation,
    promoted: Evaluation | None,
    settings: EvaluationSettings,
) -> Verification:
    """The run's result: base against the promoted adapter on a final suite nobody has seen.

    Each opening is a test on items of its own; its p-value is not adjusted.

    Args:
        opening: The opening on record.
        base: The base model's evaluation.
        promoted: The promoted adapter's, or `None` if none was promoted; the effect is then 0.
        settings: Which test, and the level of the interval.

    Raises:
        EvaluationError: The evaluations are not of the opening's items.
    """
    for evaluation in (base, promoted):
        if evaluation is not None and evaluation.tasks != opening.tasks:
            raise EvaluationError(f"{evaluation.id} is not about the items of {opening.id}")
    if base.adapter != BASE:
        raise EvaluationError(f"{base.id} is of {base.adapter}; the result is measured against the base model")
    if promoted is None:
        return Verification(round=opening.round, opening=opening.id, base=base.id)
    found = compare(base, promoted, settings)
    return Verification(
        round=opening.round,
        opening=opening.id,
        base=base.id,
        promoted=promoted.id,
        effect=found.effect,
        effect_low=found.low,
        effect_high=found.high,
        p_value=found.p_value,
    )


def _retention_objections(
    incumbent: Evaluation, candidate: Evaluation, settings: EvaluationSettings, gate_number: int
) -> list[str]:
    """What the retention suite says against a promotion, by one-sided non-inferiority on its own budget."""
    alpha = alpha_at(gate_number, settings.retention_alpha)
    found = compare(incumbent, candidate, settings, confidence=1 - 2 * alpha)
    margin = settings.retention_margin
    if settings.test == "mcnemar":
        passes = noninferiority(found.won, found.lost, found.n, margin) < alpha
    else:
        passes = found.low > -margin
    if passes:
        return []
    return [
        f"retention: {_tally(found)}, {100 * found.effect:+.1f} points; a fall of "
        f"{100 * margin:.3g} cannot be excluded, it may be {100 * found.low:+.1f} (one-sided α = {alpha:.2g})"
    ]


def _sentence(gate: Comparison, alpha: float) -> str:
    return f"{_tally(gate)}, {_p(gate.p_value)} < α = {alpha:.2g}, {_points(gate)}"


def _tally(found: Comparison) -> str:
    return f"{found.won} item{'' if found.won == 1 else 's'} won, {found.lost} lost"


def _points(found: Comparison) -> str:
    return f"{100 * found.effect:+.1f} points [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _p(p_value: float) -> str:
    return f"p = {p_value:.1g}" if p_value < 0.001 else f"p = {p_value:.2g}"
