"""Rehearses a role: it speaks once, at a small table, through a chat model that says what the test wants."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from quintet.agents.errors import AgentError
from quintet.agents.hearing import hear
from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.agents.settings import AgentSettings, JoinedSettings
from quintet.agents.table import Episode, Round, Table
from quintet.records import BASE, Attempt, Call, Critique, Record, Reply, Task

if TYPE_CHECKING:
    from pydantic import BaseModel

    from quintet.memory.ledger import RunLedger

FAMILY = "chain_sum"


class NothingLeftError(Exception):
    """The scripted model has said all that it was given."""


@dataclass(frozen=True)
class Rehearsal:
    """What came of a rehearsal."""

    said: BaseModel | None
    """The reply, if there was one."""
    error: str | None
    """Why there is no reply: what the run's ledger would say."""
    records: tuple[Record, ...]
    """All that the ledger would hold of it."""
    prompts: tuple[str, ...]
    """What the chat model was asked: the last message of each call."""


def rehearse(
    role: Role,
    says: Sequence[str] = (),
    *,
    question: str = "What is 17 + 25?",
    answer: str = "42",
    attempts: Sequence[str] = ("Answer: 42", "Answer: 41"),
    round: int = 1,
    **settings: Any,
) -> Rehearsal:
    """Let a role speak once, without a run and without a real model; for tests of a role.

    Args:
        role: The role; an `EpisodeRole` finds a task with attempts that the critic has judged, a `RoundRole` a round.
        says: What the chat model replies, in turn.
        question: The task's question.
        answer: Its right answer; an attempt that ends in it counts as right.
        attempts: Texts of the solver's attempts.
        round: The number of the round.
        settings: Settings of the role, as in its section of a config.

    Raises:
        AgentError: The chat model was asked more often than `says` has replies.
    """
    with tempfile.TemporaryDirectory(prefix="quintet-rehearsal-") as folder:
        return asyncio.run(_rehearse(role, list(says), Path(folder), (question, answer, attempts), round, settings))


async def _rehearse(
    role: Role,
    says: list[str],
    folder: Path,
    scenery: tuple[str, str, Sequence[str]],
    number: int,
    settings: dict[str, Any],
) -> Rehearsal:
    from quintet.memory.index import Index
    from quintet.memory.memory import Memory
    from quintet.memory.recorder import Recorder
    from quintet.memory.workspace import Workspace
    from quintet.models.catalogue import ModelFiles
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.families import load_families, pick
    from quintet.training.registry import Registry
    from quintet.training.settings import TrainingSettings

    place = Workspace(folder)
    with place.ledger() as ledgers, Examiner(pick(load_families(), [FAMILY])) as examiner:
        ledger = ledgers.begin("rehearsal", 0, {})
        memory = Memory(ledger, Index(place.chroma))

        async def serve(_: Any) -> None:
            raise AgentError("nothing is served at a rehearsal")

        table = Table(
            seed=0,
            settings=_settings(role, settings),
            training=TrainingSettings(),
            ledger=ledger,
            memory=memory,
            examiner=examiner,
            registry=Registry(place.adapters),
            base=ModelFiles(name="rehearsal", path=folder, revision=""),
            models={"": _scripted(says)},
            recorder=Recorder(ledger),
            serve=serve,
            progress=lambda event: None,
        )
        try:
            scene = _scene(role, ledger, scenery, number)
            records = await hear(role.sit(table), scene)
        finally:
            memory.close()
        calls = ledger.find(Call)
    lost = [record.error for record in records if isinstance(record, Reply) and record.error]
    if lost and "NothingLeftError" in lost[0]:
        raise AgentError(f"{role.name} asked its model more than {len(says)} times: give `says` as many replies")
    return Rehearsal(
        said=scene.replies.get(role.name),
        error=lost[0] if lost else None,
        records=tuple(records),
        prompts=tuple(call.messages[-1].content for call in calls),
    )


def _settings(role: Role, given: dict[str, Any]) -> AgentSettings:
    try:
        return AgentSettings.model_validate({"roles": {role.name: given}})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][1:])
        raise AgentError(f"setting {key}: {first['msg']}; there are {', '.join(JoinedSettings.model_fields)}") from None


def _scripted(says: list[str]) -> Any:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Scripted(BaseChatModel):
        """Says what it was given, in turn."""

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            if not says:
                raise NothingLeftError
            return ChatResult(generations=[ChatGeneration(message=AIMessage(says.pop(0)))])

    return Scripted()


def _scene(role: Role, ledger: RunLedger, scenery: tuple[str, str, Sequence[str]], number: int) -> Episode | Round:
    question, answer, texts = scenery
    task = Task(family=FAMILY, level=0, question=question, canonical=question, truth={"answer": answer})
    ledger.add(task)
    if isinstance(role, RoundRole):
        return Round(number, BASE, {FAMILY: 0}, [task])
    if not isinstance(role, EpisodeRole):
        raise AgentError(f"{type(role).__name__} is no EpisodeRole and no RoundRole")
    episode = Episode(number, task)
    for place, text in enumerate(texts):
        right = text.strip().endswith(answer)
        given = text.rpartition(":")[2].strip()
        attempt = Attempt(
            round=number,
            task=task.id,
            call="call-0",
            sample=place,
            turn=0,
            text=text,
            answer=given,
            strict_answer=given,
        )
        critique = Critique(
            round=number,
            task=task.id,
            attempt=attempt.id,
            score=float(right),
            correct=right,
            strict=right,
            verdict="accept" if right else "revise",
        )
        ledger.add(attempt, critique)
        episode.take(attempt)
        episode.take(critique)
    return episode
