"""A round's watch over a proposer that learns: length, validity and diversity of what it proposes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean

from pydantic import Field

from quintet.evaluation.settings import MonitorSettings
from quintet.records import Call, Monitors, Part, Proposal
from quintet.tasks.errors import UNGROUNDED

TOKENS, VALID, ACCEPTED, DISTINCT, REWARD = (
    f"proposer.{name}" for name in ("tokens", "valid", "accepted", "distinct", "reward")
)


class Watched(Part):
    """What was measured, and what is wrong with it."""

    values: dict[str, float] = Field(default_factory=dict)
    """By name."""
    alarms: tuple[str, ...] = ()
    """Each begins with the name of what went wrong."""


def watch_proposals(
    proposed: Sequence[tuple[Proposal, Call]],
    rewards: Sequence[float],
    earlier: Sequence[Monitors],
    bounds: MonitorSettings,
) -> Watched:
    """Measure a round's proposals, and raise an alarm where they fall far behind those of earlier rounds.

    There is no absolute bound: a small model may find valid proposals hard from the beginning.

    Args:
        proposed: The proposals, each with the call that it is of.
        rewards: What those earned that can be learnt from.
        earlier: The monitors of the rounds before, in order.
        bounds: `proposals_fall` says what is far, `least` how many proposals tell anything.

    Returns:
        Mean length in tokens; shares valid (an executor can make a task of it), accepted, and distinct (in family and
        content); mean reward. Nothing where nothing was proposed.
    """
    if not proposed:
        return Watched()
    number = len(proposed)
    made = [one for one, _ in proposed]
    values = {
        TOKENS: fmean(len(call.completions[one.number].tokens) for one, call in proposed),
        VALID: sum(one.reason not in UNGROUNDED for one in made) / number,
        ACCEPTED: sum(one.accepted for one in made) / number,
        DISTINCT: len({(one.family, _plain(one.content)) for one in made}) / number,
    }
    if rewards:
        values[REWARD] = fmean(rewards)
    before = [one.values for one in earlier if TOKENS in one.values]
    if number < bounds.least or not before:
        return Watched(values=values)
    alarms = []
    for name in (VALID, DISTINCT):
        best = max(one[name] for one in before)
        if values[name] < bounds.proposals_fall * best:
            alarms.append(f"{name}: {values[name]:.0%} of {number} proposals, {best:.0%} in the best round before")
    first = before[0][TOKENS]
    if not bounds.proposals_fall * first <= values[TOKENS] <= first / bounds.proposals_fall:
        alarms.append(f"{TOKENS}: {values[TOKENS]:.1f} tokens a proposal, {first:.1f} in the first round")
    return Watched(values=values, alarms=tuple(alarms))


def _plain(content: str) -> str:
    """The same JSON whatever its spaces and the order of its keys; any other text as it is."""
    try:
        return json.dumps(json.loads(content), sort_keys=True)
    except ValueError:
        return content
