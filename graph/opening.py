"""Opens what a run works with: model, memory, examiner, suites, seated roles; and closes it again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.agents.table import Table
from quintet.graph.judging import Judging
from quintet.graph.lifecycle import Context
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Adapter

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from quintet.models.waves import Wave
    from quintet.tasks.family import TaskFamily


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

    Raises:
        ModelError: The model is missing or damaged.
        TaskError: A family is unknown.
        SuiteError: A suite does not fit.
    """
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

    # OpenMP's threads spin while they wait; as soon as another process wants a core, each spins away the time that
    # another needs and generation takes many times as long. Read when torch is first loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    emit = Emitter()
    rounds = rounds or settings.rounds
    known = load_families(families)
    wanted = [
        *settings.proposer.families,
        *settings.evaluation.families,
        *(settings.evaluation.retention_families or ()),
    ]
    with Examiner(pick(known, wanted), settings.tasks) as examiner:
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, rounds)
        # On record before the first round, so that the curator can tell how far from them a task is.
        ledger.add(*suites.tasks)
        files = await asyncio.to_thread(locate, settings.model.name)
        engine = await asyncio.to_thread(Engine, files, settings.model)
        registry = Registry(workspace.adapters)
        chat = LocalChat(waves=Waves(engine, ledger, lambda wave: emit(seen(wave))), model=files.name)
        index = await asyncio.to_thread(Index, workspace.chroma, settings.memory)
        memory = Memory(ledger, index, settings.memory)
        await memory.sync()

        def serve(adapter: str) -> None:
            record = ledger.get(adapter)
            if isinstance(record, Adapter):
                engine.register(adapter, registry.path(adapter), record.weights)

        for adapter in ledger.find(Adapter):
            serve(adapter.id)
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
            chat.waves.close()
            memory.close()
