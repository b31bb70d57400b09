"""Whether the model got better, and where: on the final suite, or as far as the gates know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from quintet.evaluation.statistics import Interval, tango, wilson
from quintet.graph.adapters import Standing
from quintet.memory.ledger import RunLedger
from quintet.playground.pairs import pairing
from quintet.playground.rendering import share
from quintet.records import BASE, Decision, Evaluation, Part, Verification

Outcome = Literal["better", "worse", "unclear", "none promoted", "better so far", "none so far", "undecided"]

STEP = 0.1
"""The axis on which shares are drawn ends at a multiple of this."""


class Place(Part):
    """One family and level, or all items."""

    family: str
    """Empty for all items."""
    level: int | None
    n: int
    left: int
    """Right on the left side."""
    right: int | None
    """Right on the right side; `None` where nothing was promoted."""
    left_range: Interval
    right_range: Interval | None
    effect: float | None
    """Right minus left."""
    effect_range: Interval | None


class Verdict(Part):
    """The run's result so far."""

    outcome: Outcome
    suite: Literal["final", "gate", ""]
    """Where it was measured; empty: nowhere yet."""
    round: int
    left: str
    """An adapter's id, or `base`."""
    right: str | None
    """What was promoted, or was best at a gate."""
    n: int = 0
    correct: tuple[int, int | None] = (0, None)
    """Items right, of either side."""
    strict: tuple[int, int | None] = (0, None)
    """Items right in the form asked for."""
    effect: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0
    confidence: float = 0.95
    format_only: bool = False
    """Whether the strict reading has gained beyond chance, and the lenient one has not."""
    opening: int = 0
    """How many times the final suite was opened."""
    places: tuple[Place, ...] = ()
    """All items first, then by family and level, where there are several."""
    top: float = 1.0
    """End of the axis on which shares are drawn."""
    since: str = ""
    """The incumbent, where a rollback has made it another than what was promoted here."""
    promoted: int = 0
    """Adapters that were promoted and still stand."""
    tested: int = 0
    """Candidates that a gate has tested."""

    @property
    def sentence(self) -> str:
        """The result in a few words."""
        # No line ends between a number and its sign.
        before, after = (share((one or 0) / (self.n or 1)).replace(" ", "\N{NO-BREAK SPACE}") for one in self.correct)
        gained = f"{before} → {after} right"
        return {
            "better": f"The model got better: {gained}",
            "worse": f"The model got worse: {gained}",
            "unclear": f"No clear change: {gained}",
            "none promoted": f"Nothing was promoted: {before} right, as the base model is",
            "better so far": f"Better so far: {gained}",
            "none so far": "Nothing promoted so far",
            "undecided": "Nothing decided yet",
        }[self.outcome]


def verdict_of(ledger: RunLedger, now: Standing) -> Verdict:
    """The result of a run, or what is known of it.

    Args:
        ledger: The run.
        now: How its adapters stand.
    """
    decisions = [one for one in ledger.find(Decision) if one.candidate is not None]
    counts: dict[str, Any] = {"promoted": len(now.promoted), "tested": len({one.candidate for one in decisions})}
    verifications = ledger.find(Verification)
    if verifications:
        found = _final(ledger, verifications)
        if found is not None:
            since = now.incumbent if found.right and found.right != now.incumbent else ""
            return found.model_copy(update={**counts, "since": since})
    for decision in _best_first(decisions, now):
        pair = [_evaluation(ledger, id) for id in decision.evaluations[:2]]
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            return _at_gate(ledger, decision, pair[0], pair[1], now).model_copy(update=counts)
    return Verdict(outcome="undecided", suite="", round=0, left=BASE, right=None, **counts)


def _best_first(decisions: Sequence[Decision], now: Standing) -> list[Decision]:
    """Promoted adapters that still stand, the last one first; then the others, the largest effect first."""
    standing = [one for one in decisions if one.promoted and one.candidate in now.promoted]
    others = [one for one in decisions if one not in standing]
    return standing[::-1] + sorted(others, key=lambda one: -one.effect)


def _final(ledger: RunLedger, verifications: Sequence[Verification]) -> Verdict | None:
    last = verifications[-1]
    base, promoted = _evaluation(ledger, last.base), _evaluation(ledger, last.promoted)
    if base is None:
        return None
    outcome: Outcome = "better" if last.effect_low > 0 else "worse" if last.effect_high < 0 else "unclear"
    return Verdict(
        outcome=outcome if promoted else "none promoted",
        suite="final",
        round=last.round,
        left=BASE,
        right=promoted.adapter if promoted else None,
        effect=last.effect,
        low=last.effect_low,
        high=last.effect_high,
        p_value=last.p_value,
        opening=len(verifications),
        **_measured(ledger, base, promoted),
    )


def _at_gate(ledger: RunLedger, decision: Decision, left: Evaluation, right: Evaluation, now: Standing) -> Verdict:
    return Verdict(
        outcome="better so far" if decision.promoted and decision.candidate in now.promoted else "none so far",
        suite="gate",
        round=decision.round,
        left=decision.incumbent or BASE,
        right=decision.candidate,
        effect=decision.effect,
        low=decision.effect_low,
        high=decision.effect_high,
        p_value=decision.p_value,
        **_measured(ledger, left, right),
    )


def _measured(ledger: RunLedger, left: Evaluation, right: Evaluation | None) -> dict[str, Any]:
    """What two evaluations of the same items say, or one where there is no other."""
    found = pairing(ledger, ledger, left, right or left)
    lenient, strict, confidence = found.lenient, found.strict, found.confidence
    flips = (lenient.won, lenient.lost) if lenient else (0, 0)
    places = [_place("", None, left.n, left.correct, right.correct if right else None, flips, confidence)]
    if len(found.cells) > 1:
        places += [
            _place(
                cell.family,
                cell.level,
                cell.of_left,
                cell.left,
                cell.right if right else None,
                (cell.won, cell.lost),
                confidence,
            )
            for cell in found.cells
        ]
    ends = [one.high for place in places for one in (place.left_range, place.right_range) if one]
    return {
        "n": left.n,
        "correct": (left.correct, right.correct if right else None),
        "strict": (left.strict, right.strict if right else None),
        "format_only": bool(lenient and strict and strict.low > 0 >= lenient.low),
        "confidence": confidence,
        "places": tuple(places),
        "top": min(1.0, round(STEP * math.ceil(max(ends) / STEP), 2)),
    }


def _place(
    family: str, level: int | None, n: int, left: int, right: int | None, flips: tuple[int, int], confidence: float
) -> Place:
    return Place(
        family=family,
        level=level,
        n=n,
        left=left,
        right=right,
        left_range=wilson(left, n, confidence),
        right_range=None if right is None else wilson(right, n, confidence),
        effect=None if right is None or not n else (right - left) / n,
        effect_range=None if right is None or not n else tango(*flips, n, confidence),
    )


def _evaluation(ledger: RunLedger, id: str | None) -> Evaluation | None:
    found = ledger.get(id) if id else None
    return found if isinstance(found, Evaluation) else None
