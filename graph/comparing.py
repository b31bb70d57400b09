"""Evaluates adapters and strategies on a suite of a run; several of them paired, on the same items."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from quintet.agents.strategies import Strategy, strategies
from quintet.evaluation.evaluate import Score, score
from quintet.evaluation.gate import Comparison, compare
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.statistics import holm
from quintet.graph.adapters import known, standing
from quintet.graph.errors import LoopError
from quintet.graph.lifecycle import Context
from quintet.graph.opening import opened
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import BASE, GREEDY, Adapter, Decision, Evaluation, Opening, Suite, Task

BESIDE = 0
"""The round of evaluations that a user asks for: they steer nothing and stand in no round's report."""


UNLIKE = 0.1
"""Budgets that differ by more than this share are said to."""


class Way(BaseModel):
    """One way to answer a suite: an adapter and a strategy."""

    adapter: str
    strategy: str
    score: Score
    tokens: float
    """Tokens generated for an item, in the mean."""
    prompt_tokens: float
    """Tokens of the prompts for an item, in the mean."""
    upper_bound: bool = False
    """Whether it knows the truth."""


class Against(Comparison):
    """A way against the first one."""

    adjusted: float
    """The p-value, adjusted for all ways that are compared with the first (Holm)."""
    more_tokens: float
    """How many tokens it generated for each that the first did."""


class Compared(BaseModel):
    """Ways to answer a suite, on the same items."""

    run: str
    suite: Suite
    budget: int | None = None
    """Tokens that each might generate for an item."""
    ways: dict[str, Way]
    """By adapter, and strategy where that is not greedy; the first is what the others are compared with."""
    comparisons: dict[str, Against]
    """Each way but the first, against the first."""

    def text(self) -> str:
        """The same for people."""
        allowed = f", at most {self.budget} tokens an item" if self.budget else ""
        lines = [f"{self.suite} suite of {self.run}{allowed}"]
        for name, way in self.ways.items():
            found = way.score
            share = f"{100 * found.correct / max(found.n, 1):.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
            lines.append(
                f"  {name}: {found.correct}/{found.n} right, {share}; strict {found.strict}/{found.n}; "
                f"{way.tokens:.0f} tokens an item ({way.prompt_tokens:.0f} of prompts)"
            )
        several = len(self.comparisons) > 1
        for name, c in self.comparisons.items():
            interval = f"[{100 * c.low:+.1f}, {100 * c.high:+.1f}]"
            p = f"p = {c.p_value:.2g}" + (f", {c.adjusted:.2g} by Holm for {len(self.comparisons)} tests" * several)
            points = f"{100 * c.effect:+.1f} points {interval}: {c.won} items won, {c.lost} lost, {p}"
            lines.append(f"  {name}: {points}" if several else f"  {points}")
        return "\n".join(lines + self.notes())

    def notes(self) -> list[str]:
        """What must be known to read the comparison."""
        bounds = [name for name, way in self.ways.items() if way.upper_bound]
        said = [f"  {name} knows the truth: it says what choosing could reach at best" for name in bounds]
        first = next(iter(self.ways))
        for name, c in self.comparisons.items():
            if not 1 - UNLIKE <= c.more_tokens <= 1 + UNLIKE:
                said.append(f"  not at equal cost: {name} generated {c.more_tokens:.1f} times the tokens of {first}")
        return said


def compare_on(
    workspace: Path,
    run: str | None,
    suite: Suite,
    adapters: Sequence[str] = (),
    named: Sequence[str] = (),
    samples: int = 8,
    round: int = 1,
    tokens: int | None = None,
    items: int | None = None,
) -> Compared:
    """Evaluate on a suite of a run; greedy answers that the ledger holds already are not asked for again.

    Args:
        workspace: Where the run lies.
        run: Whose suites and model; the newest if `None`.
        suite: Which suite. The final one counts as opened by this.
        adapters: Ids, or beginnings of ids, or `base`; the incumbent if none.
        named: Strategies; greedy if none.
        samples: Replies of a strategy that asks for several, where no tokens are given.
        round: Whose gate, for the gate suite.
        tokens: Tokens that each strategy may generate for an item.
        items: Only so many of the suite's items, spread evenly over it; all if `None`.

    Raises:
        LoopError: The run has no such adapter, or something is named twice.
        PluginError: There is no such strategy.
    """
    ways = strategies(list(named) or [GREEDY], samples)
    for given in (adapters, named):
        if len(set(given)) < len(given):
            raise LoopError(f"{max(given, key=list(given).count)} is named twice: what is compared must differ")
    return asyncio.run(_compare(workspace, run, suite, adapters, ways, round, tokens, items))


async def _compare(
    workspace: Path,
    run: str | None,
    suite: Suite,
    given: Sequence[str],
    ways: Sequence[Strategy],
    round: int,
    tokens: int | None,
    items: int | None,
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
            tasks = _spread(await _items(context, suite, round), items)
            for registered in ledger.find(Adapter):
                if registered.id in adapters:
                    await context.table.serve(registered)
            found: dict[str, Way] = {}
            evaluations: list[Evaluation] = []
            for adapter in adapters:
                for way in ways:
                    # The run's own way to ask, unless its replies would be longer than is allowed.
                    short = tokens is not None and tokens < settings.solver.max_tokens
                    strategy = None if way.name == GREEDY and not short else way
                    evaluation = await context.judging.on(suite, adapter, tasks, BESIDE, strategy, tokens)
                    evaluations.append(evaluation)
                    found[_label(evaluation)] = _way(evaluation, way, context, settings.evaluation.confidence)
    return Compared(
        run=ledger.run,
        suite=suite,
        budget=tokens,
        ways=found,
        comparisons=_against(evaluations, list(found.items()), settings.evaluation),
    )


def _way(evaluation: Evaluation, strategy: Strategy, context: Context, confidence: float) -> Way:
    used, n = context.judging.used(evaluation), max(evaluation.n, 1)
    return Way(
        adapter=evaluation.adapter or BASE,
        strategy=evaluation.strategy,
        score=score(evaluation, confidence),
        tokens=used.generated / n,
        prompt_tokens=used.prompted / n,
        upper_bound=strategy.upper_bound,
    )


def _against(
    evaluations: Sequence[Evaluation], ways: Sequence[tuple[str, Way]], settings: EvaluationSettings
) -> dict[str, Against]:
    if not evaluations:
        return {}
    found = [compare(evaluations[0], other, settings) for other in evaluations[1:]]
    adjusted = holm([one.p_value for one in found])
    first = ways[0][1].tokens or 1.0
    return {
        name: Against(**one.model_dump(), adjusted=p, more_tokens=way.tokens / first)
        for (name, way), one, p in zip(ways[1:], found, adjusted, strict=True)
    }


def _spread(tasks: Sequence[Task], items: int | None) -> Sequence[Task]:
    if items is None or items >= len(tasks):
        return tasks
    return [tasks[place * len(tasks) // items] for place in range(items)]


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
    adapter = evaluation.adapter or BASE
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
