"""The graph that LangGraph's own server serves: begun by empty input, answered by a command, in a run of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from quintet.graph.errors import LoopError
from quintet.graph.report import overview
from quintet.graph.studio import Hosted, graph

ROOT = Path(__file__).parents[2]

TINY = """
name = "tiny"
rounds = {rounds}
approve = {approve}
join = ["{parity}:Parity"]
[model]
name = "{model}"
[proposer]
families = ["parity"]
tasks = 4
invented = 2
[solver]
samples = 3
max_tokens = 8
[critic]
max_tokens = 24
[curator]
longest = 64
[trainer]
least_rows = {least_rows}
[evaluation]
families = {{ parity = [0] }}
steer_items = 4
gate_items = 12
retention_items = 0
final_items = 12
alpha = 0.4
"""


def configured(
    folder: Path, model: Path, approve: bool = False, rounds: int = 1, least_rows: int = 1
) -> dict[str, str]:
    """Writes a config, and says the environment that names it."""
    parity = Path(__file__).parents[1] / "parity.py"
    values = {"rounds": rounds, "approve": str(approve).lower(), "least_rows": least_rows}
    text = TINY.format(parity=parity, model=model, **values)
    (folder / "tiny.toml").write_text(text)
    return {"QUINTET_CONFIG": str(folder / "tiny.toml"), "QUINTET_WORKSPACE": str(folder / "runs")}


def hosted(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Hosted:
    """The graph as the server holds it: a copy with a checkpointer."""
    for name, value in configured(folder, model, **changes).items():
        monkeypatch.setenv(name, value)
    return graph().copy({"checkpointer": InMemorySaver()})


def statuses(folder: Path) -> list[str]:
    """Of the runs, newest first."""
    return [run.status for run in overview(folder / "runs")]


async def test_empty_input_begins_a_run_and_each_further_one_another(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = hosted(tmp_path, tiny_model_folder, monkeypatch, rounds=2, least_rows=1000)
    thread: Any = {"configurable": {"thread_id": "one"}, "recursion_limit": 3}
    state = await served.ainvoke({"levels": None}, thread)
    assert state["round"] == 2
    await served.ainvoke({}, thread)
    runs = [run.run for run in overview(tmp_path / "runs")]
    assert [run.rpartition("-")[2] for run in runs] == ["2", "1"]
    assert len({run.rpartition("-")[0] for run in runs}) == 1
    assert statuses(tmp_path) == ["finished", "finished"]


@pytest.mark.slow
async def test_a_question_waits_and_its_answer_goes_on_with_the_same_run(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = hosted(tmp_path, tiny_model_folder, monkeypatch, approve=True)
    thread: Any = {"configurable": {"thread_id": "one"}}
    asked = await served.ainvoke({}, thread)
    assert asked["__interrupt__"][0].value["ask"] == "train"
    assert statuses(tmp_path) == ["waiting"]
    # The config may change meanwhile: the run goes on as it began.
    other = hosted(tmp_path, tiny_model_folder, monkeypatch, rounds=3).copy({"checkpointer": served.checkpointer})
    state = await other.ainvoke(Command(resume=True), thread)
    assert state["round"] == 1
    assert state["candidate"] or state["incumbent"] != "base"
    assert statuses(tmp_path) == ["finished"]
    with pytest.raises(LoopError, match=r"thread two has no run .*: begin one with the input \{\}"):
        await other.ainvoke(None, {"configurable": {"thread_id": "two"}})


def test_looking_at_the_graph_opens_nothing(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = hosted(tmp_path, tiny_model_folder, monkeypatch)
    drawn = served.get_graph().draw_mermaid()
    assert all(node in drawn for node in ("propose", "episodes", "curate", "train", "evaluate", "decide", "finish"))
    assert served.get_context_jsonschema() is None
    assert not (tmp_path / "runs").exists()


def test_langgraph_json_names_the_factory() -> None:
    module, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["quintet"]["path"].split(":")
    assert (module, name) == (graph.__module__, graph.__name__)


def sent(url: str, body: dict[str, Any] | None = None) -> Any:
    """What the server answers to a body that is posted, or to a mere question."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return json.load(answer)


def until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    for _ in range(240):
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            sent(f"{url}/ok")
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(log.read_text()[-4000:])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("langgraph_api") is None, reason="langgraph-cli[inmem] is not installed")
def test_langgraphs_server_runs_it_through_its_api(tiny_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").symlink_to(ROOT / "langgraph.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "1", "LANGSMITH_TRACING": "false"}
    command = ["langgraph_cli", "dev", "--no-browser", "--no-reload", "--allow-blocking", "--host", "127.0.0.1"]
    log, url = tmp_path / "server.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", port],
            stdout=out,
            stderr=out,
            cwd=tmp_path,
            env={**os.environ, **configured(tmp_path, tiny_model_folder, approve=True), **quiet},
        )
    try:
        until_up(url, server, log)
        assistant = sent(f"{url}/assistants/search", {})[0]["assistant_id"]
        drawn = sent(f"{url}/assistants/{assistant}/graph")
        assert "propose" in {node["id"] for node in drawn["nodes"]}
        thread = f"{url}/threads/" + sent(f"{url}/threads", {})["thread_id"]
        asked = sent(f"{thread}/runs/wait", {"assistant_id": "quintet", "input": {}})
        assert asked["__interrupt__"][0]["value"]["ask"] == "train", log.read_text()[-4000:]
        state = sent(f"{thread}/runs/wait", {"assistant_id": "quintet", "command": {"resume": True}})
        assert state["round"] == 1, log.read_text()[-4000:]
        assert sent(f"{thread}/state")["next"] == []
        assert statuses(tmp_path) == ["finished"]
    finally:
        server.terminate()
        server.wait(30)
