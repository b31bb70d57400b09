"""The parent's end of the examiner's worker: starts it when needed, kills it when it takes too long."""

from __future__ import annotations

import base64
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from quintet.tasks.errors import TaskError
from quintet.tasks.family import TaskFamily

_INSIDE = "QUINTET_TASK_WORKER"
_START = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.stdin.buffer.readline())\n"
    "from quintet.tasks.worker import main\n"
    "main()\n"
)


class WorkerGone(Exception):  # noqa: N818 - says what happened
    """The worker ended during a request, by itself or because it was out of time."""

    def __init__(self, message: str, timed_out: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class Worker:
    """One process that serves requests, one at a time; it is started at the first and again after a death.

    It is a plain subprocess rather than a `multiprocessing` one: its hash seed is fixed (some generators walk
    sets), the user's main script is not run again in it, and each text of a batch has its own time limit.
    Always call it from the same thread: on Linux the process dies with the thread that started it.
    """

    def __init__(self, families: Sequence[TaskFamily], start_seconds: float, memory_mb: int) -> None:
        self._families = tuple(families)
        self._start_seconds = start_seconds
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    @property
    def pid(self) -> int | None:
        """The process's id, if it runs."""
        return self._process.pid if self._process else None

    def call(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The reply to a request.

        Args:
            request: JSON; see `quintet.tasks.worker.answer`.
            seconds: Limit on the time it may take, the start of a process not counted.

        Raises:
            WorkerGone: The process ended or had to be killed; the next call starts a new one.
            TaskError: No process could be started.
        """
        if self._process is None:
            self._start()
        return self._exchange(request, seconds)

    def kill(self) -> None:
        """Have the process end, from whatever thread; a call under way then finds it gone."""
        if process := self._process:
            process.kill()

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _start(self) -> None:
        if os.environ.get(_INSIDE):
            raise TaskError(
                "the script that defines a task family starts Quintet when it is imported: "
                'put the family in a module of its own, or the start under `if __name__ == "__main__":`'
            )
        first = {
            "parent": os.getpid(),
            "families": self._pickled(),
            "main": self._main(),
            "memory_mb": self._memory_mb,
        }
        limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and text
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **limits, "PYTHONHASHSEED": "0", _INSIDE: "1"},
        )
        self._replies = queue.SimpleQueue()
        threading.Thread(
            target=_listen,
            args=(self._process.stdout, self._replies),
            name="quintet-tasks-replies",
            daemon=True,
        ).start()
        try:
            self._write([path for path in sys.path if isinstance(path, str)])
            reply = self._exchange(first, self._start_seconds)
        except WorkerGone as gone:
            advice = "; raise start_seconds under [tasks]" if gone.timed_out else ""
            raise TaskError(f"the task worker did not start: {gone}{advice}", fault=True) from gone
        if "refused" in reply:
            self.stop()
            raise TaskError(reply["refused"])
        if "error" in reply:
            self.stop()
            raise TaskError(
                f"a task family cannot be used in the worker process ({reply['error']}): "
                "define its class at the top of an importable module"
            )

    def _pickled(self) -> str:
        for family in self._families:
            try:
                pickle.dumps(family)
            except Exception as error:
                raise TaskError(
                    f"task family {family.name!r} cannot be sent to the worker process ({error}): "
                    "define its class at the top of a module and keep only plain values in it"
                ) from error
        return base64.b64encode(pickle.dumps(self._families)).decode()

    def _main(self) -> dict[str, Any] | None:
        """What the worker needs to find families that the main script defines; `None` if there are none."""
        if not any(type(family).__module__ == "__main__" for family in self._families):
            return None
        from multiprocessing import spawn

        wanted = ("init_main_from_name", "init_main_from_path")
        return {key: found for key, found in spawn.get_preparation_data("tasks").items() if key in wanted}

    def _exchange(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            self._write(request)
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise WorkerGone(f"took longer than {seconds:g} s", timed_out=True) from None
        except OSError:
            line = b""
        if not line:
            raise WorkerGone(f"ended its process ({self._status()})", timed_out=False)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _status(self) -> str:
        process = self._process
        code: int | None = None
        if process is not None:
            try:
                code = process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                code = None
        self.stop()
        return "pipe closed" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"

    def _write(self, message: Any) -> None:
        if self._process is None or self._process.stdin is None:
            raise OSError("no process")
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


def _listen(pipe: IO[bytes], replies: queue.SimpleQueue[bytes]) -> None:
    """Pass on each line, then an empty one at the end."""
    # The pipe may be closed under the reader when the process is stopped.
    with suppress(OSError, ValueError):
        for line in pipe:
            replies.put(line)
    replies.put(b"")
