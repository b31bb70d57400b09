"""Conducts a run: begins or resumes it, streams its progress, keeps its status and its meter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from quintet.graph.errors import LoopError
from quintet.graph.lifecycle import Context, opening
from quintet.graph.opening import opened
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.workspace import Workspace

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
        ledger = _begin(loop, ledgers)
        status = "failed"
        try:
            async with (
                metered(ledger),
                opened(loop.settings, ledger, workspace, loop.roles, loop.tasks, loop.models, rounds) as context,
            ):
                yield context
            status = "waiting" if loop.waiting else "finished"
        except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            status = "stopped"
            raise
        finally:
            ledger.update(status=status)


async def conduct(loop: Loop, rounds: int | None) -> AsyncGenerator[dict[str, Any]]:
    """Run or resume, and yield progress events.

    Raises:
        LoopError: The run is finished and no more rounds are asked for.
    """
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    checkpoints = str(Workspace(loop.workspace).checkpoints)
    async with sitting(loop, rounds) as context, AsyncSqliteSaver.from_conn_string(checkpoints) as saver:
        yield {"event": "said", "text": f"run {loop.run_name} in {loop.workspace}"}
        async with contextlib.aclosing(_events(loop, loop.graph(saver), context)) as events:
            async for event in events:
                yield event


def _begin(loop: Loop, ledgers: Ledger) -> RunLedger:
    """The run's ledger: an earlier run's, or that of a new run with the next free number."""
    joined = sorted(role.name for role in loop.roles if role.joined)
    if loop.run_name is not None:
        ledger = ledgers.run(loop.run_name)
        before = ledger.info.settings.get("joined", [])
        if joined != before:
            lacking = ", ".join(set(before) ^ set(joined))
            raise LoopError(f"run {ledger.run} began with the roles {before}, not {joined}: add or drop {lacking}")
        ledger.update(status="running", pid=os.getpid())
        return ledger
    taken = {info.run for info in ledgers.runs()}
    number = 1
    while f"{loop.settings.name}-{number}" in taken:
        number += 1
    settings = {**loop.settings.model_dump(mode="json"), "joined": joined}
    ledger = ledgers.begin(f"{loop.settings.name}-{number}", loop.settings.seed, settings)
    loop.run_name = ledger.run
    return ledger


async def _events(
    loop: Loop, graph: CompiledStateGraph[Any, Any, Any, Any], context: Context
) -> AsyncGenerator[dict[str, Any]]:
    """Stream the graph from where its thread stands."""
    from langgraph.types import Command

    config: Any = {"configurable": {"thread_id": loop.run_name}, "recursion_limit": 100_000}
    snapshot = await graph.aget_state(config)
    start: Any = None
    if not snapshot.values:
        start = opening(loop.settings)
    elif not snapshot.next:
        done = snapshot.values["round"]
        if done >= context.rounds:
            raise LoopError(f"run {loop.run_name} is finished after {done} rounds; add rounds with --rounds {done + 1}")
        start = {"round": done + 1}
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

    def note() -> None:
        nonlocal peak
        peak = max(peak, resident())
        ledger.update(seconds=before + time.monotonic() - begun, tokens=ledger.tokens(), peak_rss_mb=peak)

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
