"""A real Chroma server on the loopback, started and ended by its process id."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

RUN = "import sys; from chromadb.cli.cli import app; sys.argv[0] = 'chroma'; app()"
"""What the script `chroma` does, which need not be on the path."""

SECONDS = 60


class Served:
    """`chroma run`, on a port that it keeps when it is started again."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        command = [sys.executable, "-c", RUN, "run", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--path", str(folder)], stdout=log, stderr=log)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, self._log.read_text()
                time.sleep(0.05)
        raise AssertionError(f"no Chroma server after {SECONDS} s: {self._log.read_text()}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
