"""Which rows a training draws from all there are: a replay buffer by staleness and present learnability."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quintet.records import Adapter, Attempt, Call, Rescore, Row, Selection

if TYPE_CHECKING:
    from quintet.memory.ledger import RunLedger


def newest(rows: Sequence[Row], most: int) -> list[Row]:
    """The newest rows that fit, in the order recorded; those of one trajectory all or none.

    Args:
        rows: In the order recorded.
        most: How many at most.
    """
    return _within(rows, most, reversed(_together(rows)))


def drawn(ledger: RunLedger, rows: Sequence[Row], most: int, round: int) -> list[Row]:
    """Rows for a training, drawn by how long ago each was last trained on, and then by how much it still teaches.

    After AdaSTaR (Koh et al. 2025, arXiv 2505.16322), whose heap is ordered by the iteration in which an observation
    was last sampled and then by its win rate, the smallest first. Ours differs in three ways. Rows are drawn, which are
    solved already, not tasks to be sampled. Learnability, 4p(1 − p), stands for the win rate, so that what is hopeless
    does not come first. And their second rule is missing, by which only the first α² of what was sampled moves back in
    the heap (α is the accuracy in training), so that a weak model stays with what it had: our levels climb instead.

    Args:
        ledger: The run's.
        rows: What may be drawn, in the order recorded.
        most: How many are drawn at most; of a trajectory's rows all are, or none.
        round: The round that trains; later records do not count.

    Returns:
        The rows drawn, in the order recorded.
    """
    if len(rows) <= most:
        return list(rows)
    trained: dict[str, int] = {}
    for adapter in ledger.find(Adapter):
        if adapter.round < round:
            trained |= dict.fromkeys(adapter.rows, adapter.round)
    rates = pass_rates(ledger, rows, round)

    def first(row: Row) -> tuple[int, float, str]:
        return trained.get(row.id, 0), -4 * rates[row.id] * (1 - rates[row.id]), row.id

    return _within(rows, most, sorted(_together(rows), key=lambda group: min(map(first, group))))


def _together(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each attempt: one, or those of a trajectory."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.attempt, []).append(row)
    return list(groups.values())


def _within(rows: Sequence[Row], most: int, groups: Iterable[Sequence[Row]]) -> list[Row]:
    """The groups that fit, those named first before others; what does not fit leaves its room to the next."""
    taken: set[str] = set()
    for group in groups:
        if len(taken) + len(group) <= most:
            taken |= {row.id for row in group}
    return [row for row in rows if row.id in taken]


def pass_rates(ledger: RunLedger, rows: Sequence[Row], round: int) -> dict[str, float]:
    """What share of attempts at each row's task would be right now, by row, as far as that is known.

    The task's pass rate when it was last sampled, p. Where its row was scored anew since, p × (perplexity then /
    perplexity now), at most 1: by as much as a token of the row has become likelier. A row that was never scored anew
    keeps p.
    """
    sampled: dict[str, tuple[int, float]] = {}
    chosen: dict[str, Selection] = {}
    for selection in ledger.find(Selection):
        if selection.round <= round:
            sampled[selection.task] = selection.round, selection.scores.get("pass_rate", 0.0)
            chosen[selection.id] = selection
    latest: dict[str, Rescore] = {}
    for rescore in ledger.find(Rescore):
        if rescore.round <= round and rescore.scores.get("perplexity"):
            latest[rescore.row] = rescore
    rates = {}
    for row in rows:
        when, rate = sampled.get(row.task, (0, 0.0))
        since = latest.get(row.id)
        if since is not None and since.round > when:
            before = _perplexity(ledger, row, chosen.get(row.selection))
            rate = min(1.0, rate * before / since.scores["perplexity"]) if before else rate
        rates[row.id] = rate
    return rates


def _perplexity(ledger: RunLedger, row: Row, selection: Selection | None) -> float:
    """Of the row when it was chosen; 0 where nobody knows."""
    if selection is not None and selection.scores.get("perplexity"):
        return selection.scores["perplexity"]
    attempt = ledger.get(row.attempt)
    call = ledger.get(attempt.call) if isinstance(attempt, Attempt) else None
    if not isinstance(attempt, Attempt) or not isinstance(call, Call) or attempt.sample >= len(call.completions):
        return 0.0
    logprobs = call.completions[attempt.sample].logprobs
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else 0.0
