"""Bandits share out a round's effort among its arms by what each brought on the steer suite, for the tokens it took."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from quintet.evaluation.errors import EvaluationError
from quintet.plugins import plugin
from quintet.records import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

GROUP = "quintet.bandits"
"""The entry-point group; each names a `Bandit`."""

SLOTS = 8
"""Equal parts that a bandit hands out one by one. Few, so that shares differ between rounds: two sources of one family
can only be told apart by what changes when their shares do."""

PRIOR = 0.1
"""Deviation, before anything is seen, of what a usual round's rows do to their family's share on the steer suite."""

DISCOUNT = 0.9
"""Weight of a round against the next: what helped a weaker model helps a stronger one less."""


RULE = "rule"
"""The source of arms that are the curator's ranking rules, such as `rule/hardest`: they share out rows, not tasks."""


class Arm(NamedTuple):
    """What a share may go to: a source of a family's tasks, at a level if one is named; or a rule that ranks rows."""

    source: str
    family: str
    """The family; of a rule, its name."""
    level: int | None = None

    @classmethod
    def parse(cls, name: str) -> Arm:
        """The arm that a name such as `drawn/products@2` stands for."""
        source, _, rest = name.partition("/")
        family, at, level = rest.partition("@")
        return cls(source, family, int(level) if at else None)

    def __str__(self) -> str:
        level = "" if self.level is None else f"@{self.level}"
        return f"{self.source}/{self.family}{level}"


class Pull(Part):
    """What one arm took and gave in one round."""

    tokens: int = Field(ge=0)
    """Prompt and completion tokens of its calls."""
    rows: int = Field(ge=0)
    """Rows chosen from it in the round."""
    trained: int = Field(ge=0)
    """Its rows that the round's candidate learnt from, and what that is compared with did not."""


class Outcome(Part):
    """What became of one family in one round."""

    round: int
    family: str
    pulls: dict[str, Pull]
    """By arm; those of families that have no steer items of their own stand with every family that has."""
    change: float | None = None
    """Change of the family's share right on the steer suite, in [-1, 1]; `None` where there was no candidate."""
    variance: float = Field(1.0, gt=0)
    """Variance of that change: a few items say little."""

    @classmethod
    def measured(
        cls, round: int, family: str, pulls: Mapping[str, Pull], before: Sequence[bool], after: Sequence[bool]
    ) -> Outcome:
        """The outcome from the same items answered before and after.

        The variance is that of a mean of paired differences, `((won + lost) / n - change²) / n`, with one item more
        that changed: that nothing changed on ten items does not show that nothing ever does.
        """
        n = len(after)
        won = sum(new and not old for old, new in zip(before, after, strict=True))
        lost = sum(old and not new for old, new in zip(before, after, strict=True))
        change = (won - lost) / n
        spread = (won + lost + 1) / (n + 1) - ((won - lost) / (n + 1)) ** 2
        return cls(round=round, family=family, pulls=dict(pulls), change=change, variance=spread / n)


class Estimate(NamedTuple):
    """What a bandit holds an arm to be worth: gain of share right for a thousand tokens."""

    mean: float
    deviation: float


class Bandit(ABC):
    """Shares out the next round's effort; a pure function of what is on record and of a seed."""

    name: ClassVar[str]
    """As its entry point calls it: settings choose it under this name."""
    paper: ClassVar[str] = ""
    """Where it was published."""

    @abstractmethod
    def choose(self, arms: Sequence[str], history: Sequence[Outcome], seed: int) -> dict[str, float]:
        """Share of each arm, not negative, 1 together; the order of the arms shall not matter.

        Nobody starves: whoever asks raises every share to a floor (`floored`).
        """

    def estimate(self, arms: Sequence[str], history: Sequence[Outcome]) -> dict[str, Estimate]:
        """What each arm is held to be worth, for the record."""
        return Posterior.of(arms, history, alone).estimates()


class Uniform(Bandit):
    """Gives every arm the same share: what a bandit has to beat."""

    name = "uniform"

    def choose(self, arms: Sequence[str], history: Sequence[Outcome], seed: int) -> dict[str, float]:
        """Even shares."""
        return {arm: 1 / len(arms) for arm in arms}


class Thompson(Bandit):
    """Gives each of eight slots to the arm that a draw from what is believed of them finds best (arXiv 1707.02038).

    Gaussian gains with unknown means under a conjugate prior, discounted by age; see `Posterior`.
    """

    name = "thompson"
    paper = "Russo et al. 2018, arXiv 1707.02038"

    def choose(self, arms: Sequence[str], history: Sequence[Outcome], seed: int) -> dict[str, float]:
        """Shares in eighths: an arm's chance of a slot is its chance of being the best."""
        import numpy as np

        belief = Posterior.of(arms, history, alone)
        draws = np.random.default_rng(seed).standard_normal((SLOTS, len(belief.mean)))
        values = belief.mean + draws @ np.linalg.cholesky(belief.covariance).T
        best = np.argmax(values @ belief.features.T * belief.yields, axis=1)
        return belief.shares(best)


class LinUCB(Bandit):
    """Gives each slot to the arm that may be best, judged by what it has in common with others (arXiv 1003.0146).

    The slot goes to the highest upper bound. An arm's worth is linear in its source, family and level, fitted by ridge
    regression, so that an arm nobody has tried is judged by its kin. After each slot the bound of what was chosen
    narrows as if its outcome were known (Desautels et al. 2012, arXiv 1206.6402), else all slots would go to one arm.

    Args:
        width: Deviations added to the mean, α in algorithm 1.
    """

    name = "linucb"
    paper = "Li et al. 2010, arXiv 1003.0146"

    def __init__(self, width: float = 1.0) -> None:
        self.width = width

    def choose(self, arms: Sequence[str], history: Sequence[Outcome], seed: int) -> dict[str, float]:
        """Shares in eighths; no chance is in it, and the seed changes nothing."""
        import numpy as np

        belief = Posterior.of(arms, history, common)
        covariance, best = belief.covariance, []
        for _ in range(SLOTS):
            deviations = np.sqrt(np.einsum("af,fg,ag->a", belief.features, covariance, belief.features))
            bounds = (belief.features @ belief.mean + self.width * deviations) * belief.yields
            # Rounded: arms that are alike shall tie, and the first by name win, on every machine.
            best.append(int(np.argmax(np.round(bounds / (np.abs(bounds).max() or 1.0), 9))))
            seen = belief.features[best[-1]] * len(belief.arms) / SLOTS
            along = covariance @ seen
            covariance = covariance - np.outer(along, along) / (belief.noise + seen @ along)
        return belief.shares(best)

    def estimate(self, arms: Sequence[str], history: Sequence[Outcome]) -> dict[str, Estimate]:
        """What each arm is held to be worth, from what it has in common with others."""
        return Posterior.of(arms, history, common).estimates()


def alone(arm: str) -> tuple[str, ...]:
    """An arm that has nothing in common with any other."""
    return (arm,)


def common(arm: str) -> tuple[str, ...]:
    """What an arm may have in common with others: source, family, level."""
    source, family, level = Arm.parse(arm)
    return ("any", f"source {source}", f"family {family}", *(() if level is None else (f"level {level}",)))


@dataclass(frozen=True)
class Posterior:
    """What is believed of the arms: Bayesian linear regression of the families' changes on the rows trained on.

    A family's change in a round is the sum, over its arms, of rows trained on times the value of such a row, plus
    noise of the variance that its few steer items leave. The values are Gaussian a priori with mean 0, so the posterior
    is too. An arm is worth the value of its rows times its rows for a thousand tokens. Where a family has one arm, that
    is its change for the tokens spent.
    """

    arms: tuple[str, ...]
    """Sorted."""
    features: Floats
    """(arms, features): which features each arm has, 0 or 1."""
    mean: Floats
    """(features,): value of a usual round's rows of a family that has the feature."""
    covariance: Floats
    """(features, features)."""
    yields: Floats
    """(arms,): usual rounds' rows of a family for a thousand tokens."""
    noise: float
    """Usual variance of a change."""

    @classmethod
    def of(cls, arms: Sequence[str], history: Sequence[Outcome], features: Callable[[str], Sequence[str]]) -> Posterior:
        """The posterior after what was seen.

        Args:
            arms: Arms to choose among; others may stand in the history.
            history: In any order.
            features: What an arm has in common with others; each of these has a value of its own.
        """
        import numpy as np

        arms, history = sorted(arms), sorted(history, key=lambda outcome: (outcome.round, outcome.family))
        everything = sorted({*arms, *(arm for outcome in history for arm in outcome.pulls)})
        place = {feature: n for n, feature in enumerate(sorted({f for arm in everything for f in features(arm)}))}
        known = [o for o in history if o.change is not None and any(pull.trained for pull in o.pulls.values())]
        unit = float(np.mean([sum(pull.trained for pull in o.pulls.values()) for o in known])) if known else 1.0
        newest = max((outcome.round for outcome in history), default=0)

        def row(weights: Mapping[str, float]) -> Floats:
            vector = np.zeros(len(place))
            for arm, weight in weights.items():
                for feature in features(arm):
                    vector[place[feature]] += weight
            return vector

        # Each arm has the same number of features or one less, which share its prior variance.
        share = max(len(features(arm)) for arm in everything)
        precision, moment = np.eye(len(place)) * share / PRIOR**2, np.zeros(len(place))
        for outcome in known:
            seen = row({arm: pull.trained / unit for arm, pull in outcome.pulls.items()})
            weight = DISCOUNT ** (newest - outcome.round) / outcome.variance
            precision += weight * np.outer(seen, seen)
            moment += weight * seen * (outcome.change or 0.0)
        covariance = np.linalg.inv(precision)
        return cls(
            arms=tuple(arms),
            features=np.array([row({arm: 1.0}) for arm in arms]),
            mean=covariance @ moment,
            covariance=(covariance + covariance.T) / 2,
            yields=np.array(_yields(arms, history)) * 1000 / unit,
            noise=float(np.mean([outcome.variance for outcome in known])) if known else PRIOR**2,
        )

    def estimates(self) -> dict[str, Estimate]:
        """By arm, its worth."""
        import numpy as np

        means = self.features @ self.mean * self.yields
        spread = np.einsum("af,fg,ag->a", self.features, self.covariance, self.features)
        return {
            arm: Estimate(float(mean), float(deviation))
            for arm, mean, deviation in zip(self.arms, means, np.sqrt(spread) * self.yields, strict=True)
        }

    def shares(self, slots: Sequence[int]) -> dict[str, float]:
        """Shares from the arms that the slots went to, by their places."""
        return {arm: sum(slot == n for slot in slots) / len(slots) for n, arm in enumerate(self.arms)}


def _yields(arms: Sequence[str], history: Sequence[Outcome]) -> list[float]:
    """Rows for a token, by arm, drawn towards the mean of all by as many tokens as an arm takes in a quarter round.

    A row that teaches several families, being of none that has steer items, counts once for each.
    """
    pulls = {(outcome.round, arm): pull for outcome in history for arm, pull in outcome.pulls.items()}
    tokens = sum(pull.tokens for pull in pulls.values())
    if not tokens:
        return [1.0] * len(arms)
    reach = Counter((outcome.round, arm) for outcome in history for arm in outcome.pulls)
    prior, usual = tokens / len(pulls) / 4, max(sum(pull.rows for pull in pulls.values()), 1) / tokens
    found = []
    for arm in arms:
        own = [pull for (_, name), pull in pulls.items() if name == arm]
        rows, taken = sum(pull.rows for pull in own), sum(pull.tokens for pull in own)
        families = max((count for (_, name), count in reach.items() if name == arm), default=1)
        found.append(families * (rows + prior * usual) / (taken + prior))
    return found


def floored(shares: Mapping[str, float], least: float) -> dict[str, float]:
    """The shares with none below a floor, in six decimals, 1 together.

    Args:
        shares: By arm; 1 together.
        least: The floor; an even share at most.
    """
    least = min(least, 1 / len(shares))
    raised = {arm: round(least + (1 - len(shares) * least) * shares[arm], 6) for arm in sorted(shares)}
    largest = max(raised, key=lambda arm: raised[arm])
    raised[largest] = round(raised[largest] + 1 - sum(raised.values()), 6)
    return raised


def counted(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that come nearest to the shares of a total and sum to it: largest remainders, ties by name."""
    exact = {arm: shares[arm] * total for arm in sorted(shares)}
    counts = {arm: int(value) for arm, value in exact.items()}
    order = sorted(exact, key=lambda arm: counts[arm] - exact[arm])
    for arm in order[: total - sum(counts.values())]:
        counts[arm] += 1
    return counts


def load_bandit(name: str) -> Bandit:
    """The bandit of this name.

    Raises:
        PluginError: There is none, or it cannot be made.
        EvaluationError: It is no bandit.
    """
    found = plugin(GROUP, name, "bandit")
    bandit = found.made()
    if not isinstance(bandit, Bandit):
        raise EvaluationError(f"{found.source} is no Bandit", fault=False)
    if bandit.name != name:
        why = f"{found.source} calls itself {bandit.name!r}: class and entry point need one name"
        raise EvaluationError(why, fault=False)
    return bandit
