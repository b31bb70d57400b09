"""Conducts a run: begins or resumes it, streams its progress, keeps its status and its meter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from quintet.graph.adapters import standing
from quintet.graph.budget import Budget
from quintet.graph.checkpointing import checkpointer
from quintet.graph.curating import kept
from quintet.graph.errors import LoopError
from quintet.graph.joining import joining
from quintet.graph.lifecycle import Context, blank, opening
from quintet.graph.opening import opened
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.errors import SpentError
from quintet.records import Decision, Opening, Stage
from quintet.tasks.dataset import DatasetFamily

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from quintet.graph.loop import Loop

MEGABYTE = 2**20
METER_SECONDS = 1.0
"""How often wall time and memory are noted; a killed run forgets no more than this."""


@contextlib.asynccontextmanager
async def sitting(loop: Loop, rounds: int | None = None) -> AsyncIterator[Context]:
    """Claim the workspace, begin or take up the run, and open its context; keep its status and its meter.

    Raises:
        LedgerError: The workspace is in use, or cannot be written.
        LoopError: The run began with other roles.
    """
    workspace = Workspace(loop.workspace)
    with contextlib.ExitStack() as stack:
        ledgers = stack.enter_context(workspace.ledger(loop.settings.memory.database))
        stack.enter_context(workspace.claim(loop.run_name or loop.settings.name))
        # Looked for first, so that no run begins that replays none.
        replays = ledgers.run(loop.settings.replays).run if loop.settings.replays else None
        ledger = RunLedger(ledgers, _begin(loop, ledgers).run, replays)
        before, seen, status = ledger.info.status, ledger.newest(), "failed"
        ledger.update(status="running", pid=os.getpid())
        try:
            ends = sum(opening.round < (rounds or loop.settings.rounds) for opening in ledger.find(Opening))
            openings = ends + 1
            with_ = (loop.roles, loop.tasks, loop.models, rounds, openings, Budget(loop.settings.budget, ledger))
            async with metered(ledger), opened(loop.settings, ledger, workspace, *with_) as context:
                _same_data(ledger, context)
                if rounds and rounds > len(ledger.find(Decision)):
                    # On record, so that a run stopped among the rounds added goes on to their end.
                    ledger.update(settings={**ledger.info.settings, "rounds": rounds})
                yield context
            status = "waiting" if loop.waiting else "finished" if _ended(ledger) else "stopped"
        except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            status = "stopped"
            raise
        except (SpentError, BaseExceptionGroup) as error:
            status = "out of budget" if spent(error) else status
            raise
        finally:
            if newest := ledger.newest():
                # Where nothing was done, such as for want of what was asked for, the run is what it was.
                ledger.update(status=before if status == "failed" and newest == seen else status)
            else:
                # Nothing came of it, such as for want of a model: no run is left that would be taken for the newest.
                ledgers.forget(ledger.run)
                loop.run_name = None


def _same_data(ledger: RunLedger, context: Context) -> None:
    """Note what the run's data sets hold, or see that they hold what they held when it began.

    Raises:
        LoopError: One has changed: its questions would be dealt out otherwise, and answers judged otherwise.
    """
    families = context.table.examiner.families
    data = {name: family.fingerprint for name, family in families.items() if isinstance(family, DatasetFamily)}
    known = ledger.info.settings.get("data")
    if known is None:
        ledger.update(settings={**ledger.info.settings, "data": data})
    elif changed := sorted(name for name in known.keys() | data.keys() if known.get(name) != data.get(name)):
        raise LoopError(
            f"data set {changed[0]} has changed since run {ledger.run} began: put it back, or begin a new run"
        )


def _ended(ledger: RunLedger) -> bool:
    """Whether the last round that was decided was the last: its end is on record."""
    last = max((decision.round for decision in ledger.find(Decision)), default=0)
    return any(stage.name == "finish" and stage.round == last for stage in ledger.find(Stage))


async def conduct(loop: Loop, rounds: int | None) -> AsyncGenerator[dict[str, Any]]:
    """Run or resume, and yield progress events; a run out of budget ends with an event that says so.

    Raises:
        LoopError: The run is finished and no more rounds are asked for.
    """
    _refuse_finished(loop, rounds)
    try:
        async with (
            sitting(loop, rounds) as context,
            checkpointer(Workspace(loop.workspace), context.table.ledger.ledger.engine.url) as saver,
        ):
            yield {"event": "said", "text": f"run {loop.run_name} in {loop.workspace}"}
            for line in kept(context.table.examiner.families.values()):
                yield {"event": "said", "text": line}
            for family in unasked(loop):
                hint = "name it under proposer.families or evaluation.families"
                yield {"event": "said", "text": f"the family {family} joined, and is asked nowhere: {hint}"}
            async with contextlib.aclosing(_events(loop, loop.graph(saver), context, rounds)) as events:
                async for event in events:
                    yield event
    except (SpentError, BaseExceptionGroup) as error:
        if not (why := spent(error)):
            raise
        yield {"event": "spent", "text": why}


def unasked(loop: Loop) -> list[str]:
    """Task families that joined, and that the settings neither practise nor evaluate."""
    settings = loop.settings
    named = {*settings.proposer.families, *settings.evaluation.families}
    named |= set(settings.evaluation.retention_families or ())
    return [family.name for family in (*loop.tasks, *joining(settings).tasks) if family.name not in named]


def _refuse_finished(loop: Loop, rounds: int | None) -> None:
    """Say that there is nothing to go on with, before a model is loaded for it."""
    if loop.run_name is None:
        return
    with Workspace(loop.workspace).ledger(loop.settings.memory.database) as ledgers:
        ledger = ledgers.run(loop.run_name)
        done = max((decision.round for decision in ledger.find(Decision)), default=0)
        if ledger.info.status == "finished" and _ended(ledger) and (rounds is None or done >= rounds):
            raise _finished(loop, done)


def _finished(loop: Loop, done: int) -> LoopError:
    return LoopError(f"run {loop.run_name} is finished with round {done}; add rounds with --rounds {done + 1}")


def spent(error: BaseException) -> str:
    """Why the budget is spent, if that is what an error, or each of a group of them, says; else nothing."""
    if isinstance(error, BaseExceptionGroup):
        reasons = [spent(one) for one in error.exceptions]
        return reasons[0] if all(reasons) else ""
    return str(error) if isinstance(error, SpentError) else ""


def _begin(loop: Loop, ledgers: Ledger) -> RunLedger:
    """The run's ledger: an earlier run's, or that of a new run with the next free number."""
    joined = sorted(role.name for role in loop.roles if role.joined)
    if loop.run_name is not None:
        ledger = ledgers.run(loop.run_name)
        before = ledger.info.settings.get("joined", [])
        if joined != before:
            lacking = ", ".join(sorted(set(before) ^ set(joined)))
            raise LoopError(f"run {ledger.run} began with the roles {before}, not {joined}: add or drop {lacking}")
        # The budget, which may have grown, is all that a run's settings may change in.
        budget = loop.settings.budget.model_dump(mode="json")
        if budget != ledger.info.settings.get("budget", {}):
            ledger.update(settings={**ledger.info.settings, "budget": budget})
        return ledger
    taken = {info.run for info in ledgers.runs()}
    number = 1
    while f"{loop.settings.name}-{number}" in taken:
        number += 1
    # A database URL may hold a password; the workspace keeps it.
    settings = {**loop.settings.model_dump(mode="json", exclude={"memory": {"database"}}), "joined": joined}
    ledger = ledgers.begin(f"{loop.settings.name}-{number}", loop.settings.seed, settings)
    loop.run_name = ledger.run
    return ledger


async def _events(
    loop: Loop, graph: CompiledStateGraph[Any, Any, Any, Any], context: Context, rounds: int | None
) -> AsyncGenerator[dict[str, Any]]:
    """Stream the graph from where its thread stands."""
    from langgraph.types import Command

    config: Any = {"configurable": {"thread_id": loop.run_name}, "recursion_limit": 100_000}
    snapshot = await graph.aget_state(config)
    start: Any = None
    if not snapshot.values:
        start = opening(loop.settings)
    elif not snapshot.tasks:
        # Not `next`, which leaves out a node whose writes are kept but not yet part of a checkpoint: a run that is
        # stopped right then has more to do.
        done = snapshot.values["round"]
        # A run that ended early, for want of gain or budget, goes on only if that is said.
        if rounds is None or done >= rounds:
            raise _finished(loop, done)
        start = {"round": done + 1, "incumbent": standing(context.table.ledger).incumbent, **blank()}
    elif snapshot.interrupts and loop.answer is not None:
        start, loop.answer = Command(resume=loop.answer), None
    loop.waiting = False
    stream: Any = graph.astream(start, config, context=context, stream_mode=["custom", "updates"], durability="sync")
    async with contextlib.aclosing(stream) as steps:
        async for mode, news in steps:
            if mode == "custom":
                yield news
            elif "__interrupt__" in news:
                loop.waiting = True
                yield {"event": "question", **news["__interrupt__"][0].value}


@contextlib.asynccontextmanager
async def metered(ledger: RunLedger) -> AsyncIterator[None]:
    """Note wall time, tokens and peak memory of the run while it goes on."""
    before, peak, begun = ledger.info.seconds, ledger.info.peak_rss_mb, time.monotonic()
    tokens, seen = 0, 0

    def note() -> None:
        nonlocal peak, tokens, seen
        newest = ledger.newest()
        # Only what is new is added up: this runs every second, on ever more calls.
        tokens, seen = tokens + ledger.tokens(after=seen) - ledger.tokens(after=newest), newest
        peak = max(peak, resident())
        ledger.update(seconds=before + time.monotonic() - begun, tokens=tokens, peak_rss_mb=peak)

    async def keep() -> None:
        while True:
            await asyncio.to_thread(note)
            await asyncio.sleep(METER_SECONDS)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        note()


def resident() -> float:
    """Resident memory of this process and its children, in MiB; shared pages count for each."""
    import psutil

    here = psutil.Process()
    total = 0
    for process in [here, *here.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / MEGABYTE
