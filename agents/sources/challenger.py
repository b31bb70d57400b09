"""Typed tasks from a proposer that is rewarded for what the solver can just about learn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.sources.bench import Bench, Trial, in_words, pass_rates
from quintet.agents.sources.port import Draft, Source, checked, wholes
from quintet.agents.table import Round
from quintet.records import Part, Proposal, Record, Reward, Task
from quintet.tasks.errors import Ungrounded

SEEDS = 3
"""Exercises shown to the model."""


class Exemplar(Part):
    """A rewarded task as the model is shown it."""

    question: str
    fared: str


class Challenger(Source):
    """Rewards the model for typed tasks of which the solver gets about half right (Absolute Zero, arXiv 2505.03335).

    The reward of a task with pass rate p is the learnability 4p(1 - p): 1 where half of the solver's first attempts are
    right, 0 where all or none are. Rewards of this shape are those of R-Zero (Huang et al. 2025, arXiv 2508.05004) and
    SPICE (Liu et al. 2025, arXiv 2510.24684); the idea is that of asymmetric self-play (Sukhbaatar et al. 2017,
    arXiv 1703.05407). What was rewarded above its family's average is shown to the model next time, with how it fared.
    Nothing is trained on the reward, unless self-play has the proposer learn.

    Args:
        band: Pass rates, lowest and highest, within which a task is kept for practice.
        samples: The solver's attempts by which the rate is estimated before a task is accepted; 0 accepts untried.
    """

    name: ClassVar[str] = "challenger"
    method: ClassVar[str] = "synthetic, interaction-based"
    paper: ClassVar[str] = (
        "Absolute Zero, Zhao et al. 2025, arXiv 2505.03335; R-Zero, Huang et al. 2025, arXiv 2508.05004; SPICE, Liu et "
        "al. 2025, arXiv 2510.24684; asymmetric self-play, Sukhbaatar et al. 2017, arXiv 1703.05407"
    )
    template: ClassVar[str] = "challenger.jinja"

    def __init__(self, band: Sequence[float] = (0.1, 0.9), samples: int = 4) -> None:
        pair = isinstance(band, Sequence) and len(band) == 2 and all(isinstance(rate, int | float) for rate in band)
        checked("band", band, pair and 0 <= band[0] <= band[1] <= 1, "two pass rates, the lower one first")
        checked("samples", samples, samples == 0 or wholes(samples), "a whole number")
        self.low, self.high, self.samples = *band, samples

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """One call for all of them."""
        best = self._best(family, bench)
        seeds = [task.id for task, _ in best]
        exemplars = [Exemplar(question=task.question, fared=in_words(rate)) for task, rate in best]
        if not best:
            # Nothing was rewarded yet: tasks of other sources, the middling ones first.
            others = bench.seeds(family)[:SEEDS]
            seeds = [seed.task.id for seed in others]
            exemplars = [Exemplar(question=seed.task.question, fared=seed.fared) for seed in others]
        schema = bench.table.examiner.families[family].proposal_at(level + 1)
        said = await bench.ask(self, wanted, family, schema, exemplars=exemplars)
        found: list[Record | Draft] = []
        for number, completion in enumerate(said.completions):
            proposal = bench.proposal(
                self, number, family, level, call=said.call, content=completion.text, seeds=tuple(seeds)
            )
            try:
                task = await bench.ground(family, completion.text)
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
            else:
                found.append(Draft(proposal, task, level, samples=self.samples))
        return found

    def tried(self, draft: Draft, trial: Trial) -> Draft:
        """Keep it within the band."""
        said = f"{sum(trial.right)} of {len(trial.right)} trial attempts right"
        if trial.rate < self.low:
            raise Ungrounded("too hard as yet", said)
        if trial.rate > self.high:
            raise Ungrounded("trivial" if draft.task.level < draft.level else "too easy", said)
        return draft.because(f"new; {said}")

    def rewards(self, round: Round, bench: Bench) -> list[Reward]:
        """The learnability of each accepted proposal of the round."""
        rates = pass_rates(bench.table, [round.number])
        rewards = []
        for proposal in bench.table.ledger.find(Proposal, round=round.number):
            rate = rates.get((round.number, proposal.task or ""))
            if proposal.origin == self.name and proposal.accepted and rate is not None:
                reward = Reward(
                    round=round.number,
                    role=bench.proposer.name,
                    about=proposal.id,
                    # Six decimals, alike wherever it is computed.
                    value=float(f"{learnability(rate):.6f}"),
                    reason=f"learnability of pass rate {rate:.2f}",
                )
                rewards.append(reward)
        return rewards

    def _best(self, family: str, bench: Bench) -> list[tuple[Task, float]]:
        """The tasks of a family that were rewarded above its average, the best first, with their pass rates."""
        ledger, now = bench.table.ledger, bench.round.number
        proposals = {p.id: p for p in ledger.find(Proposal) if p.round < now and p.origin == self.name}
        rewards = [reward for reward in ledger.find(Reward) if reward.about in proposals]
        better = [r for r, gain in advantages(rewards, proposals).items() if gain > 0 or r.value == 1.0]
        mine = [r for r in better if proposals[r.about].family == family]
        tasks = ledger.get_many({proposals[r.about].task or "" for r in mine})
        best: list[tuple[Task, float]] = []
        for reward in sorted(mine, key=lambda r: (-r.value, -r.round, r.id)):
            task = tasks.get(proposals[reward.about].task or "")
            if isinstance(task, Task) and task not in [one for one, _ in best]:
                rate = pass_rates(bench.table, [reward.round]).get((reward.round, task.id), 0.5)
                best.append((task, rate))
        return best[:SEEDS]


def learnability(rate: float) -> float:
    """4p(1 - p) of a pass rate p: 1 at one half, 0 at 0 and 1."""
    return 4 * rate * (1 - rate)


def advantages(rewards: Sequence[Reward], proposals: dict[str, Proposal]) -> dict[Reward, float]:
    """Each reward less the mean of its family's: families differ in how learnable they are, whoever proposes."""
    by_family: dict[str, list[float]] = defaultdict(list)
    for reward in rewards:
        by_family[proposals[reward.about].family].append(reward.value)
    means = {family: sum(values) / len(values) for family, values in by_family.items()}
    return {reward: reward.value - means[proposals[reward.about].family] for reward in rewards}
