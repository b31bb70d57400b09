"""Self-play: what the proposer earned, what that is measured against, and under which adapter it speaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from quintet.agents.settings import SelfPlaySettings
from quintet.agents.sources.port import Source, load_sources
from quintet.agents.table import Round, Table
from quintet.evaluation.proposals import Watched, watch_proposals
from quintet.records import BASE, Baseline, Call, Experience, Handover, Monitors, Proposal, Record, Reward
from quintet.tasks.errors import Ungrounded

if TYPE_CHECKING:
    from quintet.agents.settings import ProposerSettings
    from quintet.memory.ledger import RunLedger

PROPOSER = "proposer"


def rewarding(settings: ProposerSettings) -> list[str]:
    """The sources that say what their proposals earned."""
    return [source.name for source in load_sources(settings) if type(source).rewards is not Source.rewards]


def adapters(ledger: RunLedger, settings: SelfPlaySettings, round: int) -> dict[str, str]:
    """The adapter of each role that speaks in this round under one of its own."""
    if settings.adapters == "shared":
        return {}
    found = dict.fromkeys(settings.others, BASE)
    for one in ledger.find(Handover):
        if one.round < round and one.role in found:
            found[one.role] = one.adapter or BASE
    return found


async def experiences(table: Table, round: Round) -> list[Record]:
    """Has proposer and solver learn from each other, each by a baseline of its own (SPIRAL, arXiv 2506.24119).

    The proposer earns the learnability of what it proposes, as its source says, and nothing by what was refused. Its
    baseline in a family, `b`, is a running mean of its rewards there, and a reward's advantage is `R - b`
    (role-conditioned advantage estimation). The paper takes `b ← αb + (1 - α)R` for one reward after the other; here
    all n rewards of a round count as their mean R̄, so that their order says nothing: `b ← αⁿb + (1 - αⁿ)R̄`. It begins
    as the mean of the first round.

    What is, or might be, an evaluation item is nothing to learn from, not even to shun it.

    Args:
        table: Its settings say whether, and how, under `self_play`.
        round: Whose attempts are judged, and whose rewards are on record.

    Returns:
        A baseline for each family in which something was earned, and an experience for each such proposal; nothing
        where the proposer does not learn.
    """
    settings, ledger = table.settings.self_play, table.ledger
    if PROPOSER not in settings.others:
        return []
    rewards = {one.about: one.value for one in ledger.find(Reward, round=round.number, role=PROPOSER)}
    earned: dict[str, list[Experience]] = defaultdict(list)
    for proposal, call in proposals(table, round.number):
        # What was accepted and has no reward was not attempted.
        if (proposal.accepted and proposal.id not in rewards) or not await _fit(table, proposal):
            continue
        completion = call.completions[proposal.number]
        earned[proposal.family].append(
            Experience(
                round=round.number,
                role=PROPOSER,
                about=proposal.id,
                call=call.id,
                prompt=call.messages,
                completion=completion.text,
                tokens=completion.tokens,
                reward=rewards.get(proposal.id, 0.0),
            )
        )
    if settings.baseline == "group":
        return [one for own in earned.values() for one in own]
    said: list[Record] = []
    for family, own in earned.items():
        baseline = _moved(ledger, settings.decay, round.number, family, [one.reward for one in own])
        said += [baseline, *(one.with_(baseline=baseline.value) for one in own)]
    return said


def proposals(table: Table, round: int) -> list[tuple[Proposal, Call]]:
    """What the model that is trained proposed in a round to sources that reward it, each with its call.

    A proposal's number is its place among the call's completions, as `challenger` numbers them.
    """
    sources = rewarding(table.settings.proposer)
    found = []
    for proposal in table.ledger.find(Proposal, round=round):
        call = table.ledger.get(proposal.call or "") if proposal.origin in sources else None
        # A model that Quintet does not serve has no adapter.
        if not isinstance(call, Call) or call.adapter is None:
            continue
        if [one.text for one in call.completions[proposal.number :][:1]] == [proposal.content]:
            found.append((proposal, call))
    return found


def watched(table: Table, round: int) -> Watched:
    """How the round's proposals look beside those of earlier rounds; nothing where the proposer does not learn."""
    if PROPOSER not in table.settings.self_play.others:
        return Watched()
    ledger = table.ledger
    return watch_proposals(
        proposals(table, round),
        [one.reward for one in ledger.find(Experience, round=round, role=PROPOSER)],
        [one for one in ledger.find(Monitors) if one.round < round],
        table.monitors,
    )


async def _fit(table: Table, proposal: Proposal) -> bool:
    """Whether a proposal may be learnt from: it is none of the questions that are kept for evaluation."""
    examiner = table.examiner
    try:
        task = await examiner.ground(proposal.family, proposal.content)
    except Ungrounded as refused:
        known = refused.canonical and examiner.split(refused.canonical) == "train"
        return refused.reason == "malformed" or bool(known)
    return task.split == "train"


def _moved(ledger: RunLedger, decay: float, round: int, family: str, rewards: Sequence[float]) -> Baseline:
    """The running mean with a round's rewards in it."""
    earlier = [one for one in ledger.find(Baseline, role=PROPOSER) if one.family == family and one.round < round]
    before, mean = (earlier[-1] if earlier else None), fmean(rewards)
    kept = decay ** len(rewards) if before else 0.0
    return Baseline(
        round=round,
        role=PROPOSER,
        family=family,
        # Six decimals, as rewards have.
        value=float(f"{kept * (before.value if before else 0.0) + (1 - kept) * mean:.6f}"),
        mean=float(f"{mean:.6f}"),
        rewards=len(rewards),
        before=before.id if before else None,
    )
