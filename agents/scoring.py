"""Asks the trained model how likely given texts are: one recorded call for each, all in one wave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from quintet.agents.errors import AgentError
from quintet.agents.roles import answered, is_served, to_langchain
from quintet.agents.table import Table
from quintet.models.barrier import seat
from quintet.records import Completion, Message


@dataclass(frozen=True)
class Text:
    """A text whose probability is asked."""

    given: str | tuple[int, ...]
    """The text, or its token ids: for a reply with the token that ends its turn, as it was generated."""
    messages: tuple[Message, ...] = ()
    """What it answers, as the model is asked; none for the text by itself: nothing stands before it but what opens
    a reply in the model's chat template."""
    task: str | None = None
    """Id of the task that it belongs to, for the record."""


async def scored_texts(
    table: Table, texts: Sequence[Text], adapter: str, role: str, round: int, turn: int = 0
) -> list[Completion]:
    """The texts' tokens with their log-probabilities under the trained model.

    Each is a recorded call, so a resumed run has it from the ledger. A text that could not be scored (it does not fit
    into the model) comes back without log-probabilities; the reason is on record.

    Args:
        table: Where the model and the recorder are.
        texts: What to score. Those that share a prompt cost it once.
        adapter: Under which they are scored.
        role: Who asks, for the record.
        round: In which round, for the record.
        turn: In which turn, for the record.

    Raises:
        AgentError: The run's model is none that Quintet serves.
    """
    model = table.model("")
    if not is_served(model):
        raise AgentError(
            f"a {type(model).__name__} cannot score given texts: only a model that Quintet serves itself tells their "
            "log-probabilities; leave out metrics and filters that rest on them (perplexity, ifd)"
        )

    async def one(text: Text) -> Completion:
        metadata = {"role": role, "round": round, "task": text.task, "turn": turn}
        result = await model.agenerate(
            [[to_langchain(message) for message in text.messages]],
            callbacks=[table.recorder],
            metadata=metadata,
            given=text.given,
            adapter=adapter,
        )
        return answered(result, "").completions[0]

    async def seated(text: Text) -> Completion:
        async with table.seated():
            return await one(text)

    # Who sits in an episode already asks from that seat: a second one would wait for the first for ever.
    ask = one if seat.get() is not None else seated
    return list(await asyncio.gather(*(ask(text) for text in texts)))
