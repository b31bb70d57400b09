"""The export of traces: what the official classes read back, against what the ledger holds."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from parity import CANARY

from quintet.graph.errors import LoopError
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.exports import conventions as c
from quintet.playground.exports import otlp
from quintet.playground.exports.otlp import export_traces
from quintet.records import (
    Adapter,
    Attempt,
    Call,
    Completion,
    Critique,
    Decision,
    Evaluation,
    Message,
    Proposal,
    Recall,
    Reply,
    Row,
    Selection,
    Stage,
    Task,
)


def read(line: str) -> ExportTraceServiceRequest:
    """A line of OTLP/JSON through protobuf's own reader, which wants ids in base64."""

    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(one)).decode()
            if key in ("traceId", "spanId", "parentSpanId")
            else rewritten(one)
            for key, one in value.items()
        }

    return ParseDict(rewritten(json.loads(line)), ExportTraceServiceRequest())


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for around in request.resource_spans:
        for within in around.scope_spans:
            assert within.schema_url == c.SCHEMA_URL
            yield from within.spans


def said(holder: Any) -> dict[str, Any]:
    """Attributes as values."""
    found = {}
    for one in holder.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found


@pytest.fixture(scope="module")
def text(played: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("otlp") / "run.jsonl"
    export_traces(played, None, out)
    return out.read_text()


@pytest.fixture(scope="module")
def spans(text: str) -> list[Span]:
    return [span for line in text.splitlines() for span in spans_of(read(line))]


@pytest.fixture(scope="module")
def recorded(played: Path) -> Iterator[RunLedger]:
    with Workspace(played).ledger() as ledgers:
        yield ledgers.run()


def test_an_export_is_the_same_every_time(played: Path, tmp_path: Path, text: str) -> None:
    export_traces(played, None, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == text
    assert not list(tmp_path.glob(".*.part"))


def test_ids_are_whole_and_no_two_spans_share_one(spans: list[Span]) -> None:
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans)
    assert len({(span.trace_id, span.span_id) for span in spans}) == len(spans)
    assert len({span.span_id for span in spans}) == len(spans)


def test_each_trace_has_one_first_span_that_is_around_all_others(spans: list[Span]) -> None:
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    firsts = Counter(span.trace_id for span in spans if not span.parent_span_id)
    assert set(firsts) == {span.trace_id for span in spans}
    assert set(firsts.values()) == {1}
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span.parent_span_id:
            parent = by_id[span.trace_id, span.parent_span_id]
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano


def test_links_lead_to_spans_that_are_there(spans: list[Span]) -> None:
    known = {(span.trace_id, span.span_id) for span in spans}
    links = [link for span in spans for link in span.links]
    assert {said(link)[c.LINK] for link in links} >= {"part of", "made of", "rests on", "revises"}
    assert all((link.trace_id, link.span_id) in known for link in links)


def test_every_call_is_a_chat_with_what_it_asked_and_got(spans: list[Span], recorded: RunLedger) -> None:
    chats = {said(span)[c.RECORD]: span for span in spans if said(span).get(c.OPERATION) == c.CHAT}
    calls = recorded.find(Call)
    assert len(calls) > 50
    assert set(chats) == {call.id for call in calls}
    for call in calls:
        span, words = chats[call.id], said(chats[call.id])
        assert span.name == f"chat {call.model}"
        assert words[c.AGENT] == call.role
        assert words[c.ADAPTER] == call.adapter
        assert words[c.REQUEST_MODEL] == call.model
        assert words[c.INPUT_TOKENS] == call.prompt_tokens
        assert words[c.OUTPUT_TOKENS] == call.completion_tokens
        assert words[c.TEMPERATURE] == call.options["temperature"]
        assert words[c.MAX_TOKENS] == call.options["max_tokens"]
        assert words.get(c.CHOICE_COUNT, 1) == call.options["n"]
        assert words[c.FINISH_REASONS] == [completion.finish for completion in call.completions]
        assert words[c.REQUEST_SEED] == call.options["seed"]
        asked, got = json.loads(words[c.INPUT_MESSAGES]), json.loads(words[c.OUTPUT_MESSAGES])
        assert [(one["role"], one["parts"][0]["content"]) for one in asked] == [
            (message.role, message.content) for message in call.messages
        ]
        assert [one["parts"] for one in got] == [
            [{"type": "text", "content": completion.text}] for completion in call.completions
        ]
        assert words.get(c.CONVERSATION) == (f"{recorded.run}/{call.task}" if call.task else None)


def test_a_call_ends_when_it_was_recorded_and_began_its_seconds_before(spans: list[Span], recorded: RunLedger) -> None:
    chats = {said(span)[c.RECORD]: span for span in spans if said(span).get(c.OPERATION) == c.CHAT}
    for event in recorded.events(limit=1_000_000, kinds=[Call]):
        span = chats[event.id]
        assert span.end_time_unix_nano == round(event.time * 1e9)
        assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(event.seconds or 0)


def test_a_conversation_is_a_trace_of_its_roles(spans: list[Span], recorded: RunLedger) -> None:
    attempts = {(attempt.round, attempt.task) for attempt in recorded.find(Attempt)}
    episodes = [span for span in spans if span.name == "invoke_workflow episode"]
    assert {(said(span)[c.ROUND], said(span)[c.TASK]) for span in episodes} == attempts
    revised = next(attempt for attempt in recorded.find(Attempt) if attempt.revises)
    trace = next(
        span.trace_id for span in episodes if (said(span)[c.ROUND], said(span)[c.TASK]) == (revised.round, revised.task)
    )
    agents = [said(span)[c.AGENT] for span in spans if span.trace_id == trace and span.name.startswith("invoke_agent")]
    assert {"solver", "critic", "skeptic"} <= set(agents)
    task = recorded.get(revised.task)
    assert isinstance(task, Task)
    first = next(span for span in episodes if span.trace_id == trace)
    assert json.loads(said(first)[c.INPUT_MESSAGES])[0]["parts"][0]["content"] == task.question


def test_judgements_stand_at_the_call_they_are_about(spans: list[Span], recorded: RunLedger) -> None:
    found = [(span, event, said(event)) for span in spans for event in span.events if event.name == c.EVALUATION]
    verdicts = {
        words[c.RECORD]: (span, words) for span, _, words in found if words.get(c.ATTEMPT) and c.VERDICT in words
    }
    critiques = recorded.find(Critique)
    assert set(verdicts) == {critique.id for critique in critiques}
    for critique in critiques:
        span, words = verdicts[critique.id]
        attempt = recorded.get(critique.attempt)
        assert isinstance(attempt, Attempt)
        assert said(span)[c.RECORD] == attempt.call == words[c.RESPONSE_ID]
        assert words[c.SAMPLE] == attempt.sample
        assert words[c.SCORE_VALUE] == critique.score
        assert words[c.SCORE_LABEL] == ("correct" if critique.correct else "incorrect")
    curated = [words for _, _, words in found if words[c.EVALUATION_NAME] == "curator"]
    assert len(curated) == len(recorded.find(Selection))
    answered = sum(len(evaluation.answers) for evaluation in recorded.find(Evaluation))
    items = [words for span, _, words in found if said(span).get(c.AGENT) == "evaluation" and c.STRICT in words]
    assert len(items) == answered


def test_rows_adapters_and_decisions_lead_back(spans: list[Span], recorded: RunLedger) -> None:
    at = {(span.trace_id, span.span_id): said(span).get(c.RECORD) for span in spans}
    evaluated = {
        (span.trace_id, span.span_id): {said(event)[c.RECORD] for event in span.events}
        for span in spans
        if span.name == "invoke_workflow evaluation"
    }
    by_record = {said(span)[c.RECORD]: span for span in spans if c.RECORD in said(span)}
    rows = recorded.find(Row)
    assert rows
    for row in rows:
        attempt = recorded.get(row.attempt)
        assert isinstance(attempt, Attempt)
        [link] = by_record[row.id].links
        assert at[link.trace_id, link.span_id] == attempt.call
    for adapter in recorded.find(Adapter):
        linked = [at[link.trace_id, link.span_id] for link in by_record[adapter.id].links]
        assert set(linked) == {*adapter.rows, *({adapter.start} - {"base"})}
    for decision in recorded.find(Decision):
        span = by_record[decision.id]
        [judgement] = [said(event) for event in span.events]
        assert judgement[c.EXPLANATION] == decision.reason
        linked_ = {(link.trace_id, link.span_id) for link in span.links}
        rested = {id for key in linked_ & set(evaluated) for id in evaluated[key]}
        assert rested >= set(decision.evaluations)


def test_stages_stand_within_their_round(spans: list[Span], recorded: RunLedger) -> None:
    rounds = {span.trace_id: said(span)[c.ROUND] for span in spans if span.name == "invoke_workflow round"}
    stages = [
        (rounds[span.trace_id], said(span)[c.AGENT]) for span in spans if said(span).get(c.RECORD, "")[:6] == "stage-"
    ]
    assert Counter(stages) == Counter((stage.round, stage.name) for stage in recorded.find(Stage))
    assert sorted(rounds.values()) == [1, 2]


def test_a_role_that_joined_and_its_failure_are_told(workspace: Path, ledger: RunLedger, tmp_path: Path) -> None:
    attempt = ledger.find(Attempt)[0]
    ledger.add(
        Reply(round=attempt.round, role="referee", task=attempt.task, error="ValueError: no such word"),
        Recall(round=attempt.round, role="referee", task=attempt.task, query="what?", items=(), sources=()),
        Call(
            request="f" * 64,
            round=attempt.round,
            role="referee",
            task=attempt.task,
            model="gpt-x",
            adapter=None,
            messages=(Message(role="user", content="<script>"),),
            error="TimeoutError: too late",
        ),
    )
    export_traces(workspace, None, tmp_path / "run.pb")
    request = ExportTraceServiceRequest.FromString((tmp_path / "run.pb").read_bytes())
    found = {span.name: span for span in spans_of(request) if said(span).get(c.AGENT) == "referee"}
    agent, call = found["invoke_agent referee"], found["chat gpt-x"]
    assert agent.status.code == call.status.code == Status.STATUS_CODE_ERROR
    assert said(agent)[c.ERROR_TYPE] == "ValueError"
    assert said(call)[c.ERROR_TYPE] == "TimeoutError"
    assert call.kind == Span.SPAN_KIND_CLIENT
    assert found["search_memory"].parent_span_id == agent.span_id


def test_what_a_user_asked_beside_the_run_is_there_too(workspace: Path, ledger: RunLedger, tmp_path: Path) -> None:
    said_ = Completion(text="four", tokens=(1, 2))
    asked = (Message(role="user", content="2 + 2?"),)
    call = Call(request="e" * 64, round=0, role="chat", model="m", messages=asked, completions=(said_,))
    ledger.add(call)
    export_traces(workspace, None, tmp_path / "run.jsonl")
    found = [span for line in (tmp_path / "run.jsonl").read_text().splitlines() for span in spans_of(read(line))]
    trace = next(span.trace_id for span in found if said(span).get(c.RECORD) == call.id)
    assert {span.name for span in found if span.trace_id == trace} == {
        "invoke_workflow beside",
        "invoke_agent chat",
        "chat m",
    }


def test_a_round_that_has_only_proposed_has_no_span_yet(tmp_path: Path) -> None:
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.begin("young", 0, {})
        task = Task(family="parity", level=0, question="1?", canonical="1", truth={})
        values = {"round": 1, "number": 0, "family": "parity", "level": 0, "accepted": True, "reason": "new"}
        ledger.add(task, Proposal(**values, origin="drawn", task=task.id))
    assert export_traces(tmp_path, None, tmp_path / "run.jsonl") == 0
    assert (tmp_path / "run.jsonl").read_text() == ""


def test_no_truth_is_in_it(text: str) -> None:
    assert CANARY not in text
    assert "truth" not in text


def test_a_pb_is_one_request_with_the_same_spans(played: Path, tmp_path: Path, spans: list[Span]) -> None:
    export_traces(played, None, tmp_path / "run.pb")
    request = ExportTraceServiceRequest.FromString((tmp_path / "run.pb").read_bytes())
    assert [span.SerializeToString(deterministic=True) for span in spans_of(request)] == [
        span.SerializeToString(deterministic=True) for span in spans
    ]


def test_lines_are_bounded(played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spans: list[Span]) -> None:
    monkeypatch.setattr(otlp, "CHUNK", 20_000)
    told: list[tuple[int, int]] = []
    count = export_traces(played, None, tmp_path / "run.jsonl", lambda done, of: told.append((done, of)))
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    largest = max(span.ByteSize() for span in spans)
    assert len(lines) > 5
    assert max(map(len, lines)) < 4 * (20_000 + largest)
    assert count == len(spans) == sum(1 for line in lines for _ in spans_of(read(line)))
    assert told[-1][0] == told[-1][1]


def test_what_cannot_be_written_is_said(played: Path, tmp_path: Path) -> None:
    with pytest.raises(LoopError, match="folder"):
        export_traces(played, None, tmp_path)
    with pytest.raises(LoopError, match="cannot be written"):
        export_traces(played, None, tmp_path / "no" / "run.jsonl")
    with pytest.raises(LedgerError, match="nearest"):
        export_traces(played, "tinny", tmp_path / "run.jsonl")
    assert not list(tmp_path.iterdir())
