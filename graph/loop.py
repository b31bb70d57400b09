"""The loop from a script: opens what a run needs, conducts the lifecycle graph, reports."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.graph.errors import LoopError
from quintet.graph.report import Report, report
from quintet.graph.settings import Settings

NODES = {"propose", "episodes", "curate", "approve", "train", "evaluate", "decide", "finish", "route"}
"""Names that the graphs' own nodes have."""

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

    from quintet.graph.lifecycle import Context, State
    from quintet.tasks.family import TaskFamily


class Loop:
    """A run of the loop: started, resumed, watched, reported.

    Args:
        settings: What determines the run.
        roles: Roles that join the five, besides those that installed packages bring.
        tasks: Task families that join the built-in ones.
        models: Chat models by role, for roles that do not speak through the model that is trained.
        workspace: Folder of ledger, memory, adapters and checkpoints.
        run: A run of this workspace to go on with; `None` begins a new one.

    Raises:
        LoopError: The run is not there, or a role does not fit.
    """

    def __init__(
        self,
        settings: Settings,
        roles: Sequence[Role] = (),
        tasks: Sequence[TaskFamily] = (),
        models: Mapping[str, BaseChatModel] | None = None,
        workspace: str | Path = "runs",
        run: str | None = None,
    ) -> None:
        from quintet.agents.players import episode_players, round_players
        from quintet.agents.roles import plugged_in, seating
        from quintet.graph.joining import joining

        self.settings = settings
        self.workspace = Path(workspace)
        self.run_name = run
        self.answer: bool | None = None
        """The answer to the question that a run waits with, such as whether to train."""
        self.waiting = False
        """Whether the run waits with a question."""
        self._tasks, self._models = tuple(tasks), dict(models or {})
        for role in {"", "solver"} & set(self._models):
            # Incumbent and candidate would be one and the same, and their comparison would mean nothing.
            raise LoopError(f"models[{role!r}]: the solver speaks through the model that is trained; name other roles")
        joined = [*roles, *joining(settings).roles, *plugged_in()]
        for one in joined:
            if not isinstance(one, EpisodeRole | RoundRole):
                raise LoopError(
                    f"roles: {one!r} is no EpisodeRole or RoundRole; is it a class without its parentheses?"
                )
            one.joined = True
        names = [role.name for role in (*episode_players(), *round_players(), *joined)]
        if taken := [name for name in names if names.count(name) > 1 or name in NODES]:
            raise LoopError(f"two roles, or a role and a node of the graph, are called {taken[0]!r}: rename one")
        if lost := set(self._models) - set(names):
            near = difflib.get_close_matches(min(lost), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise LoopError(f"models[{min(lost)!r}]: no role is called so; {hint}")
        if unknown := set(settings.roles) - {role.name for role in joined}:
            there = ", ".join(role.name for role in joined) or "none"
            raise LoopError(f"settings for roles that did not join: {', '.join(sorted(unknown))}; joined: {there}")
        self._episode_roles = seating(episode_players(), [r for r in joined if isinstance(r, EpisodeRole)])
        self._round_roles = seating(round_players(), [r for r in joined if isinstance(r, RoundRole)])

    @classmethod
    def resume(
        cls,
        run: str | None = None,
        workspace: str | Path = "runs",
        budget: Mapping[str, Any] | None = None,
        **joined: Any,
    ) -> Self:
        """The loop of an earlier run, the newest if none is named, with its own settings.

        Args:
            run: Its name.
            workspace: Where it lies.
            budget: Settings of its budget that are to change, such as `{"tokens": 500_000}`.
            joined: Roles, tasks and models that joined by argument when it began.

        Raises:
            LedgerError: There is no such run.
            SettingsError: The budget is none.
        """
        from quintet.memory.workspace import Workspace

        with Workspace.existing(workspace).ledger() as ledger:
            info = ledger.run(run).info
        limits = {**info.settings.get("budget", {}), **(budget or {})}
        return cls(Settings.of_run({**info.settings, "budget": limits}), workspace=workspace, run=info.run, **joined)

    def run(self, rounds: int | None = None) -> Report:
        """Run to the end, or go on to it.

        Args:
            rounds: Rounds wanted in all, instead of the settings'.
        """
        return asyncio.run(self.arun(rounds))

    def stream(self, rounds: int | None = None) -> Iterator[dict[str, Any]]:
        """Run, and yield live progress events; whoever leaves the iteration stops the run, to be resumed at will."""
        with asyncio.Runner() as runner:
            events = self.astream(rounds)
            try:
                while True:
                    try:
                        yield runner.run(anext(events))
                    except StopAsyncIteration:
                        return
            finally:
                # A second Ctrl-C leaves the generator in the middle of a step; the runner then cancels what is left.
                with contextlib.suppress(RuntimeError):
                    runner.run(events.aclose())

    async def arun(self, rounds: int | None = None) -> Report:
        """As `run`."""
        async with contextlib.aclosing(self.astream(rounds)) as events:
            async for _ in events:
                pass
        return self.result()

    async def astream(self, rounds: int | None = None) -> AsyncGenerator[dict[str, Any]]:
        """As `stream`."""
        from quintet.graph.conducting import conduct

        # Whoever stops listening stops the run: without `aclosing` it would linger until the collector finds it.
        async with contextlib.aclosing(conduct(self, rounds)) as events:
            async for event in events:
                yield event

    def result(self) -> Report:
        """The report of the run, finished or not.

        Raises:
            LoopError: It has not begun.
        """
        from quintet.memory.workspace import Workspace

        if self.run_name is None:
            raise LoopError("the run has not begun: call run() or stream() first")
        place = Workspace(self.workspace)
        with place.ledger() as ledger:
            return report(ledger.run(self.run_name), place)

    def graph(self, checkpointer: BaseCheckpointSaver[Any] | None = None) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled lifecycle graph, to draw or to run with `context()`."""
        from quintet.graph.lifecycle import lifecycle

        return lifecycle(self._round_roles).compile(checkpointer=checkpointer)

    @contextlib.asynccontextmanager
    async def context(self) -> AsyncIterator[Context]:
        """What the graph runs in, for those who invoke it themselves; the run is begun, and its resources are held.

        `async with loop.context() as context: await loop.graph().ainvoke(loop.opening(), context=context)`

        A graph with a checkpointer of one's own needs `config={"configurable": {"thread_id": …}}`; `quintet resume`
        does not see those checkpoints, begins at the first round, and takes what was recorded from the log. Whether
        the graph stopped with a question is the caller's to notice, by setting `loop.waiting`.
        """
        from quintet.graph.conducting import sitting

        async with sitting(self) as context:
            yield context

    def opening(self) -> State:
        """The state in which a run begins."""
        from quintet.graph.lifecycle import opening

        return opening(self.settings)

    @property
    def roles(self) -> list[Role]:
        """All roles, those of a round first."""
        return [*self._round_roles, *self._episode_roles]

    @property
    def models(self) -> Mapping[str, BaseChatModel]:
        """The chat models that were passed, by role."""
        return self._models

    @property
    def tasks(self) -> tuple[TaskFamily, ...]:
        """The task families that were passed."""
        return self._tasks
