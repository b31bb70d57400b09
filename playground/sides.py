"""Which two are compared: what was asked for, completed from what the runs hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

from quintet.graph.adapters import known, standing
from quintet.graph.errors import LoopError
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.reading.evaluated import Evaluated, evaluated
from quintet.playground.errors import NotFoundError
from quintet.records import BASE, GREEDY, Part, Suite

SUITES: tuple[Suite, ...] = ("final", "gate", "retention", "steer")
"""In the order in which they are looked at: the run's result first, then what the rounds were decided on."""

OFFERED = 12
"""Pairs offered at most, where what was asked for is not there."""


class Side(Part):
    """One of the two."""

    run: str
    adapter: str
    """A full id, or `base`."""
    strategy: str = GREEDY

    @property
    def chosen(self) -> str:
        """As it is asked for."""
        return f"{self.run}:{self.adapter}"


class Pair(Part):
    """Two evaluations of one suite."""

    left: Side
    right: Side
    suite: Suite
    round: int
    """The later one's."""
    ids: tuple[str, str]
    same: bool
    """Whether they are of the same items in the same order."""
    seq: int
    """The later one's, by which the newest is found."""


class Sides(Part):
    """What is compared."""

    left: Side
    right: Side
    suite: Suite
    pair: Pair | None
    """`None` where the two were not both evaluated on the suite."""
    rounds: tuple[int, ...]
    """Rounds of pairs of the same items, newest first."""
    strategies: tuple[str, ...]
    """All by which the two runs were evaluated."""
    offered: tuple[Pair, ...]
    """Pairs that exist, where the one asked for does not."""


def sides(ledgers: Ledger, asked: Mapping[str, str]) -> Sides:
    """Complete what was asked for: `left`, `right`, `suite`, `round`, `strategy` and `strategy_right`, each optional.

    Raises:
        NotFoundError: There is no such run or adapter; the message names those that are there.
    """
    left, right = _completed(ledgers, asked.get("left", ""), asked.get("right", ""))
    strategy = asked.get("strategy") or GREEDY
    left = left.model_copy(update={"strategy": strategy})
    right = right.model_copy(update={"strategy": asked.get("strategy_right") or strategy})
    lefts = evaluated(RunLedger(ledgers, left.run))
    rights = lefts if left.run == right.run else evaluated(RunLedger(ledgers, right.run))
    pairs = _best_first(
        (_pair(left, right, one, other) for one in _by(lefts, left) for other in _by(rights, right)),
        asked.get("round", ""),
    )
    suite = _suite(pairs, asked.get("suite", ""))
    fitting = [pair for pair in pairs if pair.suite == suite]
    return Sides(
        left=left,
        right=right,
        suite=suite,
        pair=fitting[0] if fitting else None,
        rounds=tuple(sorted({pair.round for pair in fitting if pair.same}, reverse=True)),
        strategies=tuple(sorted({GREEDY, *(one.strategy for one in (*lefts, *rights))})),
        offered=() if fitting else _others(left, right, lefts, rights),
    )


def href(left: Side, right: Side, suite: str, **more: object) -> str:
    """The address of a comparison; what is empty is left out."""
    given: dict[str, object] = {"left": left.chosen, "right": right.chosen, "suite": suite}
    given["strategy"] = "" if left.strategy == GREEDY else left.strategy
    given["strategy_right"] = "" if right.strategy == left.strategy else right.strategy
    return "/compare?" + urlencode({name: str(value) for name, value in {**given, **more}.items() if value})


def _completed(ledgers: Ledger, left: str, right: str) -> tuple[Side, Side]:
    names = [info.run for info in ledgers.runs()]
    (left_run, left_adapter), (right_run, right_adapter) = _read(left, names), _read(right, names)
    first = left_run or right_run or _newest(ledgers, names)
    left_run, right_run = left_run or first, right_run or first
    lefts, rights = _run(ledgers, left_run), _run(ledgers, right_run)
    if left_run != right_run:
        adapters = _known(lefts, left_adapter or _incumbent(lefts)), _known(rights, right_adapter or _incumbent(rights))
    else:
        adapters = _of_one_run(lefts, left_adapter, right_adapter)
    return Side(run=left_run, adapter=adapters[0]), Side(run=right_run, adapter=adapters[1])


def _of_one_run(ledger: RunLedger, left: str, right: str) -> tuple[str, str]:
    """What is missing is the promoted adapter, beside the base model."""
    incumbent = _incumbent(ledger)
    if left and not right:
        left = _known(ledger, left)
        return left, incumbent if left != incumbent else BASE
    if right and not left:
        right = _known(ledger, right)
        return (BASE if right != BASE else incumbent), right
    return _known(ledger, left or BASE), _known(ledger, right or incumbent)


def _read(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Run and adapter; a run's name may hold a colon."""
    if text in names or ":" not in text:
        return text, ""
    run, _, adapter = text.rpartition(":")
    return run, adapter


def _newest(ledgers: Ledger, names: Sequence[str]) -> str:
    """The newest run with something to compare, or just the newest."""
    return next((name for name in names if len(evaluated(RunLedger(ledgers, name))) > 1), names[0])


def _run(ledgers: Ledger, name: str) -> RunLedger:
    try:
        return ledgers.run(name)
    except LedgerError as error:
        raise NotFoundError(str(error)) from error


def _known(ledger: RunLedger, adapter: str) -> str:
    try:
        return known(ledger, adapter)
    except LoopError as error:
        raise NotFoundError(str(error)) from error


def _incumbent(ledger: RunLedger) -> str:
    return standing(ledger).incumbent


def _by(found: Sequence[Evaluated], side: Side) -> list[Evaluated]:
    return [one for one in found if one.adapter == side.adapter and one.strategy == side.strategy]


def _pair(left: Side, right: Side, one: Evaluated, other: Evaluated) -> Pair | None:
    if one.suite != other.suite:
        return None
    return Pair(
        left=left,
        right=right,
        suite=one.suite,
        round=max(one.round, other.round),
        ids=(one.id, other.id),
        same=one.items == other.items,
        seq=max(one.seq, other.seq),
    )


def _best_first(pairs: Iterable[Pair | None], round: str) -> list[Pair]:
    """Those of the same items first, then those of the round asked for, then the newest."""
    found = [pair for pair in pairs if pair is not None]
    return sorted(found, key=lambda pair: (pair.same, str(pair.round) == round, pair.seq), reverse=True)


def _suite(pairs: Sequence[Pair], asked: str) -> Suite:
    for suite in SUITES:
        if suite == asked:
            return suite
    # The pairs of the same items come first.
    there = [pair.suite for pair in pairs if pair.same == pairs[0].same]
    return min(there, key=SUITES.index, default=SUITES[0])


def _others(left: Side, right: Side, lefts: Sequence[Evaluated], rights: Sequence[Evaluated]) -> tuple[Pair, ...]:
    """Pairs of the same items: of these two on another suite first, then the newest of all."""
    found = []
    for one in lefts:
        for other in rights:
            a = Side(run=left.run, adapter=one.adapter, strategy=one.strategy)
            b = Side(run=right.run, adapter=other.adapter, strategy=other.strategy)
            if one.items == other.items and a != b and (left.run != right.run or one.seq < other.seq):
                found.append(_pair(a, b, one, other))
    wanted = {left, right}
    return tuple(
        sorted(
            (pair for pair in found if pair is not None),
            key=lambda pair: ({pair.left, pair.right} == wanted, pair.seq),
            reverse=True,
        )[:OFFERED]
    )
