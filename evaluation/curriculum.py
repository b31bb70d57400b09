"""How difficult training is: it climbs with what the model can do, while the suites stay as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from quintet.evaluation.settings import EvaluationSettings
from quintet.records import Attempt, Critique, Curriculum, Evaluation, Task


def pass_rates(
    tasks: Sequence[Task],
    attempts: Sequence[Attempt],
    critiques: Sequence[Critique],
    levels: Mapping[str, int],
) -> dict[str, float]:
    """Share of first attempts that are right, by family, among the tasks of the level trained on."""
    family_of = {task.id: task.family for task in tasks if task.level == levels.get(task.family)}
    correct = {critique.attempt: critique.correct for critique in critiques}
    marks: dict[str, list[bool]] = defaultdict(list)
    for attempt in attempts:
        if attempt.turn == 0 and attempt.task in family_of and attempt.id in correct:
            marks[family_of[attempt.task]].append(correct[attempt.id])
    return {family: sum(right) / len(right) for family, right in marks.items()}


def advance(
    round: int,
    levels: Mapping[str, int],
    pass_rates: Mapping[str, float],
    settings: EvaluationSettings,
    max_levels: Mapping[str, int],
    steer_change: Mapping[str, float] | None = None,
) -> Curriculum:
    """The training levels of the next round: each family up one, down one, or as it is.

    A family climbs where its first attempts pass often enough, unless its share on the steer suite fell (what
    it learns does not carry over); it falls back where almost nothing passes. The steer suite never makes a
    family climb, for its levels are not those trained on.

    Args:
        round: The round that ends.
        levels: Family to the level trained on.
        pass_rates: Family to its share of first attempts right at that level; a family without one stays.
        settings: The thresholds stand under `curriculum`.
        max_levels: Family to how many levels it has.
        steer_change: Family to the change of its share right on the steer suite over the round, in [-1, 1].
    """
    steer_change, bounds = steer_change or {}, settings.curriculum
    chosen: dict[str, int] = {}
    reasons: list[str] = []
    for family, level in levels.items():
        rate = pass_rates.get(family)
        top = max_levels[family] - 1
        step, why = 0, ""
        if rate is None:
            why = "not practised"
        elif rate > bounds.climb_at and level < top:
            step = 1
            if steer_change.get(family, 0.0) < -bounds.steer_drop:
                step, why = 0, f"held by the steer suite, {100 * steer_change[family]:+.0f} points"
        elif rate < bounds.fall_at and level > 0:
            step = -1
        elif rate > bounds.climb_at:
            why = "at the top"
        chosen[family] = min(max(level + step, 0), top)
        move = {1: "climbs to", -1: "falls to", 0: "stays at"}[step]
        evidence = why if rate is None else f"{rate:.0%} right at {level}" + (f", {why}" if why else "")
        reasons.append(f"{family} {move} {chosen[family]} ({evidence})")
    return Curriculum(
        round=round,
        levels=chosen,
        reason="; ".join(reasons),
        evidence={family: pass_rates[family] for family in levels if family in pass_rates},
    )


def stalled(evaluations: Sequence[Evaluation], settings: EvaluationSettings) -> bool:
    """Whether the last `patience` evaluations on the steer suite brought no new best.

    Args:
        evaluations: The run's evaluations in order; those of other suites are passed over.
        settings: With `curriculum.patience`; 0 never stops.
    """
    patience = settings.curriculum.patience
    steer = [evaluation for evaluation in evaluations if evaluation.suite == "steer"]
    if patience == 0 or len(steer) <= patience:
        return False
    best = max(evaluation.correct for evaluation in steer[:-patience])
    return all(evaluation.correct <= best for evaluation in steer[-patience:])
