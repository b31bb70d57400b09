"""Asks the model beside a run: one question through a strategy, or a conversation."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from quintet.agents.errors import NoAnswerError
from quintet.agents.roles import answered, to_langchain
from quintet.agents.strategies import Desk, Solution, Strategy, strategies
from quintet.agents.table import Question, Table
from quintet.graph.adapters import known, standing
from quintet.graph.answering import prepare, solved
from quintet.graph.curating import Place
from quintet.graph.errors import LoopError
from quintet.graph.opening import Emitter, examined, laid
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import BASE, GREEDY, Adapter, Message
from quintet.tasks.environment import EnvironmentFamily
from quintet.tasks.families import pick
from quintet.tasks.family import AnyQuestion, TaskFamily


@dataclass
class Side:
    """The model at hand beside a run."""

    table: Table
    emit: Emitter
    adapters: list[str]
    """Those that were asked for, by full id; the incumbent if none was."""
    run: str | None
    """`None` where a model was named instead."""


@contextlib.asynccontextmanager
async def beside(
    workspace: Path,
    run: str | None = None,
    adapters: Sequence[str] = (),
    model: str | None = None,
    family: str = "",
) -> AsyncIterator[Side]:
    """The model, memory and adapters of a run, for questions that are no part of it; they are recorded as of round 0.

    Args:
        workspace: Where the run lies.
        run: The newest if `None`.
        adapters: Ids, or beginnings of ids, or `base`; the incumbent if none.
        model: A model's name, instead of a run: it has no adapters and no memory, and nothing is recorded.
        family: Task family that is going to be asked for.

    Raises:
        LedgerError: There is no such run, or the workspace is in use.
        LoopError: The run has no such adapter, or a run or adapters are named beside a model.
        TaskError: The run knows no such family.
        ModelError: The model is missing or damaged.
    """
    if model and (run or set(adapters) - {BASE}):
        raise LoopError(f"model {model} as it is has no run and no adapters: name it, or them")
    with contextlib.ExitStack() as stack:
        if model:
            place = Workspace(stack.enter_context(tempfile.TemporaryDirectory(prefix="quintet-")))
            settings = Settings.compose({"model": {"name": model}})
            ledger = stack.enter_context(place.ledger()).begin("beside", 0, {})
        else:
            place = Workspace.existing(workspace)
            ledger = stack.enter_context(place.ledger()).run(run)
            settings = Settings.of_run(ledger.info.settings)
            stack.enter_context(place.claim(ledger.run))
        # What is not there is said before a model is loaded.
        wanted = [known(ledger, adapter) for adapter in adapters] or [standing(ledger).incumbent]
        async with examined(settings, place=Place(place.path, settings.rounds, ledger=ledger)) as examiner:
            pick(examiner.families, [family] if family else [])
            async with laid(settings, ledger, place, examiner) as (table, emit):
                await _served(table, ledger, wanted)
                yield Side(table, emit, wanted, None if model else ledger.run)


async def _served(table: Table, ledger: RunLedger, adapters: Sequence[str]) -> None:
    for adapter in adapters:
        if isinstance(registered := ledger.get(adapter), Adapter):
            await table.serve(registered)


class Solved(BaseModel):
    """A question and what was settled on."""

    question: str
    adapter: str
    strategy: str
    solution: Solution
    tokens: int = 0
    """Tokens generated for it."""
    prompt_tokens: int = 0


def way(strategy: str, samples: int = 8) -> Strategy:
    """The strategy of this name, for a question that nobody knows the answer to.

    Raises:
        PluginError: There is no such strategy.
        LoopError: It is an upper bound, which needs the truth.
    """
    [found] = strategies([strategy or GREEDY], samples)
    if found.upper_bound:
        raise LoopError(
            f"{found.name} is an upper bound: it chooses by the truth, which nobody knows of a question of yours; it "
            "answers quintet eval only"
        )
    return found


async def solve(
    side: Side, question: str, strategy: str, samples: int, family: str = "", tokens: int | None = None
) -> list[Solved]:
    """Put a question to each of the adapters, through a strategy.

    Args:
        side: The model at hand.
        question: In words.
        strategy: A strategy's name.
        samples: Replies of a strategy that asks for several, where no tokens are given.
        family: Task family that says how it is put and its answers are read; by default a guess from the question.
        tokens: Tokens that the strategy may generate.

    Raises:
        PluginError: There is no such strategy.
        TaskError: The run knows no such family.
        LoopError: The strategy needs the truth.
        NoAnswerError: The model gave no answer.
    """
    chosen = way(strategy, samples)
    reading: TaskFamily = pick(side.table.examiner.families, [family])[0] if family else AnyQuestion(question)
    if isinstance(reading, EnvironmentFamily):
        raise LoopError(f"{family} is acted out, so a question of your own cannot be put to it: leave --family out")
    found = []
    for adapter in side.adapters:
        desk = Desk(side.table, Question(question, 0, adapter), reading, tokens)
        await prepare(chosen, [desk])
        solution = await solved(chosen, desk)
        found.append(
            Solved(
                question=question,
                adapter=adapter,
                strategy=chosen.name,
                solution=solution,
                tokens=desk.spent,
                prompt_tokens=desk.prompted,
            )
        )
    return found


async def reply(
    side: Side,
    adapter: str,
    history: Sequence[Message],
    temperature: float,
    max_tokens: int,
    heard: Callable[[str], None],
) -> str:
    """One reply in a conversation, told piece by piece as it is generated.

    Args:
        side: The model at hand.
        adapter: Who replies.
        history: The conversation, the user's message last.
        temperature: 0 is greedy.
        max_tokens: Longest reply.
        heard: Told the reply so far, again and again, in the event loop.

    Raises:
        NoAnswerError: The model gave no answer.
    """
    model = side.table.model("")
    side.emit.listen(lambda event: heard(event["text"]) if event["event"] == "wave" else None)
    result = await model.agenerate(
        [[to_langchain(message) for message in history]],
        callbacks=[side.table.recorder],
        metadata={"role": "chat", "round": 0, "task": None, "turn": len(history) // 2},
        n=1,
        temperature=temperature,
        max_tokens=max_tokens,
        # Asked again, a warm model may say something else.
        seed=os.urandom(8).hex() if temperature else "",
        adapter=adapter,
    )
    text = answered(result, "").completions[0].text
    if not text and (why := (result.llm_output or {}).get("error")):
        # Such as a conversation that has grown too long: an empty reply would look like one that was meant.
        raise NoAnswerError(f"the model gave no answer: {why}")
    return text
