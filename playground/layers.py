"""Layers for a graph of what came of what: each node right of all that it came from, and as near to what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Link = tuple[str, str]
"""From, to."""


def layers(ids: Sequence[str], links: Iterable[Link]) -> dict[str, int]:
    """A layer for each node, from 0.

    Args:
        ids: The nodes.
        links: Between them; in a circle, which no honest ledger has, some point to the left.
    """
    before, after = _ends(ids, links)
    order = _sorted(ids, before, after)
    found: dict[str, int] = {}
    for id in order:
        found[id] = max((found[other] + 1 for other in before[id] if other in found), default=0)
    # What came of nothing need not stand at the far left.
    for id in reversed(order):
        if not before[id] and after[id]:
            found[id] = min(found[other] for other in after[id]) - 1
    return found


def needed(links: Iterable[Link]) -> list[Link]:
    """The links without those that a longer way says already (transitive reduction)."""
    given = list(dict.fromkeys(links))
    ids = list(dict.fromkeys(id for link in given for id in link))
    before, after = _ends(ids, given)
    beyond: dict[str, set[str]] = {}
    for id in reversed(_sorted(ids, before, after)):
        beyond[id] = {far for other in after[id] for far in (other, *beyond.get(other, ()))}
    return [(one, to) for one, to in given if not any(to in beyond[other] for other in after[one] if other != to)]


def _ends(ids: Iterable[str], links: Iterable[Link]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {id: [] for id in ids}
    after: dict[str, list[str]] = {id: [] for id in before}
    for one, to in links:
        before[to].append(one)
        after[one].append(to)
    return before, after


def _sorted(ids: Sequence[str], before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """The nodes, each after all that it came from (Kahn's algorithm)."""
    waiting = {id: len(before[id]) for id in ids}
    order = [id for id in ids if not waiting[id]]
    for id in order:
        for other in after[id]:
            waiting[other] -= 1
            if not waiting[other]:
                order.append(other)
    return order + [id for id in ids if waiting[id] > 0]
