"""Opens what a run works with: model, memory, examiner, suites, seated roles; and closes it again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.agents.table import Table
from quintet.graph.errors import LoopError
from quintet.graph.judging import Judging
from quintet.graph.lifecycle import Context
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.threads import THREADS
from quintet.records import Adapter, Decision

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from quintet.models.waves import Wave
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
        "tokens_per_second": rate,
        "from_log": wave.from_log,
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

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on; dropped while no node runs."""
        if self._write is not None:
            self._loop.call_soon_threadsafe(self._write, event, context=self._context)


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

    Raises:
        ModelError: The model is missing or damaged.
        TaskError: A family is unknown.
        SuiteError: A suite does not fit.
    """
    # Before the imports below load torch, which reads some of these once.
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)

    from quintet.evaluation.suites import Suites
    from quintet.memory.index import Index
    from quintet.memory.memory import Memory
    from quintet.memory.recorder import Recorder
    from quintet.models.catalogue import locate
    from quintet.models.chat import LocalChat
    from quintet.models.engine import Engine
    from quintet.models.waves import Waves
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.families import load_families, pick
    from quintet.training.registry import Registry

    emit = Emitter()
    rounds = rounds or settings.rounds
    known = load_families(families)
    wanted = [
        *settings.proposer.families,
        *settings.evaluation.families,
        *(settings.evaluation.retention_families or ()),
    ]

    async def computed(work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)

    # OpenMP keeps a pool of threads for each thread that computes, and stops spinning once all pools together have more
    # threads than the machine has cores (libgomp's throttled spin count): generation then takes twice as long.
    with ThreadPoolExecutor(1, "quintet-engine") as thread, Examiner(pick(known, wanted), settings.tasks) as examiner:
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, rounds, openings)
        files = await computed(locate, settings.model.name, settings.model.network)
        engine = await computed(Engine, files, settings.model)
        registry = Registry(workspace.adapters)
        waves = Waves(engine, ledger, lambda wave: emit(seen(wave)), thread=thread)
        chat = LocalChat(waves=waves, model=files.name)
        index = await asyncio.to_thread(Index, workspace.chroma, settings.memory)
        memory = Memory(ledger, index, settings.memory)
        # On record before the first round, so that the curator can tell how far from them a task is.
        ledger.add(*suites.tasks)
        await memory.sync()

        def register(adapter: Adapter) -> None:
            engine.register(adapter.id, registry.path(adapter.id), adapter.weights)

        async def serve(adapter: Adapter) -> None:
            await computed(register, adapter)
            proof = await computed(engine.prove, adapter.id)
            apart = f"{proof.served:.3f} nats from its own log-probabilities, {proof.other:.3f} from its start's"
            if not proof.ok:
                raise LoopError(f"what is served is not {adapter.id}: {apart}")
            emit(
                {
                    "event": "said",
                    "text": f"{adapter.id} is served: {apart}" + ("" if proof.decided else " (too close to tell)"),
                }
            )

        rejected = {decision.candidate for decision in ledger.find(Decision) if not decision.promoted}
        for adapter in ledger.find(Adapter):
            if adapter.id not in rejected:
                await computed(register, adapter)
        table = Table(
            seed=settings.seed,
            settings=settings,
            training=settings.training,
            ledger=ledger,
            memory=memory,
            examiner=examiner,
            registry=registry,
            base=files,
            models={"": chat, **(models or {})},
            recorder=Recorder(ledger),
            serve=serve,
            progress=emit,
        )
        seated = [role.sit(table) for role in roles]
        try:
            yield Context(
                settings=settings,
                table=table,
                judging=Judging(table, suites, settings.evaluation),
                round_roles=[role for role in seated if isinstance(role, RoundRole)],
                episode_roles=[role for role in seated if isinstance(role, EpisodeRole)],
                rounds=rounds,
                emit=emit,
            )
        finally:
            waves.close()
            memory.close()
