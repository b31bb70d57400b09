"""Opens what a run works with: model, memory, examiner, suites, seated roles; and closes it again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from quintet.agents.metrics import load_metric
from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.agents.self_play import rewarding
from quintet.agents.sources import load_sources
from quintet.agents.table import Table
from quintet.evaluation.bandits import load_bandit
from quintet.graph.adapters import standing
from quintet.graph.budget import Budget
from quintet.graph.curating import Place, curated, records_of, wanted
from quintet.graph.errors import LoopError
from quintet.graph.joining import joining
from quintet.graph.judging import Judging
from quintet.graph.lifecycle import Context
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.threads import THREADS
from quintet.records import BASE, Adapter
from quintet.training.errors import RegistryError
from quintet.training.objective import learns_from, load_objective
from quintet.training.registry import Registry, read_adapter

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from quintet.models.serving import Serving
    from quintet.models.waves import Wave
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.family import TaskFamily


T = TypeVar("T")


def seen(wave: Wave) -> dict[str, Any]:
    """A wave's progress as an event."""
    progress = wave.progress
    rate = progress.tokens / progress.seconds if progress.seconds else None
    return {
        "event": "wave",
        "wave": wave.number,
        "done": progress.finished,
        "of": progress.sequences,
        "tokens": progress.tokens,
        "seconds": progress.seconds,
        "tokens_per_second": rate,
        "from_log": wave.from_log,
        "text": progress.text,
    }


Emit = Callable[[dict[str, Any]], None]


class Emitter:
    """Hands progress events to the stream of the node that runs now; safe to call from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._write: Emit | None = None
        self._context = copy_context()

    def listen(self, write: Emit) -> Emit:
        """Send events through a node's stream writer, which finds its stream by the context it is called in."""
        self._write, self._context = write, copy_context()
        return write

    def say(self, text: str) -> None:
        """Pass on what somebody says."""
        self({"event": "said", "text": text})

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on; dropped while no node runs."""
        if self._write is not None:
            self._loop.call_soon_threadsafe(self._write, event, context=self._context)


class Served:
    """Which adapters the model that Quintet serves knows, and the proof of which one it serves."""

    def __init__(self, engine: Serving, registry: Registry, thread: ThreadPoolExecutor, emit: Emit) -> None:
        self.engine, self.registry, self._thread, self._emit = engine, registry, thread, emit

    async def know(self, ledger: RunLedger, settings: Settings) -> None:
        """Make the run's adapters known, rejected ones left out, and those that roles name.

        Raises:
            LoopError: A role names an adapter that is not there.
            ModelError: An adapter is damaged.
        """
        for role, own in settings.speaking().items():
            if own.adapter not in ("", BASE):
                try:
                    weights = self.registry.check(own.adapter)
                except RegistryError as error:
                    raise LoopError(f"setting {role}.adapter: {error}") from error
                await self._register(own.adapter, weights)
        status = standing(ledger).status
        for adapter in ledger.find(Adapter):
            if status[adapter.id] != "rejected":
                await self._register(adapter.id, adapter.weights)

    async def serve(self, adapter: Adapter) -> None:
        """Serve an adapter of the registry, and prove that it is what answers.

        Raises:
            LoopError: What is served is something else.
            ModelError: The adapter is damaged.
        """
        await self._register(adapter.id, adapter.weights)
        await self._prove(adapter.id)

    @asynccontextmanager
    async def lend(self, adapter: str, folder: Path) -> AsyncIterator[None]:
        """Serve an adapter that is in no registry, and forget it when the context ends.

        Args:
            adapter: A name that no adapter has.
            folder: Where it lies.

        Raises:
            LoopError: What is served is something else.
            ModelError: The adapter is damaged.
            RegistryError: A file of it is missing.
        """
        await self._computed(self.engine.register, adapter, folder, read_adapter(folder).weights)
        try:
            await self._prove(adapter)
            yield
        finally:
            await self._computed(self.engine.forget, adapter)

    @asynccontextmanager
    async def make_room(self) -> AsyncIterator[None]:
        """Have the served model give up what a training on the same GPU needs, while the context lasts."""
        await self._computed(self.engine.rest)
        try:
            yield
        finally:
            await self._computed(self.engine.wake)

    async def _prove(self, adapter: str) -> None:
        proof = await self._computed(self.engine.prove, adapter)
        if not proof.ok:
            raise LoopError(f"what is served is not {adapter}: {proof}", fault=True)
        self._emit({"event": "said", "text": f"{adapter} is served: {proof}"})

    async def _register(self, adapter: str, weights: str) -> None:
        await self._computed(self.engine.register, adapter, self.registry.path(adapter), weights)

    async def _computed(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


@asynccontextmanager
async def opened(
    settings: Settings,
    ledger: RunLedger,
    workspace: Workspace,
    roles: Sequence[Role],
    families: Sequence[TaskFamily] = (),
    models: Mapping[str, BaseChatModel] | None = None,
    rounds: int | None = None,
    openings: int = 1,
    budget: Budget | None = None,
) -> AsyncIterator[Context]:
    """The context of a run.

    Args:
        settings: Of the run.
        ledger: Of the run.
        workspace: Where its files lie.
        roles: Not seated yet, in speaking order.
        families: Task families that join the built-in ones.
        models: Chat models by role, for roles that do not speak through the model that is trained.
        rounds: Rounds wanted in all; the settings' if `None`.
        openings: Openings of the final suite that must have items of their own.
        budget: What may be taken; none where a user asks something beside the run.

    Raises:
        ModelError: The model is missing or damaged.
        TaskError: A family is unknown.
        SuiteError: A suite does not fit.
        LoopError: A role names an adapter that is not there.
        PluginError: There is no such metric, objective or bandit.
        TrainError: The objective takes no such options.
        LoopError: Settings do not fit together, as `check` says.
        AgentError: A role's words cannot be read.
    """
    from quintet.evaluation.suites import Suites

    rounds = rounds or settings.rounds
    check(settings)
    async with examined(settings, families, Place(workspace.path, rounds, openings, ledger)) as examiner:
        # First, since it says within a second what does not fit.
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, rounds, openings)
        async with laid(settings, ledger, workspace, examiner, models, budget) as (table, emit):
            # On record before the first round, so that the curator can tell how far from them a task is.
            ledger.add(*suites.tasks, *records_of(examiner.families.values()))
            await table.memory.sync()
            seated = [role.sit(table) for role in roles]
            for role in seated:
                role.check()
            yield Context(
                settings=settings,
                table=table,
                judging=Judging(table, suites, settings.evaluation),
                round_roles=[role for role in seated if isinstance(role, RoundRole)],
                episode_roles=[role for role in seated if isinstance(role, EpisodeRole)],
                rounds=rounds,
                emit=emit,
                budget=budget,
            )


def check(settings: Settings) -> None:
    """See that what the settings name is there, before a model is loaded and hours are spent.

    Raises:
        PluginError: There is no such metric, objective or bandit.
        TrainError: The objective takes no such options.
        LoopError: Old rows are to be scored anew, and no metric can; or the proposer is to learn, and nothing rewards
            it, or the objective does not learn from rewards.
    """
    load_objective(settings.training)
    metrics = [load_metric(name) for name in settings.curator.metrics]
    if settings.curator.rescore and not any(metric.rescores for metric in metrics):
        named = ", ".join(metric.name for metric in metrics)
        raise LoopError(f"curator.rescore: none of {named} can score old rows anew; add perplexity or ifd to metrics")
    if "proposer" in settings.self_play.others:
        if not rewarding(settings.proposer):
            named = ", ".join(settings.proposer.sources)
            raise LoopError(f"self_play.roles: none of {named} rewards it; add challenger to proposer.sources")
        if learns_from(settings.training) != "groups":
            objective = settings.training.objective
            raise LoopError(
                f"self_play.roles: the proposer learns from rewards, and {objective} does not: "
                'training.objective = "grpo" does'
            )
    load_sources(settings.proposer)
    for name in filter(None, (settings.proposer.allocate, settings.curator.allocate)):
        load_bandit(name)


@asynccontextmanager
async def examined(
    settings: Settings, families: Sequence[TaskFamily] = (), place: Place | None = None
) -> AsyncIterator[Examiner]:
    """The examiner of the families that a run's settings name.

    Args:
        settings: Of the run.
        families: Task families that join the built-in ones.
        place: Where filtered data sets are kept; if `None`, they are filtered by what stands in them alone.

    Raises:
        TaskError: A family is unknown.
    """
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.families import load_families, pick

    # A data set is read whole, to refuse what is wrong with it before anything else is done.
    names = wanted(settings)
    later = {name for name, one in settings.tasks.datasets.items() if one.filters.active and place is not None}
    datasets = {name: one for name, one in settings.tasks.datasets.items() if name not in later}
    known = await asyncio.to_thread(load_families, [*families, *joining(settings).tasks], datasets)
    if place is not None and later:
        known |= await curated(settings, known, names, place)
    with Examiner(pick(known, names), settings.tasks) as examiner:
        yield examiner


@asynccontextmanager
async def laid(
    settings: Settings,
    ledger: RunLedger,
    workspace: Workspace,
    examiner: Examiner,
    models: Mapping[str, BaseChatModel] | None = None,
    budget: Budget | None = None,
) -> AsyncIterator[tuple[Table, Emitter]]:
    """The table, with the model served and the memory at hand.

    Raises:
        ModelError: The model is missing or damaged.
        LoopError: A role names an adapter that is not there.
    """
    # Before the imports below load torch, which reads some of these once.
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)

    from quintet.memory.index import Index
    from quintet.memory.memory import Memory
    from quintet.memory.recorder import Recorder
    from quintet.models.catalogue import locate
    from quintet.models.chat import LocalChat
    from quintet.models.providers import load_chat
    from quintet.models.serving import opened as open_engine
    from quintet.models.waves import Waves

    # First, since it says at once what is missing; a model that is passed wins over one that is configured.
    used = {role: own.chat for role, own in settings.speaking().items() if own.chat}
    loaded = {name: load_chat(name, settings.chats[name]) for name in sorted(set(used.values()))}
    chats = {**{role: loaded[name] for role, name in used.items()}, **(models or {})}
    emit = Emitter()
    # OpenMP keeps a pool of threads for each thread that computes, and stops spinning once all pools together have more
    # threads than the machine has cores (libgomp's throttled spin count): generation then takes twice as long.
    # The engine is closed before its thread is waited for, which may be at work for it.
    with ThreadPoolExecutor(1, "quintet-engine") as thread, ExitStack() as closing:
        loop = asyncio.get_running_loop()
        named = (settings.model.name, settings.model.network, settings.model.chat_template)
        files = await loop.run_in_executor(thread, locate, *named)
        log = workspace.path / "vllm.log"
        engine = await loop.run_in_executor(
            thread, open_engine, files, settings.model, settings.vllm, settings.training.rank, log, emit.say
        )
        closing.callback(engine.close)
        served = Served(engine, Registry(workspace.adapters), thread, emit)
        # Whoever has laid a table has the workspace to himself: what lies there is of a process that was killed.
        served.registry.sweep()
        await served.know(ledger, settings)
        waves = Waves(engine, ledger, lambda wave: emit(seen(wave)), budget, thread, engine.repeats)
        index = await asyncio.to_thread(Index, workspace.chroma, settings.memory)
        memory = Memory(ledger, index, settings.memory)
        closing.callback(memory.close)
        closing.callback(waves.close)
        yield (
            Table(
                seed=settings.seed,
                settings=settings,
                training=settings.training,
                ledger=ledger,
                memory=memory,
                examiner=examiner,
                registry=served.registry,
                base=files,
                models={"": LocalChat(waves=waves, model=files.name), **chats},
                recorder=Recorder(ledger),
                serve=served.serve,
                lend=served.lend,
                make_room=served.make_room,
                progress=emit,
                seconds_left=budget.seconds_left if budget else lambda: None,
                check=budget.check if budget else lambda: None,
                monitors=settings.evaluation.monitors,
            ),
            emit,
        )
