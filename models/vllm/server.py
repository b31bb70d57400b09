"""A vLLM server as a process of ours: started, watched, ended; or one of somebody else's, which is only asked."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from quintet.models.catalogue import ModelFiles
from quintet.models.errors import ModelError, ServerError
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.vllm import guard
from quintet.models.vllm.client import Client
from quintet.models.vllm.interpreter import environment, interpreter
from quintet.records import BASE

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM can be started for."""

_POLL_SECONDS = 0.5
_END_SECONDS = guard.GRACE_SECONDS + 5
_TAIL_BYTES = 20_000


class Server(Protocol):
    """What the engine needs of a server."""

    client: Client
    sleeps: bool
    """Whether it can sleep while an adapter is trained."""
    starts: int
    """How often it was started here. A new one knows no adapters."""

    def up(self, stopped: Callable[[], bool]) -> None:
        """Wait until it answers; start it if it is ours and does not run, or does not answer any more.

        Raises:
            ServerError: It does not come up.
        """

    def gone(self) -> str:
        """Why it is gone, where that can be seen from outside; else nothing."""

    def drop(self) -> None:
        """It is lost: end what is left of it."""

    def close(self) -> None:
        """It is needed no more. Called from any thread."""


class Elsewhere:
    """A server that somebody else runs."""

    sleeps = False
    starts = 0

    def __init__(self, settings: VllmSettings) -> None:
        """Nothing is asked yet.

        Raises:
            ModelError: The variable that is to hold the key is not set.
        """
        key = os.environ.get(settings.key_env, "")
        if settings.key_env and not key:
            raise ModelError(
                f"environment variable {settings.key_env} (vllm.key_env) is not set; it is to hold the key"
            )
        self.client = Client(settings.url, key)
        self._seconds = settings.start_seconds

    def up(self, stopped: Callable[[], bool]) -> None:
        """Wait until it answers.

        Raises:
            ServerError: It does not.
        """
        until = time.monotonic() + self._seconds
        while not self.client.healthy():
            if stopped():
                return
            if time.monotonic() > until:
                raise ServerError(f"vLLM at {self.client.url} (vllm.url) gave no answer for {self._seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def gone(self) -> str:
        """Nothing: it is seen only by what it answers."""
        return ""

    def drop(self) -> None:
        """Nothing: it is not ours."""

    def close(self) -> None:
        """Nothing: it is not ours."""


class Started:
    """A server on this machine's loopback, which ends with this process."""

    def __init__(
        self, files: ModelFiles, model: ModelSettings, settings: VllmSettings, rank: int, gpu: bool, log: Path
    ) -> None:
        """Start it, without waiting for it.

        Args:
            files: The base model.
            model: Type of its weights.
            settings: Interpreter, options, time limits.
            rank: Largest rank of an adapter.
            gpu: Whether it runs on a GPU of this machine.
            log: What it says goes into this file.

        Raises:
            ModelError: There is no vLLM.
        """
        self._python, self._settings, self._log = interpreter(settings), settings, log
        self.sleeps = settings.sleep and gpu
        # Others on this machine can reach the port.
        self._key = secrets.token_hex(16)
        self._answered = False
        """Whether the present one ever did."""
        self._closed = False
        self._changing = threading.Lock()
        options: dict[str, bool | int | float | str] = {
            "model": str(files.path),
            "served-model-name": BASE,
            "dtype": model.dtype,
            "host": "127.0.0.1",
            "enable-lora": True,
            "max-loras": settings.adapters,
            "max-lora-rank": next((one for one in RANKS if one >= rank), RANKS[-1]),
            "max-num-seqs": settings.parallel,
            # As the in-process engine holds replies to a schema.
            "structured-outputs-config": json.dumps({"backend": "guidance", "disable_any_whitespace": True}),
            **({"enable-sleep-mode": True} if self.sleeps else {}),
        }
        self._options = options | dict(settings.options)
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Client("")
        self.starts = 0
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        self._start()

    def up(self, stopped: Callable[[], bool]) -> None:
        """Wait until it answers; start it if it does not run, or does not answer any more.

        Raises:
            ServerError: It ends at once, or does not answer in time.
        """
        if self._answered and not self._answers(self._settings.stall_seconds, stopped):
            self.drop()
        self._start()
        seconds = self._settings.start_seconds
        if self._answers(seconds, stopped):
            self._answered = True
            return
        why = f"did not answer within {seconds:g} s (vllm.start_seconds)"
        if self.gone():
            why = f"did not start: {self._last()}"
        self.drop()
        raise ServerError(f"vLLM {why}; all it said is in {self._log}")

    def _answers(self, seconds: float, stopped: Callable[[], bool]) -> bool:
        """Wait until it answers, or nobody wants it any more; False if it ends, or takes longer than that."""
        until = time.monotonic() + seconds
        while not self._closed and not stopped() and not self.client.healthy():
            if self.gone() or time.monotonic() > until:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def gone(self) -> str:
        """Why it is gone; nothing while its process lives."""
        process = self._process
        if process is None or process.poll() is not None:
            return f"vLLM's process ended: {self._last()}"
        return ""

    def drop(self) -> None:
        """End it at once, with all its processes."""
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            _kill(process)

    def close(self) -> None:
        """Let it end in order, and end it if it does not."""
        with self._changing:
            self._closed = True
            process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)

    def _start(self) -> None:
        with self._changing:
            if self._process is None and not self._closed:
                self._process = self._begun()

    def _begun(self) -> subprocess.Popen[bytes]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.client, self._answered = Client(f"http://127.0.0.1:{port}", self._key), False
        self.starts += 1
        # The `vllm` script looks for a package of this name, which its builds for CPUs do not have.
        serve = [self._python, "-m", "vllm.entrypoints.openai.api_server", *self._arguments(), f"--port={port}"]
        with self._log.open("ab") as log:
            log.write(f"$ {' '.join(serve)}\n".encode())
            log.flush()
            return subprocess.Popen(  # noqa: S603
                [self._python, guard.__file__, *serve],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _arguments(self) -> list[str]:
        given = {name.replace("_", "-"): value for name, value in self._options.items()}
        return [
            f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items() if value is not False
        ]

    def _environment(self) -> dict[str, str]:
        own = {
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_API_KEY": self._key,
            "PYTHONUNBUFFERED": "1",
            # Sleeping is among what vLLM offers to developers.
            **({"VLLM_SERVER_DEV_MODE": "1"} if self.sleeps else {}),
        }
        return {"VLLM_CPU_KVCACHE_SPACE": "1"} | environment(self._python) | own | self._settings.environment

    def _last(self) -> str:
        """What it said last that sounds like a reason."""
        with self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return _reason(lines)[:300]


def _reason(lines: Sequence[str]) -> str:
    """The last line that names an error, or the last line."""
    for line in reversed(lines):
        said = line.split(") ", 1)[-1] if line.startswith("(") else line
        kind, colon, _ = said.partition(":")
        if colon and kind.rpartition(".")[2].endswith(("Error", "Exception")):
            return said
    return lines[-1] if lines else "it said nothing"


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The group is that of its guard and outlives it: its processes may be many.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    process.wait()
