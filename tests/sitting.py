"""A proposer at a small table with a chat model that answers as a test says: real ledger, memory and examiner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from quintet.agents.hearing import hear
from quintet.agents.proposer import Proposer
from quintet.agents.settings import AgentSettings
from quintet.agents.table import Round, Table
from quintet.memory.index import Index
from quintet.memory.memory import Memory
from quintet.memory.recorder import Recorder
from quintet.memory.workspace import Workspace
from quintet.models.catalogue import ModelFiles
from quintet.records import BASE, Attempt, Critique, Proposal, Record, Split, Task
from quintet.tasks import expressions
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import load_families, pick
from quintet.training.registry import Registry
from quintet.training.settings import TrainingSettings

Says = Callable[[str], str]


class Answering(BaseChatModel):
    """Answers the last message by a function of the test's."""

    says: Any
    heard: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "answering"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        asked = str(messages[-1].content)
        self.heard.append(asked)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.says(asked)))])


class Sitting:
    """The proposer, and what it can be asked."""

    def __init__(self, table: Table, model: Answering, levels: dict[str, int]) -> None:
        self.table, self.model, self.levels = table, model, levels
        self.proposer = Proposer().sit(table)

    async def act(self, number: int = 1) -> list[Record]:
        """One act of the proposer; what it says is on record, and remembered."""
        said = await hear(self.proposer, Round(number, BASE, self.levels))
        await self.table.memory.remember(*[record for record in said if isinstance(record, Task)])
        return said

    async def proposals(self, origin: str, number: int = 1) -> list[Proposal]:
        """What one source proposed in an act."""
        return [one for one in await self.act(number) if isinstance(one, Proposal) and one.origin == origin]

    def sum_of(self, split: Split, skip: int = 0, operator: str = "+") -> tuple[int, int]:
        """Two numbers whose sum (or product, difference) belongs to a split; neither is twice the other."""
        pairs = [(a, b) for a in range(11, 60) for b in range(3, 11) if a != 2 * b and a - b not in (a, b)]
        here = self.table.examiner.split
        fits = [pair for pair in pairs if here(expressions.canonical(f"{pair[0]} {operator} {pair[1]}")) == split]
        return fits[skip]

    def attempted(self, task: str, right: int, of: int, number: int = 1) -> None:
        """Put first attempts at a task on record."""
        for sample in range(of):
            about: dict[str, Any] = {"round": number, "task": task}
            attempt = Attempt(
                **about, call=f"call-{task}", sample=sample, turn=0, text="", answer=None, strict_answer=None
            )
            correct = sample < right
            verdict: Any = "accept" if correct else "reject"
            score = float(correct)
            critique = Critique(
                **about, attempt=attempt.id, score=score, correct=correct, strict=correct, verdict=verdict
            )
            self.table.ledger.add(attempt, critique)


@asynccontextmanager
async def sitting(
    folder: Path, says: Says, levels: dict[str, int] | None = None, **proposer: Any
) -> AsyncIterator[Sitting]:
    """A proposer with these settings."""
    levels = levels or {"chain_sum": 2}
    place = Workspace(folder)
    settings = AgentSettings.model_validate({"proposer": {"families": list(levels), "tasks": 4, **proposer}})
    with place.ledger() as ledgers, Examiner(pick(load_families(), [*levels, "written"])) as examiner:
        ledger = ledgers.begin("sitting", 0, {})
        memory = Memory(ledger, Index(place.chroma))
        model = Answering(says=says)

        async def serve(_: Any) -> None:
            raise AssertionError("nothing is served here")

        table = Table(
            seed=0,
            settings=settings,
            training=TrainingSettings(),
            ledger=ledger,
            memory=memory,
            examiner=examiner,
            registry=Registry(place.adapters),
            base=ModelFiles(name="answering", path=folder, revision=""),
            models={"": model},
            recorder=Recorder(ledger),
            serve=serve,
            progress=lambda event: None,
        )
        try:
            yield Sitting(table, model, levels)
        finally:
            memory.close()
