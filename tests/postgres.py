"""A real PostgreSQL server for tests, without a port: it listens on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database, while the context lasts; where there is no server, the test is skipped."""
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
