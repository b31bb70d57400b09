"""What the players share while they sit together: models, memory, examiner, ledger, registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quintet.agents.errors import AgentError
from quintet.agents.settings import AgentSettings
from quintet.evaluation.settings import MonitorSettings
from quintet.models.barrier import Barrier
from quintet.records import BASE, Adapter, Attempt, Critique, Record, Reply, Task, Verdict

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic import BaseModel

    from quintet.memory.ledger import RunLedger
    from quintet.memory.memory import Memory
    from quintet.memory.recorder import Recorder
    from quintet.models.catalogue import ModelFiles
    from quintet.tasks.examiner import Examiner
    from quintet.training.registry import Registry
    from quintet.training.settings import TrainingSettings

STRICTNESS: tuple[Verdict, ...] = ("accept", "revise", "reject")
"""Verdicts from the mildest to the strictest."""


@asynccontextmanager
async def _nothing_is_lent(adapter: str, folder: Path) -> AsyncIterator[None]:
    raise AgentError(f"{adapter} in {folder}: no model is served here")
    yield


@dataclass(frozen=True)
class Table:
    """Everything a role may reach. One table a run."""

    seed: int
    settings: AgentSettings
    training: TrainingSettings
    ledger: RunLedger
    memory: Memory
    examiner: Examiner
    registry: Registry
    base: ModelFiles
    """Files of the base model."""
    models: Mapping[str, BaseChatModel]
    """Chat model by role; `""` is the model of all others, the one that is trained."""
    recorder: Recorder
    serve: Callable[[Adapter], Awaitable[None]]
    """Has the served model serve an adapter of the registry, and proves that it does."""
    progress: Callable[[dict[str, Any]], None]
    """Takes live progress events."""
    seconds_left: Callable[[], float | None] = lambda: None
    """Wall time that the run's budget leaves; `None` where it has none."""
    check: Callable[[], None] = lambda: None
    """Raises a `SpentError` once the budget is spent; asked before each call of a model that Quintet does not serve."""
    lend: Callable[[str, Path], AbstractAsyncContextManager[None]] = _nothing_is_lent
    """Has the served model serve an adapter of this name that lies in this folder, while the context lasts."""
    monitors: MonitorSettings = field(default_factory=MonitorSettings)
    """Where the monitors raise an alarm."""
    make_room: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """Has the served model give up what a training on the same GPU needs, while the context lasts."""
    barrier: Barrier = field(default_factory=Barrier)
    """Where all who sit together wait for one another before the models that Quintet serves answer."""

    def model(self, role: str) -> BaseChatModel:
        """The chat model that this role speaks through."""
        return self.models.get(role) or self.models[""]

    def seated(self) -> AbstractAsyncContextManager[None]:
        """Take part in the waves of all served models: those who sit together ask together, whatever the timing."""
        return self.barrier.participant()


@dataclass
class Round:
    """One round of the lifecycle, as the round roles see it."""

    number: int
    incumbent: str
    levels: dict[str, int]
    """Training level by family."""
    tasks: list[Task] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    """Ids of the rows chosen in this round."""
    replies: dict[str, BaseModel] = field(default_factory=dict)
    """What joined round roles said, by role."""
    adapters: dict[str, str] = field(default_factory=dict)
    """The adapter of each role that has one of its own, instead of the incumbent."""


@dataclass(frozen=True)
class Question:
    """A question outside the loop's episodes: a user's, or an evaluation's."""

    question: str
    round: int
    """0 for what a user asks beside the run."""
    adapter: str = BASE
    task: str | None = None
    """Id of its task, if it has one; the truth stays with that."""
    turn: int = 0


@dataclass
class Episode:
    """The conversation about one task, as the episode roles see it."""

    round: int
    task: Task
    adapter: str = BASE
    turns: int = 2
    """Turns allowed: a first attempt and revisions."""
    revise: int = 1
    """Attempts revised per turn."""
    turn: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    critiques: dict[str, Critique] = field(default_factory=dict)
    """By attempt id."""
    revising: frozenset[str] = frozenset()
    """Ids of the last turn's attempts that this turn revises."""
    replies: dict[str, BaseModel] = field(default_factory=dict)
    """What joined roles said last, by role."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The joined roles' verdicts of this turn, by role."""

    @property
    def question(self) -> str:
        """What the solver is asked."""
        return self.task.question

    def current(self) -> list[Attempt]:
        """The attempts of this turn."""
        return [attempt for attempt in self.attempts if attempt.turn == self.turn]

    def pass_rate(self) -> float:
        """Share of first attempts that the verifier accepts."""
        first = [self.critiques[a.id].correct for a in self.attempts if a.turn == 0 and a.id in self.critiques]
        return sum(first) / len(first) if first else 0.0

    def verdict(self, attempt: Attempt) -> Verdict:
        """The strictest verdict on an attempt of this turn; nobody is milder than the verifier."""
        judged = self.critiques.get(attempt.id)
        said: list[Verdict] = [judged.verdict if judged else "reject", *self.verdicts.values()]
        return max(said, key=STRICTNESS.index)

    def revisable(self) -> list[Attempt]:
        """The attempts of this turn that the table wants revised, no more than it may."""
        return [attempt for attempt in self.current() if self.verdict(attempt) == "revise"][: self.revise]

    def open_turn(self, revising: list[Attempt]) -> None:
        """Begin the turn that revises these attempts."""
        self.revising = frozenset(attempt.id for attempt in revising)
        self.verdicts = {}
        self.turn += 1

    def take(self, said: Record) -> None:
        """Put a record on the table, for the roles that follow."""
        if isinstance(said, Attempt):
            self.attempts.append(said)
        elif isinstance(said, Critique):
            self.critiques[said.attempt] = said
        elif isinstance(said, Reply) and said.verdict:
            self.verdicts[said.role] = said.verdict
