"""What a role did in its turn, as spans: one for the agent, within it one for each model call and each recall."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from quintet.memory.events import Event
from quintet.memory.ledger import RunLedger
from quintet.playground.exports import conventions as c
from quintet.playground.exports.spans import Attributes, Extent, Spot, Value, nanoseconds, span, spot
from quintet.records import BASE, EVALUATION, Adapter, Attempt, Call, Contrast, Evaluation, Recall, Reply, Row, Task


class Places:
    """Which span stands for which of a run's records, and in which trace; the same at every export."""

    def __init__(self, ledger: RunLedger) -> None:
        self.ledger, self.run = ledger, ledger.run
        chats = ledger.info.settings.get("chats", {}).values()
        self.providers = {str(chat["model"]): str(chat.get("provider", "openai")) for chat in chats}

    def of_round(self, round: int, *of: object) -> Spot:
        """A span in a round's trace; its first, if it is not said of what."""
        return spot(self.run, ("round", round), *of)

    def of_episode(self, round: int, task: str, *of: object) -> Spot:
        """A span in a conversation's trace."""
        return spot(self.run, ("episode", round, task), *of)

    def of_evaluation(self, round: int, suite: str, adapter: str | None, *of: object) -> Spot:
        """A span in an evaluation's trace."""
        return spot(self.run, ("evaluation", round, suite, adapter), *of)

    def of_call(self, call: Call) -> Spot:
        """The span of a call."""
        if call.task is None:
            return self.of_round(call.round, call.id)
        if call.role != EVALUATION:
            return self.of_episode(call.round, call.task, call.id)
        task = self.ledger.get(call.task)
        suite = task.split if isinstance(task, Task) else ""
        return self.of_evaluation(call.round, suite, call.adapter, call.id)

    def of(self, id: str | None) -> Spot | None:
        """The span that stands for a record; for an attempt, the call that it was made in."""
        match self.ledger.get(id) if id else None:
            case Attempt() as attempt:
                return self.of(attempt.call)
            case Call() as call:
                return self.of_call(call)
            case Evaluation() as made:
                return self.of_evaluation(made.round, made.suite, made.adapter)
            case Row() | Contrast() | Adapter() as made:
                return self.of_round(made.round, made.id)
        return None

    def named(self, operation: str, agent: str, round: int, task: str | None = None) -> Attributes:
        """What says of a span whose it is."""
        return {
            c.OPERATION: operation,
            c.AGENT: agent,
            # A task has one conversation, whatever rounds it is asked in.
            c.CONVERSATION: f"{self.run}/{task}" if task else None,
            c.RUN: self.run,
            c.ROUND: round,
        }


@dataclass(frozen=True)
class Turn:
    """What a role did before another one spoke."""

    agent: Span
    recalls: tuple[Span, ...]
    calls: dict[str, Span]
    """By the record's id."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """All of them."""
        return (self.agent, *self.recalls, *self.calls.values())


def turn(places: Places, said: Sequence[Event], parent: Spot, at: Spot) -> Turn:
    """The spans of a role's turn.

    Args:
        places: Where spans are.
        said: Its calls, recalls and replies, at least one.
        parent: The span around it.
        at: Where it is.
    """
    first = said[0]
    calls = {event.id: chat(places, event, at) for event in said if isinstance(event.record, Call)}
    recalls = tuple(_recall(places, event, at) for event in said if isinstance(event.record, Recall))
    extent, words, error = Extent(), dict[str, Value](), None
    extent.take(*calls.values(), *recalls)
    for event in said:
        if isinstance(reply := event.record, Reply):
            extent.cover(nanoseconds(event.time), nanoseconds(event.time))
            content = json.dumps(reply.content, ensure_ascii=False)
            words = {
                c.RECORD: reply.id,
                c.VERDICT: reply.verdict,
                c.OUTPUT_MESSAGES: messages([("assistant", content)]) if reply.content else None,
            }
            error = reply.error
    role, number = first.role or "", getattr(first.record, "turn", 0)
    named = places.named(c.INVOKE_AGENT, role, first.round or 0, first.task)
    agent = span(f"{c.INVOKE_AGENT} {role}", at, parent, *extent.times, {**named, c.TURN: number, **words}, error=error)
    return Turn(agent, recalls, calls)


def chat(places: Places, event: Event, parent: Spot) -> Span:
    """The span of a model call."""
    call = event.record
    if not isinstance(call, Call):
        raise TypeError(f"{event.id} is no call")
    options, ours = call.options, call.adapter is not None
    end = nanoseconds(event.time)
    named = places.named(c.CHAT, call.role, call.round, call.task)
    return span(
        f"{c.CHAT} {call.model}",
        places.of_call(call),
        parent,
        end - nanoseconds(event.seconds or 0.0),
        end,
        {
            **named,
            c.PROVIDER: "quintet" if ours else places.providers.get(call.model, c.OTHER),
            c.REQUEST_MODEL: call.model,
            c.RESPONSE_MODEL: call.model if call.adapter in (None, BASE) else f"{call.model}/{call.adapter}",
            c.RESPONSE_ID: call.id,
            c.CHOICE_COUNT: options.get("n") if options.get("n", 1) != 1 else None,
            c.TEMPERATURE: _number(options.get("temperature")),
            c.TOP_K: options.get("top_k") or None,
            c.MAX_TOKENS: options.get("max_tokens"),
            c.SEED: options["seed"] if isinstance(options.get("seed"), int) else None,
            c.REQUEST_SEED: options["seed"] if isinstance(options.get("seed"), str) else None,
            c.OUTPUT_TYPE: "json" if options.get("schema") else "text",
            c.INPUT_TOKENS: call.prompt_tokens,
            c.OUTPUT_TOKENS: call.completion_tokens,
            c.FINISH_REASONS: [completion.finish for completion in call.completions] or None,
            c.INPUT_MESSAGES: messages((message.role, message.content) for message in call.messages),
            c.OUTPUT_MESSAGES: json.dumps(
                [
                    {**_message("assistant", completion.text), "finish_reason": completion.finish}
                    for completion in call.completions
                ],
                ensure_ascii=False,
            )
            if call.completions
            else None,
            c.ADAPTER: call.adapter,
            c.TURN: call.turn,
            c.RECORD: call.id,
            c.TASK: call.task,
        },
        error=call.error,
        remote=not ours,
    )


def messages(said: Iterable[tuple[str, str]]) -> str:
    """Roles and texts as the conventions want them."""
    return json.dumps([_message(role, text) for role, text in said], ensure_ascii=False)


def _message(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _recall(places: Places, event: Event, parent: Spot) -> Span:
    recall, at = event.record, nanoseconds(event.time)
    if not isinstance(recall, Recall):
        raise TypeError(f"{event.id} is no recall")
    return span(
        c.SEARCH_MEMORY,
        Spot(parent.trace, places.of_round(recall.round, recall.id).span),
        parent,
        at,
        at,
        {
            **places.named(c.SEARCH_MEMORY, recall.role, recall.round, recall.task),
            c.MEMORY_QUERY: recall.query,
            c.MEMORY_COUNT: len(recall.items),
            c.MEMORIES: [item.id for item in recall.items],
            c.RECORD: recall.id,
        },
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
