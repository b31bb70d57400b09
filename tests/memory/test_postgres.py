"""The ledger on a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from remembered import make_call, make_task, proposed

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Ledger
from quintet.memory.lineage import lineage
from quintet.records import Call, Task

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'quintet[postgres]')")
    bin_ = BINARIES[-1].parent
    # A socket's path must be short; the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = str(folder / "data")

    def do(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    do(str(bin_ / "initdb"), "-D", data, "-U", "quintet", "-A", "trust", "--no-sync", "--locale", "C.UTF-8")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    do(str(bin_ / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        do(str(bin_ / "createdb"), "-h", str(folder), "-U", "quintet", "ledger")
        yield f"postgresql+psycopg://quintet@/ledger?host={folder}"
    finally:
        do(str(bin_ / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_the_same_ledger_as_in_sqlite(url: str, tmp_path: Path):
    tasks = [make_task(f"What is {n} + {n}?") for n in range(200)]
    records = [record for n, task in enumerate(tasks) for record in proposed(task, n % 5)]
    with Ledger.open(url) as postgres, Ledger.open(tmp_path / "ledger.db") as sqlite:
        digests = []
        for ledger in (postgres, sqlite):
            run = ledger.begin("one", 0, {"a": 1})
            assert run.add(*records) == 400
            assert run.add(*records[:10], make_call("a"), seconds=1.5) == 1
            assert run.add(make_call("a")) == 0
            assert run.find(Task) == tasks
            assert run.lookup("a") == make_call("a")
            assert run.children(tasks[3].id) == [records[7].id]
            assert run.seconds(Call) == 1.5
            assert run.role_tokens() == {1: {"solver": 8}}
            assert ledger.holder(tasks[5].id[:14]).run == "one"
            assert len(lineage(run, tasks[5].id).descendants) == 1
            run.update(status="done", seconds=2.5, peak_rss_mb=1.25)
            assert (run.info.status, run.info.seconds, run.info.peak_rss_mb) == ("done", 2.5, 1.25)
            with pytest.raises(LedgerError, match="'one' exists"):
                ledger.begin("one", 0, {})
            digests.append(run.digest())
        assert digests[0] == digests[1]
    with Ledger.open(url) as again:
        assert [info.run for info in again.runs()] == ["one"]


def test_events_are_append_only_there_too(url: str):
    with Ledger.open(url) as ledger:
        run = ledger.begin("kept", 0, {})
        run.add(*proposed(make_task("1?"), 0))
        before = run.digest()
        for statement in ("UPDATE events SET body=''", "DELETE FROM events", "TRUNCATE events", "DELETE FROM links"):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger.engine.begin() as connection:
                connection.execute(sa.text(statement))
        assert run.digest() == before


def test_what_postgres_cannot_hold_is_one_clear_line(url: str):
    with Ledger.open(url) as ledger:
        run = ledger.begin("odd", 0, {})
        odd = make_task("a zero \x00 byte")
        run.add(odd)
        assert run.get(odd.id) == odd


def test_a_server_that_is_away_is_one_clear_line(tmp_path: Path):
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'quintet[postgres]')")
    with pytest.raises(LedgerError, match="postgresql") as raised:
        Ledger.open(f"postgresql://quintet:secret@/ledger?host={tmp_path}")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
