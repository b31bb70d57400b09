"""A desk whose model says what a test wants: the real chat model, waves and ledger, and a script for an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quintet.agents.settings import AgentSettings
from quintet.agents.strategies import Desk
from quintet.agents.table import Question, Table
from quintet.memory.recorder import Recorder
from quintet.memory.workspace import Workspace
from quintet.models.chat import LocalChat
from quintet.models.requests import Reply, Request
from quintet.models.waves import Waves
from quintet.records import BASE, Completion, digest
from quintet.tasks.family import AnyQuestion

PROMPT = 10
"""Tokens of every prompt."""

Says = Callable[[Request, int], str]
"""What sample i of a request says. A word is a token, and so is the end."""


class Script:
    """Generates what it is told to; `asked` is what it was asked."""

    def __init__(self, says: Says, nats: Callable[[str], float] = lambda text: -1.0, error: str = "") -> None:
        self.says, self.nats, self.error = says, nats, error
        self.asked: list[Request] = []

    def key(self, request: Request) -> str:
        return digest(request.model_dump(mode="json"))

    def generate(self, requests: Sequence[Request], *_: Any) -> list[Reply]:
        self.asked += requests
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        if self.error:
            failed = (Completion(text="", finish="error"),) * request.n
            return Reply(completions=failed, prompt_tokens=PROMPT, error=self.error)
        said = tuple(self._completion(request, place) for place in range(request.n))
        return Reply(completions=said, prompt_tokens=PROMPT)

    def _completion(self, request: Request, place: int) -> Completion:
        text, longest = self.says(request, place), request.sampling.max_tokens
        words = text.split(" ") if text else []
        cut = len(words) + 1 > longest
        text = " ".join(words[:longest])
        tokens = tuple(range(longest if cut else len(words) + 1))
        nats = self.nats(text)
        return Completion(text=text, tokens=tokens, logprobs=(nats,) * len(tokens), finish="length" if cut else "stop")


class Forgetful:
    """A memory of a few lessons, and of nothing else."""

    def __init__(self, lessons: Sequence[str] = ()) -> None:
        self.kept = lessons

    async def recall(self, query: str, kind: type, *, count: int, **_: Any) -> list[tuple[Any, float]]:
        lessons = self.kept if kind.__name__ == "Lesson" else ()
        return [(SimpleNamespace(text=text), 0.1) for text in lessons[:count]]


@contextmanager
def desk_of(
    script: Script,
    folder: Path,
    *,
    question: str = "What is 17 * 6?",
    budget: int | None = None,
    verifier: Callable[[Sequence[str]], Awaitable[list[bool]]] | None = None,
    lessons: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Desk]:
    """A desk in a run of its own, on a question of no family."""
    waves = Waves(script)
    with Workspace(folder).ledger() as ledgers:
        ledger = ledgers.begin("scripted", 0, {})
        nowhere: Any = None
        examiner: Any = SimpleNamespace(families={})
        memory: Any = Forgetful(lessons)
        table = Table(
            seed=0,
            settings=AgentSettings.model_validate(settings),
            training=nowhere,
            ledger=ledger,
            memory=memory,
            examiner=examiner,
            registry=nowhere,
            base=nowhere,
            models={"": LocalChat(waves=waves, model="scripted")},
            recorder=Recorder(ledger),
            serve=nowhere,
            progress=lambda event: None,
        )
        try:
            yield Desk(table, Question(question, 0, BASE), AnyQuestion(question), budget, verifier)
        finally:
            waves.close()
