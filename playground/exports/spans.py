"""OpenTelemetry spans in the protocol's own classes, under ids that follow from the records they stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from quintet.playground.exports import conventions as c

Value = str | bool | int | float | Sequence[str] | None
Attributes = Mapping[str, Value]

LARGEST = 2**63
"""Whole numbers from here on do not fit the protocol."""


class Spot:
    """Where a span is: what a link or a child needs to know of it."""

    def __init__(self, trace: bytes, span: bytes) -> None:
        self.trace, self.span = trace, span


def spot(run: str, trace: Sequence[object], *span: object) -> Spot:
    """The place of a span, the same at every export.

    Args:
        run: The run's name: two runs may hold the same record.
        trace: What the trace is of.
        span: What the span is of; the trace's first span, if it is not said.
    """
    named = (run, "trace", *trace)
    return Spot(_hash(named)[:16], _hash((*named, "span", *span) if span else (*named, "root"))[:8])


def _hash(parts: Sequence[object]) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


def span(
    name: str,
    at: Spot,
    parent: Spot | None,
    start: int,
    end: int,
    attributes: Attributes,
    *,
    error: str | None = None,
    remote: bool = False,
) -> Span:
    """A span.

    Args:
        name: Of few different values: viewers group by it.
        at: Its place.
        parent: The span around it; `None` for a trace's first.
        start: Nanoseconds since the epoch.
        end: The same, not before it.
        attributes: Those without a value are left out.
        error: Why it failed, if it did.
        remote: Whether it waited for another process.
    """
    made = Span(
        trace_id=at.trace,
        span_id=at.span,
        parent_span_id=parent.span if parent else b"",
        name=name,
        kind=Span.SPAN_KIND_CLIENT if remote else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=keyed(attributes),
    )
    if error is not None:
        made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=error))
        made.attributes.extend(keyed({c.ERROR_TYPE: error_type(error)}))
    return made


def event(of: Span, name: str, time: float, attributes: Attributes) -> None:
    """Add an event to a span, at a time in seconds since the epoch."""
    of.events.append(Span.Event(name=name, time_unix_nano=nanoseconds(time), attributes=keyed(attributes)))


def link(of: Span, to: Spot, why: str) -> None:
    """Point from a span to another, of any trace."""
    of.links.append(Span.Link(trace_id=to.trace, span_id=to.span, attributes=keyed({c.LINK: why})))


def judged(
    of: Span,
    name: str,
    time: float,
    score: float | None = None,
    label: str | None = None,
    explanation: str | None = None,
    attributes: Attributes | None = None,
) -> None:
    """Add a judgement of what a model said to the span in which it did.

    The conventions make it an event of the logs; here it is one of the span, where every viewer of traces shows it.
    """
    of.events.append(
        Span.Event(
            name=c.EVALUATION,
            time_unix_nano=nanoseconds(time),
            attributes=keyed(
                {
                    c.EVALUATION_NAME: name,
                    c.SCORE_VALUE: score,
                    c.SCORE_LABEL: label,
                    c.EXPLANATION: explanation or None,
                    **(attributes or {}),
                }
            ),
        )
    )


class Extent:
    """From the first beginning to the last end of some spans, in nanoseconds since the epoch."""

    def __init__(self) -> None:
        self.start: int | None = None
        self.end = 0

    def take(self, *parts: Span) -> None:
        """Cover these too."""
        for part in parts:
            self.cover(part.start_time_unix_nano, part.end_time_unix_nano)

    def cover(self, start: int, end: int) -> None:
        """Cover this time too."""
        self.start = start if self.start is None else min(self.start, start)
        self.end = max(self.end, end)

    @property
    def times(self) -> tuple[int, int]:
        """Both ends; the epoch, where nothing was covered."""
        return self.start or 0, self.end


def nanoseconds(seconds: float) -> int:
    """Seconds as the protocol wants them."""
    return round(seconds * 1e9)


def error_type(error: str) -> str:
    """The class that an error's line begins with, as errors are recorded."""
    name = error.partition(":")[0]
    return name if name.isidentifier() else c.OTHER


def keyed(attributes: Attributes) -> list[KeyValue]:
    """Attributes as the protocol has them."""
    return [KeyValue(key=key, value=_any(value)) for key, value in attributes.items() if value is not None]


def _any(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if -LARGEST <= value < LARGEST:
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str() | int():
            return AnyValue(string_value=str(value))
        case _:
            return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value or ()]))
