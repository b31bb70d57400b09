"""The lifecycle graph for LangGraph's own server and its Studio, which `langgraph.json` names.

Run it:  langgraph dev --allow-blocking --no-reload     (needs: pip install "langgraph-cli[inmem]")

Without `--allow-blocking` that server refuses every read of a database from a node. Without `--no-reload` it starts
anew, and ends what runs, whenever a source file changes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from quintet.graph.errors import LoopError
from quintet.graph.loop import Loop
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import digest

CONFIG = "examples/arithmetic.toml"
"""Config of the runs, unless the environment variable `QUINTET_CONFIG` names another."""

STEPS = 100_000
"""More than any run takes; a server's own limit may be far lower."""


def graph() -> Hosted:
    """The graph of the config that `QUINTET_CONFIG` names; its runs lie in the workspace `QUINTET_WORKSPACE` (`runs`).

    Raises:
        SettingsError: The config is wrong.
    """
    settings = Settings.load(os.environ.get("QUINTET_CONFIG", CONFIG))
    workspace = Path(os.environ.get("QUINTET_WORKSPACE", "runs"))
    compiled = vars(Loop(settings, workspace=workspace).graph())
    # Nobody who calls the server can hand it a model or a ledger: what the graph runs in is its own affair.
    return Hosted(settings=settings, workspace=workspace, **{**compiled, "context_schema": None})


class Hosted(CompiledStateGraph[Any, Any, Any, Any]):
    """A lifecycle graph that opens its own context whenever it is run, and only then.

    Input begins a run, so that `{}` is enough; what it names replaces a value of the state in which a run begins. No
    input, or a command such as the answer to whether to train, goes on with the newest run of the thread, under the
    settings it began with. A run is called after the config and its thread; `quintet runs` lists it like any other.

    Args:
        settings: Of the runs that begin.
        workspace: Where they lie.
        compiled: As a compiled graph has it.
    """

    def __init__(self, *, settings: Settings, workspace: Path, **compiled: Any) -> None:
        super().__init__(**compiled)
        # Plain attributes, under the names of the arguments: `copy`, which the server calls, hands them on.
        self.settings, self.workspace = settings, workspace

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | None = None,
        *,
        context: Any = None,
        **how: Any,
    ) -> AsyncIterator[Any]:
        """As a compiled graph's; a `context` that is passed is not looked at.

        Raises:
            LoopError: There is no run to go on with.
        """
        begins = input is not None and not isinstance(input, Command)
        config = RunnableConfig(**{**(config or {}), "recursion_limit": STEPS})
        loop = self._loop(config.get("configurable", {}).get("thread_id", ""), begins)
        async with loop.context() as held:
            # A field of a form that was left empty arrives as null.
            named = {key: value for key, value in input.items() if value is not None} if begins else {}
            start = {**loop.opening(), **named} if begins else input
            steps: Any = super().astream(start, config, context=held, **how)
            async with contextlib.aclosing(steps):
                async for step in steps:
                    yield step
            loop.waiting = bool(self.checkpointer) and bool((await self.aget_state(config)).interrupts)

    def _loop(self, thread: str, begins: bool) -> Loop:
        """A new run of a thread, or its newest."""
        name = "-".join(filter(None, [self.settings.name, thread and digest(thread)[:8]]))
        if begins:
            return Loop(self.settings.model_copy(update={"name": name}), workspace=self.workspace)
        with Workspace.existing(self.workspace).ledger() as ledger:
            runs = [info.run for info in ledger.runs() if info.run.rpartition("-")[0] == name]
        if not runs:
            raise LoopError(
                f"thread {thread} has no run to go on with in {self.workspace}: begin one with the input {{}}"
            )
        return Loop.resume(runs[0], self.workspace)
