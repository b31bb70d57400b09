"""What a role's time limit is about, and under which adapter it speaks through which model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler

from quintet.agents.hearing import hear
from quintet.agents.roles import EpisodeRole
from quintet.agents.settings import AgentSettings
from quintet.agents.table import Episode
from quintet.models.chat import LocalChat
from quintet.models.requests import Reply, Request
from quintet.models.waves import Waves
from quintet.records import Completion, Task, digest
from quintet.records import Reply as Said


class Slow:
    """An engine that takes a while, and remembers under which adapter it was asked."""

    def __init__(self) -> None:
        self.adapters: list[str] = []

    def key(self, request: Request) -> str:
        return digest(request.model_dump(mode="json"))

    def generate(self, requests: Sequence[Request], *_: object) -> list[Reply]:
        time.sleep(0.4)
        self.adapters += [request.adapter for request in requests]
        return [Reply(completions=(Completion(text="Well."),)) for _ in requests]


class Doubter(EpisodeRole):
    """Doubts."""

    template = "Is it?"


class Ponderer(Doubter):
    """Takes its time before it asks."""

    async def act(self, episode: Episode) -> Any:
        await asyncio.sleep(60)
        return await super().act(episode)


@pytest.fixture
def engines() -> dict[str, Slow]:
    return {"": Slow(), "other": Slow()}


async def heard(role: EpisodeRole, engines: dict[str, Slow], model: str = "", **settings: Any) -> Said:
    chats = {name: LocalChat(waves=Waves(engine), model=name) for name, engine in engines.items()}
    said: list[Any] = []
    table: Any = SimpleNamespace(
        seed=0,
        settings=AgentSettings.model_validate({"roles": {role.name: settings}}),
        ledger=SimpleNamespace(add=lambda *records: said.extend(records), find=lambda *_, **__: []),
        model=lambda name: chats[model if name else ""],
        recorder=AsyncCallbackHandler(),
    )
    task = Task(family="f", level=0, question="q", canonical="q", truth={})
    await hear(role.sit(table), Episode(1, task, adapter="adapter-7"))
    for chat in chats.values():
        chat.waves.close()
    [reply] = said
    assert isinstance(reply, Said)
    return reply


async def test_waiting_for_a_model_that_quintet_serves_costs_a_role_no_time(engines: dict[str, Slow]) -> None:
    reply = await heard(Doubter(), engines, seconds=0.1)
    assert (reply.content, reply.error) == ({"text": "Well."}, None)


async def test_what_it_does_besides_does(engines: dict[str, Slow]) -> None:
    assert (await heard(Ponderer(), engines, seconds=0.1)).error == "stalled for more than 0.1 s"


async def test_the_runs_adapters_are_those_of_the_model_that_is_trained(engines: dict[str, Slow]) -> None:
    await heard(Doubter(), engines)
    await heard(Doubter(), engines, "other")
    await heard(Doubter(), engines, "other", adapter="its-own")
    assert (engines[""].adapters, engines["other"].adapters) == (["adapter-7"], ["base", "its-own"])
