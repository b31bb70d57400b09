"""Evaluates adapters and strategies on a suite of a run; two of them paired, on the same items."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from quintet.agents.strategies import Strategy, strategies
from quintet.evaluation.evaluate import Score, score
from quintet.evaluation.gate import Comparison, compare
from quintet.graph.adapters import known, standing
from quintet.graph.errors import LoopError
from quintet.graph.lifecycle import Context
from quintet.graph.opening import opened
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import GREEDY, Adapter, Decision, Evaluation, Opening, Suite, Task

BESIDE = 0
"""The round of evaluations that a user asks for: they steer nothing and stand in no round's report."""


class Compared(BaseModel):
    """One or two ways to answer a suite."""

    run: str
    suite: Suite
    scores: dict[str, Score]
    """By adapter, and strategy where that is not greedy."""
    comparison: Comparison | None = None
    """The second against the first."""

    def text(self) -> str:
        """The same for people."""
        lines = [f"{self.suite} suite of {self.run}"]
        for name, found in self.scores.items():
            share = f"{100 * found.correct / found.n:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
            lines.append(f"  {name}: {found.correct}/{found.n} right, {share}; strict {found.strict}/{found.n}")
        if self.comparison:
            c = self.comparison
            interval = f"[{100 * c.low:+.1f}, {100 * c.high:+.1f}]"
            lines.append(
                f"  {100 * c.effect:+.1f} points {interval}: {c.won} items won, {c.lost} lost, p = {c.p_value:.2g}"
            )
        return "\n".join(lines)


def compare_on(
    workspace: Path,
    run: str | None,
    suite: Suite,
    adapters: Sequence[str] = (),
    named: Sequence[str] = (),
    samples: int = 8,
    round: int = 1,
) -> Compared:
    """Evaluate on a suite of a run; greedy answers that the ledger holds already are not asked for again.

    Args:
        workspace: Where the run lies.
        run: Whose suites and model; the newest if `None`.
        suite: Which suite. The final one counts as opened by this.
        adapters: Ids, or beginnings of ids, or `base`; the incumbent if none.
        named: Strategies; greedy if none.
        samples: Replies of a strategy that asks for several.
        round: Whose gate, for the gate suite.

    Raises:
        LoopError: The run has no such adapter, or there are more than two to compare.
        PluginError: There is no such strategy.
    """
    ways = strategies(list(named) or [GREEDY], samples)
    if max(len(adapters), 1) * len(ways) > 2:
        raise LoopError("two adapters or two strategies can be compared, not more at once")
    return asyncio.run(_compare(workspace, run, suite, adapters, ways, round))


async def _compare(
    workspace: Path, run: str | None, suite: Suite, given: Sequence[str], ways: Sequence[Strategy], round: int
) -> Compared:
    place = Workspace.existing(workspace)
    with contextlib.ExitStack() as stack:
        ledgers = stack.enter_context(place.ledger())
        ledger = ledgers.run(run)
        settings = Settings.of_run(ledger.info.settings)
        if ledger.info.status != "finished":
            # What is asked beside a run that goes on would answer it later, and its own record would lack it.
            raise LoopError(f"run {ledger.run} is not finished: let it end first, with quintet resume {ledger.run}")
        decided = len(ledger.find(Decision))
        if suite == "gate" and round > decided:
            raise LoopError(f"run {ledger.run} is at round {decided}: the gate of round {round} is yet unseen")
        if not getattr(settings.evaluation, f"{suite}_items"):
            raise LoopError(f"run {ledger.run} has no {suite} suite: evaluation.{suite}_items is 0")
        stack.enter_context(place.claim(ledger.run))
        adapters = [known(ledger, adapter) for adapter in given] or [standing(ledger).incumbent]
        rounds = max(round, settings.rounds)
        openings = max(1, len(ledger.find(Opening)))
        # Without the roles: an evaluation asks the solver's questions, and nobody speaks before or after.
        async with opened(settings, ledger, place, (), rounds=rounds, openings=openings) as context:
            tasks = await _items(context, suite, round)
            for registered in ledger.find(Adapter):
                if registered.id in adapters:
                    await context.table.serve(registered)
            found: list[Evaluation] = []
            for adapter in adapters:
                for way in ways:
                    strategy = None if way.name == GREEDY else way
                    found.append(await context.judging.on(suite, adapter, tasks, BESIDE, strategy))
    confidence = settings.evaluation.confidence
    return Compared(
        run=ledger.run,
        suite=suite,
        scores={_label(evaluation): score(evaluation, confidence) for evaluation in found},
        comparison=compare(found[0], found[1], settings.evaluation) if len(found) == 2 else None,
    )


def on_both(left: Evaluation, right: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Two evaluations cut to the items that both answered, in the order of the left; as they are where these are all.

    `compare` takes the result; with no item in common, both are empty.
    """
    if left.tasks == right.tasks:
        return left, right
    lefts, rights = ({answer.task: answer for answer in one.answers} for one in (left, right))
    tasks = tuple(task for task in left.tasks if task in rights)
    return (
        left.with_(tasks=tasks, answers=tuple(lefts[task] for task in tasks)),
        right.with_(tasks=tasks, answers=tuple(rights[task] for task in tasks)),
    )


def _label(evaluation: Evaluation) -> str:
    adapter = evaluation.adapter or "base"
    return adapter if evaluation.strategy == GREEDY else f"{adapter}, {evaluation.strategy}"


async def _items(context: Context, suite: Suite, round: int) -> Sequence[Task]:
    suites = context.judging.suites
    if suite == "steer":
        return suites.steer
    if suite == "retention":
        return suites.retention
    if suite == "gate":
        return suites.gate(round)
    openings = context.table.ledger.find(Opening)
    if openings:
        return await suites.final(openings[-1].number)
    tasks = await suites.final(1)
    # Looking at the final suite before the run has ended is allowed, and on record.
    opening = Opening(round=BESIDE, number=1, tasks=tuple(task.id for task in tasks))
    context.table.ledger.add(*tasks, opening)
    return tasks
