"""The chat: two sides of the tiny model answer the same question, beside the run, one question at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from test_memory_page import held

from quintet.graph.adapters import standing
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.playground.talking import Question, Talk, Told
from quintet.records import BASE, Call

STATIC = Path(__file__).parents[2] / "playground" / "static"


@pytest.fixture
def chat(workspace: Path) -> Iterator[TestClient]:
    """Asks a playground that offers the chat."""
    with TestClient(create_app(workspace, chat=True), base_url="http://127.0.0.1:8420") as asking:
        yield asking


def question(ledger: RunLedger, text: str = "Is 7 odd?", **more: Any) -> dict[str, Any]:
    return {"run": ledger.run, "adapters": [BASE, standing(ledger).incumbent], "question": text, **more}


def ask(chat: TestClient, asked: dict[str, Any]) -> list[dict[str, Any]]:
    reply = chat.post("/chat/ask", json=asked)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in reply.text.splitlines()]


def said(told: list[dict[str, Any]]) -> dict[int, str]:
    """The answers by side."""
    return {one["side"]: one.get("text", "") for one in told if one["event"] == "answered"}


def free(workspace: Path, seconds: float = 20.0) -> bool:
    """Whether nobody holds the workspace, or soon no more."""
    until = time.monotonic() + seconds
    while Workspace(workspace).holder() is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_there_is_no_chat_unless_it_is_offered(client: TestClient, ledger: RunLedger) -> None:
    assert client.get("/chat").status_code == 404
    assert "--chat" in client.get("/chat").text
    assert client.get("/chat/state").status_code == 404
    assert client.post("/chat/leave").status_code == 404
    assert client.post("/chat/ask", json=question(ledger)).status_code == 404
    assert 'href="/chat"' not in client.get("/").text


def test_looking_loads_nothing(chat: TestClient, workspace: Path, ledger: RunLedger) -> None:
    before, incumbent = ledger.digest(), standing(ledger).incumbent
    page = chat.get("/chat").text
    assert f'<option value="{incumbent}" selected>' in page
    assert '<option value="base" selected>' in page
    assert "The model is not loaded" in page
    assert "recorded in the ledger" in page
    assert "self_consistency" in page
    # It knows the truth, and nobody does of a question of a visitor's.
    assert "oracle" not in page
    assert 'href="/chat"' in page
    assert f'<option value="{incumbent}" selected>' in chat.get(f"/chat?left={incumbent[:14]}&right=base").text
    assert chat.get("/chat?left=adapter-none").status_code == 404
    assert chat.get("/chat?run=nowhere").status_code == 404
    assert chat.get("/chat/ask").status_code == 405
    assert Workspace(workspace).holder() is None
    assert ledger.digest() == before


def test_two_sides_answer_as_a_conversation(chat: TestClient, workspace: Path, ledger: RunLedger) -> None:
    told = ask(chat, question(ledger))
    events = [(one["event"], one.get("side")) for one in told if one["event"] != "text"]
    wanted = [("loading", None), ("begun", 0), ("answered", 0), ("begun", 1), ("answered", 1), ("done", None)]
    assert events == wanted
    assert len([one for one in told if one["event"] == "text"]) > 2
    answers = said(told)
    calls = {call.adapter: call for call in ledger.find(Call, round=0, role="chat")}
    assert calls.keys() == {BASE, standing(ledger).incumbent}
    assert calls[BASE].completions[0].text == answers[0]
    assert calls[BASE].options["temperature"] == 0

    # The model stays loaded, and each side hears what it said itself.
    assert "no run can begin here" in chat.get("/chat/state").text
    again = question(ledger, "And 8?", history=[{"question": "Is 7 odd?", "answers": [answers[0], answers[1]]}])
    told = ask(chat, again)
    assert "loading" not in [one["event"] for one in told]
    for call in ledger.find(Call, round=0, role="chat")[-2:]:
        side = 0 if call.adapter == BASE else 1
        assert [message.content for message in call.messages] == ["Is 7 odd?", answers[side], "And 8?"]

    chat.post("/chat/leave")
    assert free(workspace)
    assert "The model is not loaded" in chat.get("/chat/state").text


def test_a_strategy_puts_the_question_to_the_solver(chat: TestClient, ledger: RunLedger) -> None:
    told = ask(chat, question(ledger, strategy="revise"))
    assert [one["what"] for one in told if one["event"] == "step"] == ["first reply", "advice"] * 2
    assert said(told).keys() == {0, 1}
    told = ask(chat, question(ledger, strategy="debate"))
    assert {"solver 1", "solver 2"} <= {one["what"] for one in told if one["event"] == "step"}
    refused = ask(chat, question(ledger, strategy="oracle"))
    assert "upper bound" in refused[-2]["text"]
    unknown = ask(chat, question(ledger, strategy="nonsense"))
    assert [one["event"] for one in unknown if "side" in one] == ["begun", "failed"] * 2
    assert "nonsense" in unknown[-2]["text"]


def test_what_one_side_cannot_answer_does_not_stop_the_other(chat: TestClient, ledger: RunLedger) -> None:
    long = [{"question": "Why?", "answers": ["So. " * 400, "So."]}]
    told = ask(chat, question(ledger, history=long))
    [failed] = [one for one in told if one["event"] == "failed"]
    assert failed["side"] == 0
    assert "exceed" in failed["text"]
    assert said(told).keys() == {1}
    assert told[-1]["event"] == "done"


def test_while_a_run_lives_here_the_chat_says_so(chat: TestClient, workspace: Path, ledger: RunLedger) -> None:
    before = ledger.digest()
    with held(workspace):
        assert "in use by another-1" in chat.get("/chat").text
        reply = chat.post("/chat/ask", json=question(ledger))
        assert reply.status_code == 409
        assert "in use by another-1" in reply.text
        assert reply.text.count("\n") == 1
    assert ledger.digest() == before


def test_what_is_no_question_is_refused(chat: TestClient, ledger: RunLedger) -> None:
    right = question(ledger)
    for wrong in ({}, {**right, "question": ""}, {**right, "adapters": [BASE]}, {**right, "more": 1}):
        reply = chat.post("/chat/ask", json=wrong)
        assert reply.status_code == 400
        assert reply.text.count("\n") == 1
    assert chat.post("/chat/ask", json={**right, "run": "nowhere"}).status_code == 404
    assert chat.post("/chat/ask", json={**right, "adapters": [BASE, "adapter-none"]}).status_code == 404
    body = json.dumps(right)
    assert chat.post("/chat/ask", content=body, headers={"content-type": "text/plain"}).status_code == 415
    large = body[:-1] + " " * 1_000_001 + "}"
    assert chat.post("/chat/ask", content=large, headers={"content-type": "application/json"}).status_code == 413
    foreign = chat.post("/chat/ask", json=right, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert not ledger.find(Call, round=0)


def test_the_script_writes_text_only() -> None:
    script = (STATIC / "chat.js").read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"):
        assert way not in script


async def hear(talk: Talk, asked: dict[str, Any]) -> list[Told]:
    return [told async for told in talk.ask(Question.model_validate(asked))]


async def test_the_model_is_let_go_soon_after(workspace: Path, ledger: RunLedger) -> None:
    talk = Talk(workspace, idle=0.2)
    try:
        told = await hear(talk, question(ledger))
        assert told[-1].event == "done"
        assert free(workspace)
        # The same thread answers again.
        assert (await hear(talk, question(ledger)))[-1].event == "done"
    finally:
        talk.close()
    assert free(workspace, 0.1)


async def test_an_answer_has_a_time_limit_and_can_be_stopped(workspace: Path, ledger: RunLedger) -> None:
    talk = Talk(workspace, limit=0.001)
    try:
        assert (await hear(talk, question(ledger)))[-1].text == "no answer within 0.001 s"
    finally:
        talk.close()
    talk = Talk(workspace)
    try:
        heard = talk.ask(Question.model_validate(question(ledger)))
        async for told in heard:
            if told.event == "begun":
                break
        await heard.aclose()
        waited = await hear(talk, question(ledger, "Is 9 odd?"))
        assert [told.event for told in waited if told.event in ("answered", "done")] == ["answered"] * 2 + ["done"]
    finally:
        talk.close()
    assert free(workspace, 0.1)


async def test_what_cannot_be_loaded_is_one_line(workspace: Path, ledger: RunLedger) -> None:
    broken = {**ledger.info.settings, "model": {**ledger.info.settings["model"], "name": str(workspace / "none")}}
    ledger.update(settings=broken)
    talk = Talk(workspace)
    try:
        told = await hear(talk, question(ledger))
        assert [one.event for one in told] == ["loading", "failed"]
        assert str(workspace / "none") in told[-1].text
        assert "\n" not in told[-1].text
    finally:
        talk.close()
    assert free(workspace, 0.1)
