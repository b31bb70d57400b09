"""What rows are held against, where the training objective learns from failures too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quintet.agents.metrics import Candidate
from quintet.records import Contrast, Message, Row, Task
from quintet.training.objective import LearnsFrom

ALMOST = 0.99
"""Most that an attempt which is not right is rewarded."""


def contrasts(
    candidates: Sequence[Candidate],
    rows: Sequence[Row],
    learns_from: LearnsFrom,
    most: int,
    prompt: Callable[[Task], tuple[Message, ...]],
) -> list[Contrast]:
    """First attempts at the tasks that gave rows, as the objective wants them.

    Args:
        candidates: The round's attempts that are fit to be learnt from, right or wrong.
        rows: Those of the round.
        learns_from: `contrasts` takes wrong attempts, `groups` all that became no row.
        most: Of one task, where contrasts are wanted; a group is whole.
        prompt: What the solver was asked.
    """
    tasks, taken = {row.task for row in rows}, {row.attempt for row in rows}
    found: dict[str, list[Contrast]] = {}
    for one in candidates:
        attempt, critique = one.attempt, one.critique
        # What was revised was said under another prompt, and a trajectory under many.
        if one.task.id not in tasks or attempt.id in taken or attempt.turn or attempt.transitions or critique.error:
            continue
        if critique.correct and learns_from == "contrasts":
            continue
        contrast = Contrast(
            round=attempt.round,
            task=one.task.id,
            attempt=attempt.id,
            prompt=prompt(one.task),
            completion=attempt.text,
            tokens=one.completion.tokens,
            reward=1.0 if critique.correct else min(critique.score, ALMOST),
        )
        held = found.setdefault(one.task.id, [])
        if learns_from == "groups" or len(held) < most:
            held.append(contrast)
    return [one for held in found.values() for one in held]
