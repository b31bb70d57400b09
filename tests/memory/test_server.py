"""Memory on a Chroma server: the same recall, no workspace mixed with another, and one clear line when it is away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from remembered import learnt, make_task, proposed
from served import Served

from quintet.memory import chroma
from quintet.memory.embedder import Embedder
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.index import Index
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.memory import Memory
from quintet.memory.settings import MemorySettings
from quintet.memory.workspace import Workspace
from quintet.records import Lesson, Task

TASKS = [make_task(f"What is {n} + {n * n}?") for n in range(30)]
ASKED = ["What is 12 + 30?", "What is 3 + 9?"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "chroma.log")
    served.start(tmp_path / "served")
    yield served
    served.kill()


@pytest.fixture
def serving(server: Served, embedder: Embedder) -> Iterator[Callable[[RunLedger, Workspace], Memory]]:
    """Makes memories whose index is on the server."""
    opened: list[Memory] = []
    settings = MemorySettings(max_distance=2.0, index=server.url)

    def make(run: RunLedger, workspace: Workspace) -> Memory:
        opened.append(Memory(run, Index(workspace.chroma, settings, embedder), settings))
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()


Serving = Callable[[RunLedger, Workspace], Memory]


def fill(run: RunLedger) -> None:
    run.add(*(record for n, task in enumerate(TASKS) for record in [*proposed(task, n % 4), *learnt(task, n % 4)]))


async def recalled(memory: Memory) -> list[tuple[str, float]]:
    found = await memory.recall_many(ASKED, Task, before=9, count=4)
    return [(task.id, distance) for some in found for task, distance in some]


async def test_a_server_recalls_what_a_folder_does(
    run: RunLedger, workspace: Workspace, serving: Serving, remembering: Callable[..., Memory]
):
    fill(run)
    folder, served = remembering(run, MemorySettings(max_distance=2.0)), serving(run, workspace)
    assert await recalled(served) == await recalled(folder)
    assert await served.novelty(ASKED, before=3) == await folder.novelty(ASKED, before=3)
    assert [lesson for lesson, _ in await served.recall("carry", Lesson, before=2, since=1, count=50)]
    assert await served.sync() == 0
    assert await serving(run, workspace).sync() == 0
    assert await served.rebuild() == 90
    assert await recalled(served) == await recalled(folder)


async def test_workspaces_on_one_server_do_not_mix_even_if_one_is_a_copy(
    run: RunLedger, workspace: Workspace, serving: Serving, tmp_path: Path
):
    fill(run)
    mine = serving(run, workspace)
    before = await recalled(mine)
    shutil.copytree(workspace.path, tmp_path / "copy")
    for other in (Workspace(tmp_path / "other"), Workspace(tmp_path / "copy")):
        with other.ledger() as ledgers:
            same_name = ledgers.run("first") if ledgers.runs() else ledgers.begin("first", 0, {})
            same_name.add(*proposed(make_task("Which animal says meow?"), 0))
            theirs = serving(same_name, other)
            found = {task.question for task, _ in await theirs.recall("animals", Task, before=9, count=50)}
            assert "Which animal says meow?" in found
            assert (len(found) == 1) == (other.path.name == "other")
            await theirs.rebuild()
    assert await recalled(mine) == before
    assert sum(map(len, mine.index.ids("first").values())) == 90
    assert await mine.sync() == 0


async def test_a_server_that_dies_is_one_line_and_no_damage(
    run: RunLedger, workspace: Workspace, serving: Serving, server: Served, tmp_path: Path
):
    fill(run)
    memory = serving(run, workspace)
    before = await recalled(memory)
    server.kill()
    run.add(*proposed(make_task("Which animal says meow?"), 3))
    for attempt in (recalled, Memory.sync, Memory.rebuild):
        with pytest.raises(LedgerError, match=f"no Chroma server answers at {server.url}") as raised:
            await attempt(memory)
        assert f"chroma run --path FOLDER --host 127.0.0.1 --port {server.port}" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.fault
        assert not isinstance(raised.value, IndexDamaged)
    server.start(tmp_path / "served")
    # What could not be indexed meanwhile is not forgotten.
    assert "Which animal says meow?" in {t.question for t, _ in await memory.recall("animals", Task, before=9, count=1)}
    assert [found for found in await recalled(memory) if found in before] == before


async def test_a_server_with_an_empty_folder_is_noticed_and_filled(
    run: RunLedger, workspace: Workspace, serving: Serving, server: Served, tmp_path: Path
):
    fill(run)
    memory = serving(run, workspace)
    before = await recalled(memory)
    server.kill()
    server.start(tmp_path / "another")
    assert await recalled(memory) == before
    assert await memory.sync() == 0


async def test_a_stalled_server_does_not_hang(
    run: RunLedger, workspace: Workspace, serving: Serving, server: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chroma, "ANSWER_SECONDS", 1.0)
    fill(run)
    memory = serving(run, workspace)
    before = await recalled(memory)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(LedgerError, match="ReadTimeout"):
            await recalled(memory)
        with pytest.raises(LedgerError, match="ReadTimeout"):
            await serving(run, workspace).sync()
        assert time.monotonic() - begun < 20
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert await recalled(memory) == before


@pytest.mark.parametrize("failures", [1, 10_000])
async def test_a_server_that_fails_is_asked_again_and_never_emptied(
    failures: int,
    run: RunLedger,
    ledger: Ledger,
    workspace: Workspace,
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
):
    from chromadb.api.fastapi import FastAPI
    from chromadb.errors import InternalError

    fill(run)
    other = ledger.begin("other", 0, {})
    other.add(*proposed(TASKS[0], 0))
    memory, beside = serving(run, workspace), serving(other, workspace)
    before = await recalled(memory)
    assert await beside.sync() == 1
    asked, left, deleted = FastAPI._make_request, [failures], []

    def failing(self: FastAPI, method: str, path: str, **kwargs: object) -> object:
        deleted.extend([path] * (method == "delete"))
        # What reads and writes vectors fails, what deletes does not.
        if path.endswith(("/query", "/upsert", "/get")) and left[0]:
            left[0] -= 1
            raise InternalError("sick")
        return asked(self, method, path, **kwargs)

    monkeypatch.setattr(FastAPI, "_make_request", failing)
    monkeypatch.setattr("quintet.memory.memory.PAUSE", 0.01)
    if failures == 1:
        assert await recalled(memory) == before
        assert not deleted
        return
    for attempt in (recalled, Memory.sync, Memory.rebuild):
        with pytest.raises(LedgerError, match="fails again and again") as raised:
            await attempt(memory)
        assert not isinstance(raised.value, IndexDamaged)
        assert "\n" not in str(raised.value)
        if attempt is not Memory.rebuild:
            monkeypatch.undo()
            assert len(beside.index.ids("other")["task"]) == 1
            monkeypatch.setattr(FastAPI, "_make_request", failing)
            monkeypatch.setattr("quintet.memory.memory.PAUSE", 0.01)
    left[0] = 0
    assert await recalled(memory) == before


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "lets nobody in without a token: set QUINTET_CHROMA_TOKEN"),
        (404, "is no Chroma server"),
        (503, "no Chroma server answers"),
    ],
)
async def test_what_else_may_answer(
    status: int, line: str, run: RunLedger, workspace: Workspace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QUINTET_CHROMA_TOKEN", "secret")
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(f"HTTP/1.1 {status} no\r\nContent-Length: 5\r\n\r\n<no/>".encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        settings = MemorySettings(index=f"http://127.0.0.1:{listening.getsockname()[1]}")
        memory = Memory(run, Index(workspace.chroma, settings, embedder), settings)
        run.add(*proposed(TASKS[0], 0))
        with pytest.raises(LedgerError, match=line) as raised:
            await memory.sync()
        thread.join(10)
        memory.close()
    assert "secret" not in str(raised.value)
    assert b"authorization: bearer secret" in heard[0].lower()


def test_an_address_is_checked_when_it_is_set():
    assert MemorySettings(index="https://chroma.example:8000/").index == "https://chroma.example:8000"
    for wrong in ("localhost:8000", "ftp://a:1", "http://", "http://a:99999", "http://a:1/path", "http://u:p@a:1"):
        with pytest.raises(ValidationError):
            MemorySettings(index=wrong)


def test_a_workspace_keeps_its_identity(workspace: Workspace):
    first = chroma.Server(workspace.chroma, "http://127.0.0.1:1").prefix
    assert first == chroma.Server(workspace.chroma, "http://127.0.0.1:2").prefix
    assert [file.name for file in workspace.path.glob("chroma.id*")] == ["chroma.id"]
    assert os.stat(workspace.path / "chroma.id").st_size > 30
