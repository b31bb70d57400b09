"""Writes a run's traces to a file, as a collector reads them: OTLP in JSON lines, or in protobuf."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from quintet import __version__
from quintet.graph.exporting import replacing
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.episodes import rounds
from quintet.memory.workspace import Workspace
from quintet.playground.exports import conventions as c
from quintet.playground.exports.spans import keyed
from quintet.playground.exports.traces import traces

CHUNK = 500_000
"""Bytes of protobuf after which a request is written, and the next one begun; in JSON they are about twice as many."""

IDS = ("traceId", "spanId", "parentSpanId")


def export_traces(workspace: Path, run: str | None, out: Path, tell: Callable[[int, int], None] | None = None) -> int:
    """Write a run's traces.

    Args:
        workspace: Where the run lies.
        run: The newest if `None`.
        out: A file, replaced if it is there. One request a line, in JSON; a name that ends in `.pb` gets a single one
            in protobuf. `-` is standard output.
        tell: Is told how many events are written, and of how many.

    Returns:
        How many spans there are.

    Raises:
        LedgerError: There is no such run.
        LoopError: The file cannot be written.
    """
    spans = 0
    with Workspace.existing(workspace).ledger() as ledgers:
        ledger = ledgers.run(run)
        with replacing(out) as file:
            for request in _requests(ledger, tell or (lambda done, of: None)):
                spans += len(request.resource_spans[0].scope_spans[0].spans)
                # Requests in protobuf, one behind the other, are one request with all their spans.
                file.write(request.SerializeToString() if out.suffix == ".pb" else _line(request))
    return spans


def _requests(ledger: RunLedger, tell: Callable[[int, int], None]) -> Iterator[ExportTraceServiceRequest]:
    """The spans in requests of bounded size."""
    of, done, size, held = sum(rounds(ledger).values()), 0, 0, list[Span]()
    for spans, read in traces(ledger):
        for span in spans:
            held.append(span)
            size += span.ByteSize()
            if size >= CHUNK:
                yield _request(ledger.run, held)
                size, held = 0, []
        done += read
        tell(done, of)
    if held:
        yield _request(ledger.run, held)


def _request(run: str, spans: list[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    around = request.resource_spans.add()
    named = {c.SERVICE_NAME: "quintet", c.SERVICE_VERSION: __version__, c.SERVICE_INSTANCE: run}
    around.resource.attributes.extend(keyed(named))
    within = around.scope_spans.add(schema_url=c.SCHEMA_URL)
    within.scope.name, within.scope.version = "quintet", __version__
    within.spans.extend(spans)
    return request


def _line(request: ExportTraceServiceRequest) -> bytes:
    """In JSON as OTLP has it, which differs from protobuf's own: ids are hexadecimal, enumerations numbers."""
    found = MessageToDict(request, use_integers_for_enums=True)
    for span in found["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for one in (span, *span.get("links", ())):
            _hexadecimal(one)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _hexadecimal(one: dict[str, Any]) -> None:
    for name in IDS:
        if name in one:
            one[name] = base64.b64decode(one[name]).hex()
