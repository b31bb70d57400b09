"""How a round's tasks are shared out among sources, families and levels, by what the steer suite said so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quintet.agents.crediting import DRAWN, outcomes, rule_outcomes
from quintet.agents.errors import AgentError
from quintet.agents.table import Round, Table
from quintet.evaluation.bandits import RULE, Arm, Bandit, Outcome, counted, floored, load_bandit
from quintet.records import Allocation, digest

__all__ = ["Arm", "allotted", "ruled"]


async def allotted(
    table: Table, round: Round, arms: Sequence[str], total: int
) -> tuple[Allocation | None, dict[str, int]]:
    """The round's shares, and how many of its tasks each arm is asked for.

    An arm is named `source/family`, which `Arm.parse` takes apart. With `proposer.near_levels`, `drawn/FAMILY` becomes
    `drawn/FAMILY@LEVEL` at the present level and those beside it; other sources are not split, for only a generator
    obeys a level exactly.

    What came of an arm in earlier rounds is read off the ledger: `Proposal.origin` is its source, `Proposal.family` its
    family, for drawn tasks `Proposal.level` the level asked for. Its cost is that of the calls about its tasks, of
    `Proposal.call` and of `Proposal.trial`.

    Args:
        table: The ledger of it is all that the shares rest on, with the run's seed.
        round: The round that is to be shared out; only rounds before it count.
        arms: Names such as `drawn/products`.
        total: Tasks to share out.

    Returns:
        The record to keep, and counts by arm that sum to `total`; `None` and nothing where shares are not learnt.

    Raises:
        PluginError: There is no such bandit.
        AgentError: A bandit's shares are none.
    """
    settings = table.settings.proposer
    if not settings.allocate or not arms:
        return None, {}
    names = [near for name in arms for near in (_near(table, round, name) if settings.near_levels else [name])]
    allocation = _allocation(
        table, round, settings.allocate, names, outcomes(table.ledger, round.number, settings.near_levels)
    )
    return allocation, counted(allocation.shares, total)


def ruled(table: Table, round: Round, budget: int) -> tuple[Allocation | None, dict[str, int]]:
    """The shares of the row budget among the curator's ranking rules, and how many rows each may choose.

    Args:
        table: As for `allotted`.
        round: The round whose rows are chosen.
        budget: Rows to share out.

    Returns:
        The record to keep, and counts by rule that sum to `budget`; `None` and nothing where shares are not learnt.

    Raises:
        PluginError: There is no such bandit.
        AgentError: A bandit's shares are none.
    """
    settings = table.settings.curator
    if not settings.allocate:
        return None, {}
    names = [str(Arm(RULE, rule)) for rule in settings.rules]
    allocation = _allocation(table, round, settings.allocate, names, rule_outcomes(table.ledger, round.number))
    return allocation, {Arm.parse(name).family: count for name, count in counted(allocation.shares, budget).items()}


def _allocation(table: Table, round: Round, name: str, arms: Sequence[str], history: Sequence[Outcome]) -> Allocation:
    """A bandit's shares for a round, or even ones where there is nothing to go by yet."""
    bandit, settings = load_bandit(name), table.settings.proposer
    measured = len({outcome.round for outcome in history if outcome.change is not None})
    why = ""
    if settings.least_share * len(arms) >= 1:
        why = f"least_share {settings.least_share:g} of {len(arms)} arms leaves nothing to share out"
    elif round.number <= settings.warm_up:
        why = "warm-up"
    elif not measured:
        why = "nothing measured so far"
    if why:
        shares, reason = {arm: 1 / len(arms) for arm in arms}, f"even shares: {why}"
    else:
        # Tasks and rows are shared out by numbers of their own.
        about = "rank" if Arm.parse(arms[0]).source == RULE else "allocate"
        seed = int(digest((table.seed, about, round.number))[:8], 16)
        shares = _checked(bandit, arms, bandit.choose(arms, history, seed))
        reason = f"{bandit.name} on {measured} measured round{'s' if measured > 1 else ''}"
    return Allocation(
        round=round.number,
        shares=floored(shares, settings.least_share),
        reason=reason,
        evidence=_evidence(bandit, arms, history),
    )


def _near(table: Table, round: Round, name: str) -> list[str]:
    """The arm at its family's present level and at those beside it; other sources as they are."""
    arm = Arm.parse(name)
    if arm.source != DRAWN:
        return [name]
    present, levels = round.levels[arm.family], table.examiner.families[arm.family].levels
    return [str(arm._replace(level=level)) for level in range(max(present - 1, 0), min(present + 2, levels))]


def _checked(bandit: Bandit, arms: Sequence[str], shares: dict[str, float]) -> dict[str, float]:
    """A bandit's shares, which a plug-in may have got wrong."""
    if set(shares) != set(arms):
        raise AgentError(f"bandit {bandit.name!r} gave shares for {sorted(shares)}; the arms are {sorted(arms)}")
    if (
        not all(share >= 0 and math.isfinite(share) for share in shares.values())
        or abs(sum(shares.values()) - 1) > 1e-6
    ):
        raise AgentError(f"bandit {bandit.name!r} gave {shares}: shares are not negative, and sum to 1")
    return shares


def _evidence(bandit: Bandit, arms: Sequence[str], history: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """By arm, what its share rests on; the gain seen is split among a family's arms by their rows trained on."""
    if not history:
        return {}
    evidence: dict[str, dict[str, float]] = {}
    for arm, held in sorted(bandit.estimate(arms, history).items()):
        own = [(outcome, pull) for outcome in history if (pull := outcome.pulls.get(arm))]
        rounds = {outcome.round: pull for outcome, pull in own}
        gain = sum(
            outcome.change * pull.trained / sum(other.trained for other in outcome.pulls.values())
            for outcome, pull in own
            if outcome.change is not None and pull.trained
        )
        evidence[arm] = {
            "rounds": float(len(rounds)),
            "tokens": float(sum(pull.tokens for pull in rounds.values())),
            "rows": float(sum(pull.rows for pull in rounds.values())),
            "gain": round(gain, 6),
            "mean": round(held.mean, 8),
            "deviation": round(held.deviation, 8),
        }
    return evidence
