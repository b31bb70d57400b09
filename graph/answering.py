"""Has a strategy answer the items of a suite, each at a desk of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.playing import environment
from quintet.agents.strategies import Desk, Solution, Strategy
from quintet.agents.table import Question, Table
from quintet.errors import QuintetError
from quintet.records import Task

NO_STRATEGY = "strategies answer questions at once, and an environment is acted out"
"""Why a strategy is refused."""


def desk(table: Table, strategy: Strategy, task: Task, adapter: str, round: int, budget: int | None) -> Desk:
    """Where a strategy answers an item; the truth stays outside, except for an upper bound.

    Args:
        table: The run's.
        strategy: Who is going to answer.
        task: The item.
        adapter: Under which adapter.
        round: 0 beside the run.
        budget: Tokens that may be generated.

    Raises:
        AgentError: The item is an environment.
    """
    if environment(table, task) is not None:
        raise AgentError(f"{strategy.name} on {task.family}: {NO_STRATEGY}; leave out --strategy")

    async def verified(texts: Sequence[str]) -> list[bool]:
        return [judged.correct for judged in await table.examiner.judge(task, texts)]

    question = Question(task.question, round, adapter, task.id)
    family = table.examiner.families[task.family]
    return Desk(table, question, family, budget, verified if strategy.upper_bound else None)


@contextmanager
def naming(strategy: Strategy) -> Iterator[None]:
    """Say of what a strategy raises that it did.

    Raises:
        AgentError: It raised something of its own.
    """
    try:
        yield
    except Exception as error:
        # A strategy is anybody's code; what is our own says itself what it is, in a group too.
        if isinstance(error, QuintetError) or (isinstance(error, ExceptionGroup) and error.subgroup(QuintetError)):
            raise
        raise AgentError(f"strategy {strategy.name!r} raised {type(error).__name__}: {error}", fault=True) from error


async def prepare(strategy: Strategy, desks: Sequence[Desk]) -> None:
    """Let a strategy look at all questions that are going to be asked.

    Raises:
        AgentError: The strategy raised something of its own.
    """
    with naming(strategy):
        await strategy.prepare(desks)


async def solved(strategy: Strategy, desk: Desk) -> Solution:
    """A strategy's answer.

    Raises:
        NoAnswerError: The model gave none.
        AgentError: The strategy returned something else, or raised something of its own.
    """
    with naming(strategy):
        found: object = await strategy.solve(desk)
    if not isinstance(found, Solution):
        raise AgentError(f"strategy {strategy.name!r} returned {type(found).__name__}, no Solution")
    return found


async def by_strategy(table: Table, strategy: Strategy, desks: Sequence[Desk]) -> list[str]:
    """A strategy's answers, one a desk; an empty one where the model gave none."""
    await prepare(strategy, desks)

    async def one(desk: Desk) -> str:
        async with table.seated():
            try:
                return (await solved(strategy, desk)).text
            except NoAnswerError:
                return ""

    return list(await asyncio.gather(*(one(desk) for desk in desks)))
