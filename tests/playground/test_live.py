"""News of a run: every event once, in order, however often the connection breaks."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import httpx
from browsing import served
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Stage


def told(text: str) -> list[dict[str, str]]:
    """The messages of a stream, as fields."""
    blocks = [block.splitlines() for block in text.replace("\r\n", "\n").strip().split("\n\n")]
    return [dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in blocks]


def stream(client: TestClient, ledger: RunLedger, **headers: str) -> list[dict[str, str]]:
    return told(client.get(f"/runs/{ledger.run}/stream", headers=headers).text)


def test_a_finished_run_is_told_whole_and_ends(client: TestClient, ledger: RunLedger) -> None:
    messages = stream(client, ledger)
    events = ledger.events(limit=100_000)
    assert [int(message["id"]) for message in messages[:-1]] == [event.seq for event in events]
    first: dict[str, Any] = json.loads(messages[0]["data"])
    assert first["kind"] == events[0].kind
    assert first["preview"]
    assert messages[-1]["event"] == "end"
    assert messages[-1]["data"] == "finished"


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(client: TestClient, ledger: RunLedger) -> None:
    seqs = [str(event.seq) for event in ledger.events(limit=100_000)]
    for cut in (1, len(seqs) // 2, len(seqs)):
        after = stream(client, ledger, **{"Last-Event-ID": seqs[cut - 1]})
        assert [message["id"] for message in after[:-1]] == seqs[cut:]
    assert stream(client, ledger, **{"Last-Event-ID": "nonsense; drop"})[0]["id"] == seqs[0]


def test_a_running_run_is_told_as_it_goes_on(workspace: Path) -> None:
    place = Workspace(workspace)
    with place.ledger() as ledgers, place.claim("tiny-1"), served(workspace) as base:
        ledger = ledgers.run()
        ledger.update(status="running", pid=os.getpid())
        seen, added = list[str](), [Stage(round=9, name=f"stage {number}") for number in range(5)]
        after = f"{base}/runs/{ledger.run}/stream?after={ledger.newest()}"

        def read() -> None:
            with httpx.stream("GET", after, timeout=20) as reply:
                for line in reply.iter_lines():
                    if line.startswith("data: {"):
                        seen.append(json.loads(line[6:])["id"])
                    if len(seen) == len(added):
                        return

        reader = threading.Thread(target=read)
        reader.start()
        for record in added:
            ledger.add(record)
        reader.join(20)
        assert not reader.is_alive()
        assert seen == [record.id for record in added]
