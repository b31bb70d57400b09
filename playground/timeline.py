"""A conversation on an axis of time: when each step was taken, and how long it took."""

from __future__ import annotations

from quintet.memory.events import Event
from quintet.memory.reading.conversation import Conversation
from quintet.records import Call, Part, Recall, Reply

SPOKEN = {
    "proposal": ("proposer", "proposes"),
    "attempt": ("solver", "attempts"),
    "transition": ("solver", "acts"),
    "critique": ("critic", "judges"),
    "lesson": ("critic", "lesson"),
    "selection": ("curator", "selects"),
    "row": ("curator", "row"),
    "contrast": ("curator", "holds rows against it"),
    "skill": ("librarian", "skill"),
}
"""By kind, the role whose step it is where the record does not name one, and what it does."""

LEAST = 0.5
"""Percent of the axis that a measured step is drawn with at least, so that it is seen."""


class Bar(Part):
    """A step; records of one kind that were written at once are one."""

    id: str
    """Of the first of its records."""
    role: str
    does: str
    count: int
    start: float
    """Seconds after the first step began."""
    seconds: float | None
    """How long it took; `None` where that was not measured."""
    left: float
    """Where it begins, in percent of the axis."""
    width: float
    """In percent."""


class Timeline(Part):
    """One round's steps."""

    round: int
    began: float
    """Seconds since the epoch."""
    seconds: float
    """From the first step's beginning to the last one's end."""
    bars: tuple[Bar, ...]


def timelines(found: Conversation) -> tuple[Timeline, ...]:
    """By round, the steps in the order in which they began."""
    by_round: dict[int, list[Event]] = {}
    for event in (*found.inventions, *found.events):
        by_round.setdefault(event.round or 0, []).append(event)
    return tuple(_timeline(round, events) for round, events in sorted(by_round.items()))


def _timeline(round: int, events: list[Event]) -> Timeline:
    began = min(_start(event) for event in events)
    # Never 0, by which the shares are divided.
    whole = max(max(event.time for event in events) - began, 0.001)
    bars: list[Bar] = []
    for event in sorted(events, key=lambda event: (_start(event), event.seq)):
        role, does = _step(event)
        start = _start(event) - began
        if bars and event.seconds is None and (bars[-1].role, bars[-1].does, bars[-1].start) == (role, does, start):
            bars[-1] = bars[-1].model_copy(update={"count": bars[-1].count + 1})
            continue
        width = 0.0 if event.seconds is None else max(100 * event.seconds / whole, LEAST)
        left = min(100 * start / whole, 100 - width)
        bars.append(
            Bar(
                id=event.id,
                role=role,
                does=does,
                count=1,
                start=start,
                seconds=event.seconds,
                left=left,
                width=width,
            )
        )
    return Timeline(round=round, began=began, seconds=whole, bars=tuple(bars))


def _start(event: Event) -> float:
    return event.time - (event.seconds or 0.0)


def _step(event: Event) -> tuple[str, str]:
    match event.record:
        case Call() as call:
            return call.role, f"model call ×{len(call.completions)}" if call.completions else "model call failed"
        case Recall() as recall:
            return recall.role, "recalls"
        case Reply() as reply:
            return reply.role, "failed" if reply.error else "replies"
    return SPOKEN.get(event.kind, (event.role or event.kind, event.kind))
