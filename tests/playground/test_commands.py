"""The playground from the command line: serving, stopping, and a page beside a run that costs the run nothing."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner
from tiny import tiny_settings

from quintet import Loop
from quintet.cli import main
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.serving import beside

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "quintet.cli", "playground"]

CONFIG = """
name = "tiny"
rounds = 1
join = ["{parity}:Parity"]
model = {{ name = "{model}" }}
proposer = {{ families = ["parity"], tasks = 2, invented = 0 }}
solver = {{ samples = 2, max_tokens = 4 }}
curator = {{ longest = 1000 }}
trainer = {{ least_rows = 1 }}

[evaluation]
families = {{ parity = [0] }}
steer_items = 2
gate_items = 8
retention_items = 0
final_items = 4
"""


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def asked(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as reply:  # noqa: S310
        return int(reply.status)


def test_it_serves_until_ctrl_c_which_is_a_normal_end(played: Path) -> None:
    with running("--port", "0", "--workspace", str(played)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert asked(next(word for word in line.split() if word.startswith("http://127.0.0.1:"))) == 200
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.strip() == ""


def test_the_address_is_one_json_document_once_it_listens(played: Path) -> None:
    with running("--port", "0", "--json", "--token", "a b", "--workspace", str(played)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        found = json.loads("".join(lines))
        base, _, query = found["address"].partition("?")
        assert query == "token=a%20b"
        request = urllib.request.Request(base, headers={"Authorization": "Bearer a b"})  # noqa: S310
        assert urllib.request.urlopen(request, timeout=20).status == 200  # noqa: S310
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == ""


def test_another_host_demands_a_token_and_a_port_is_taken_in_one_line(tmp_path: Path) -> None:
    other = CliRunner().invoke(main, ["playground", "--host", "0.0.0.0", "--workspace", str(tmp_path)])  # noqa: S104
    assert other.exit_code == 2
    assert "--token" in other.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(main, ["playground", "--port", port, "--workspace", str(tmp_path)])
    assert found.exit_code == 2
    [line] = [line for line in found.stderr.splitlines() if line]
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served; it ends at once, as after Ctrl-C."""
    found: list[Any] = []

    def run(self: uvicorn.Server, sockets: Any = None) -> None:
        found.append(self.config.app)
        for one in sockets:
            one.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return found


def test_the_token_may_come_from_the_environment(served: list[Any], tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main,
        ["playground", "--host", "0.0.0.0", "--port", "0", "--workspace", str(tmp_path)],  # noqa: S104
        env={"QUINTET_TOKEN": "s3cret"},
    )
    assert found.exit_code == 0, found.output
    assert "?token=s3cret" in found.stdout


def test_an_empty_workspace_is_served_and_warned_of(served: list[Any], tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["playground", "--port", "0", "--workspace", str(tmp_path / "none")])
    assert found.exit_code == 0
    assert "no runs in" in found.stderr
    assert served
    assert not (tmp_path / "none").exists()


def test_open_opens_the_browser(
    served: list[Any], played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, shown = threading.Event(), list[str]()
    monkeypatch.setattr(webbrowser, "open", lambda url: (shown.append(url), opened.set()))
    found = CliRunner().invoke(main, ["playground", "--port", "0", "--open", "--workspace", str(played)])
    assert opened.wait(10)
    assert shown[0] in found.stdout
    assert "no runs" not in found.stderr


def test_a_port_without_a_page_is_an_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["run", "examples/arithmetic.toml", "--port", "1", "--workspace", str(tmp_path)])
    assert found.exit_code == 2
    assert "--playground" in found.stderr
    assert not (tmp_path / "ledger.db").exists()


# --- beside a run -------------------------------------------------------------------------------------------------


def records(ledger: RunLedger) -> set[tuple[str, str]]:
    """All of a run, but for what the fixture added."""
    events = ledger.events(limit=1_000_000)
    return {(event.id, event.body) for event in events if "for the test" not in event.body}


@pytest.mark.slow
def test_a_run_that_is_watched_records_what_it_records_alone(
    tiny_model_folder: Path, played: Path, tmp_path: Path
) -> None:
    join = (f"{TESTS / 'parity.py'}:Parity", f"{TESTS.parent / 'examples' / 'skeptic.py'}:Skeptic")
    loop = Loop(tiny_settings(tiny_model_folder, join=join), workspace=tmp_path)
    ended, seen = threading.Event(), list[int]()

    def watch(url: str) -> None:
        while not ended.wait(0.2):
            run = f"runs/{loop.run_name}" if loop.run_name else ""
            try:
                seen.append(asked(url + run))
            except OSError:
                seen.append(0)

    with beside(tmp_path, 0) as url:
        thread = threading.Thread(target=watch, args=(url,))
        thread.start()
        for _ in loop.stream():
            pass
        ended.set()
        thread.join()
    assert seen.count(200) > 3
    with Workspace(tmp_path).ledger() as ours, Workspace(played).ledger() as theirs:
        assert records(ours.run()) == records(theirs.run())


def test_a_page_that_crashes_does_not_touch_what_it_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(self: uvicorn.Server, sockets: Any = None) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(uvicorn.Server, "run", crash)
    with beside(tmp_path, 0):
        time.sleep(0.1)
    assert "the playground has ended: RuntimeError: no more" in capsys.readouterr().err


def test_a_taken_port_gives_way_beside_a_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, beside(tmp_path, taken.getsockname()[1]) as url:
        assert f":{taken.getsockname()[1]}/" not in url
        assert asked(url) == 200


@pytest.fixture(scope="module")
def config(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "tiny.toml"
    file.write_text(CONFIG.format(parity=TESTS / "parity.py", model=tiny_model_folder))
    return file


@pytest.mark.slow
def test_a_script_gets_the_address_first_and_no_page_after(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "quintet.cli", "run", str(config), "--playground", "--port", "0", "--json"]
    done = subprocess.run(
        [*command, "--workspace", str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("playground: http://127.0.0.1:")
    assert "the page stays" not in done.stderr
    assert json.loads(done.stdout)["status"] == "finished"


@pytest.mark.slow
def test_at_a_terminal_the_page_stays_until_ctrl_c(config: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND[:-1], "run", str(config), "--playground", "--port", "0", "--workspace", str(tmp_path)],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
    )
    os.close(theirs)
    try:
        shown = _until(ours, "until Ctrl-C", 200)
        url = next(word for word in shown.split() if word.startswith("http://127.0.0.1:"))
        assert asked(url) == 200
        process.send_signal(signal.SIGINT)
        # A terminal that nobody reads would hold it up.
        _drain(ours)
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(ours)


def _until(terminal: int, text: str, seconds: float) -> str:
    shown, until = "", time.monotonic() + seconds
    while text not in shown:
        assert time.monotonic() < until, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def _drain(terminal: int) -> None:
    def read() -> None:
        try:
            while os.read(terminal, 65536):
                pass
        except OSError:
            pass

    threading.Thread(target=read, daemon=True).start()
