"""How the curator weighs metrics against one another, and holds families and answers to their share."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from quintet.agents.metrics import Candidate

WORTH = "worth"
"""The score that the weights make of all others."""

DECIMALS = 6


def percentiles(scores: Sequence[float]) -> list[float]:
    """Each score's rank among all, from 0 (the smallest) to 1 (the largest); equal scores share their mean rank.

    Units and outliers do not matter then: adding weighted ranks is Borda's count. A score alone, or equal to all
    others, has 0.5.
    """
    order, last = sorted(scores), len(scores) - 1
    if last < 1:
        return [0.5] * len(scores)
    return [(bisect_left(order, score) + bisect_right(order, score) - 1) / 2 / last for score in scores]


def weigh(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> None:
    """Enter what each candidate is worth: the weighted sum of its percentile ranks among these candidates.

    Args:
        candidates: With the scores that are weighed.
        weights: By metric; a negative one says that smaller is better.
    """
    ranks = {name: percentiles([one.scores[name] for one in candidates]) for name in weights}
    for place, one in enumerate(candidates):
        one.scores[WORTH] = round(sum(weight * ranks[name][place] for name, weight in weights.items()), DECIMALS)


def beyond(ranked: Sequence[Candidate], of: Callable[[Candidate], Hashable], most: int) -> list[Candidate]:
    """The candidates beyond the rows that their group may have; each is within or beyond as a whole.

    Args:
        ranked: The best first; one that does not fit leaves its room to those after it.
        of: A candidate's group.
        most: How many rows a group may have.
    """
    taken: Counter[Hashable] = Counter()
    found = []
    for one in ranked:
        if taken[of(one)] + one.rows > most:
            found.append(one)
        else:
            taken[of(one)] += one.rows
    return found


def over_share(ranked: Sequence[Candidate], of: Callable[[Candidate], Hashable], share: float) -> list[Candidate]:
    """The candidates to leave out so that no group makes up more than a share of those that stay.

    The largest groups give up their worst members; each keeps one, so that few groups can still be over the share.

    Args:
        ranked: The best first.
        of: A candidate's group.
        share: Above 0.
    """
    sizes = Counter(of(one) for one in ranked)
    while sizes:
        total = sum(sizes.values())
        most = max(1, math.floor(share * total))
        if max(sizes.values()) <= most:
            break
        # What leaves makes the whole smaller, and so the share: until nothing changes.
        sizes = Counter({group: min(size, most) for group, size in sizes.items()})
    taken: Counter[Hashable] = Counter()
    found = []
    for one in ranked:
        taken[of(one)] += 1
        if taken[of(one)] > sizes[of(one)]:
            found.append(one)
    return found
