"""Runs a program in a process that is confined before its first line, and ends it at its limits."""

from __future__ import annotations

import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from quintet.records import Part
from quintet.tasks.errors import SandboxError
from quintet.tasks.sandbox import confine
from quintet.tasks.sandbox.scratch import scratch, too_full
from quintet.tasks.settings import SandboxSettings

START_SECONDS = 20.0
"""Longest that the interpreter may take to start and confine itself; it takes about 0.03 on an idle machine."""

_TICK = 0.05
"""Seconds between two looks at the scratch folder."""

_START = "import sys; sys.path.insert(0, sys.argv[1]); import confine; confine.main(sys.argv[1:])"

# Without -I, which would also ignore the hash seed: sets must have one order. The environment is ours alone.
_PYTHON = ("-s", "-S", "-P", "-B", "-X", "utf8", "-c", _START, str(Path(confine.__file__).parent))

_PROBE = f"""
import os, socket
for attempt in (lambda: open({confine.__file__!r}), lambda: socket.socket(), lambda: os.fork()):
    try:
        attempt()
    except PermissionError:
        continue
    raise SystemExit("it can open files, sockets or processes")
print("confined")
"""

Ended = Literal["done", "time", "memory", "output", "killed"]


class Ran(Part):
    """What came of a program."""

    output: str
    """What it printed, up to the limit."""
    errors: str
    """What it wrote to stderr, up to the limit; the traceback, if it raised."""
    code: int | None
    """Its exit code (0: it came to its end), negative for the signal that ended it; `None` if its limits did."""
    ended: Ended
    """Whether it ended by itself, or what ended it: too long, too much memory, too much written, or a signal."""
    seconds: float = Field(default=0.0, exclude=True)
    """How long it ran; two runs are equal whatever it is, and it enters no record."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ran) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash((self.output, self.errors, self.code, self.ended))


def unavailable() -> str:
    """Why no sandbox can be had here, and what would mend it; empty where one can be had.

    It is tried out with a small program, once a process.
    """
    try:
        return _lacking()
    except SandboxError as error:
        # What may pass, such as a lack of memory, is asked anew the next time.
        return str(error)


@cache
def _lacking() -> str:
    if sys.platform != "linux":
        return f"the sandbox needs Linux, this is {platform.system()}: run Quintet in a Linux virtual machine"
    from quintet.tasks.sandbox.syscalls import ARCHITECTURES

    if platform.machine() not in ARCHITECTURES or sys.maxsize < 2**32:
        known = " or ".join(ARCHITECTURES)
        return f"the sandbox needs a 64-bit Python on {known}, this is {platform.machine()}"
    if not sys.executable:
        return "the sandbox starts Python anew, and sys.executable is empty: run Quintet by the python command"
    try:
        confine.landlock()
    except OSError as error:
        return f"Linux offers no Landlock here ({error.strerror}): {_mend()}"
    ran = _run(_PROBE, SandboxSettings(), "")
    if ran.output != "confined\n":
        return f"the sandbox does not hold here ({' '.join(ran.errors.split())[-200:]}): use a newer kernel"
    return ""


def run(code: str, settings: SandboxSettings, stdin: str = "") -> Ran:
    """Run a Python program with nothing but the standard library, and wait for its end.

    Args:
        code: The program, run as `__main__`.
        settings: Its limits.
        stdin: What it can read from its standard input.

    Raises:
        SandboxError: No sandbox can be had here; the program was not run.
    """
    if why := unavailable():
        raise SandboxError(why)
    return _run(code, settings, stdin)


def _mend() -> str:
    release = platform.release().split("-")[0]
    if tuple(int(part) for part in release.split(".")[:2] if part.isdigit()) < (5, 13):
        return f"its kernel is {release}, 5.13 or newer is needed"
    return "add landlock to the kernel's lsm= parameter, or have the container's seccomp profile allow landlock_* calls"


def _run(code: str, settings: SandboxSettings, stdin: str) -> Ran:
    with scratch() as folder:
        (folder / confine.PROGRAM).write_bytes(code.encode("utf-8", "surrogatepass"))
        with _start(folder, settings, stdin) as process:
            try:
                return _watch(process, folder, settings)
            finally:
                process.kill()


def _start(folder: Path, settings: SandboxSettings, stdin: str) -> subprocess.Popen[bytes]:
    """The process, confined and at the program's first line."""
    from quintet.tasks.sandbox.syscalls import assemble

    status, said = os.pipe()
    limits = (settings.cpu_seconds, settings.memory_mb << 20, settings.file_mb << 20)
    arguments = (os.getpid(), said, *limits, assemble(platform.machine()).hex())
    try:
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode("utf-8", "surrogatepass"))
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and text
                [sys.executable, *_PYTHON, *map(str, arguments)],
                bufsize=0,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={"HOME": str(folder), "TMPDIR": str(folder), "TZ": "UTC", "PYTHONHASHSEED": "0"},
                pass_fds=(said,),
                start_new_session=True,
            )
    except OSError as error:
        os.close(status)
        raise SandboxError(f"the sandbox's process cannot be started: {error}", fault=True) from error
    finally:
        os.close(said)
    try:
        _await_ready(process, status)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    finally:
        os.close(status)
    return process


def _await_ready(process: subprocess.Popen[bytes], status: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(status, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            raise SandboxError(f"the sandbox did not start within {START_SECONDS:g} s", fault=True)
    said = os.read(status, 1000).decode(errors="replace")
    if said != "ready":
        why = said or (process.communicate()[1] or b"").decode(errors="replace").strip()[-200:] or "it ended"
        raise SandboxError(f"the sandbox cannot confine its process: {why}", fault=True)


def _watch(process: subprocess.Popen[bytes], folder: Path, settings: SandboxSettings) -> Ran:
    """Read what the program writes until it ends, or until a limit ends it."""
    started = time.monotonic()
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
    written = [bytearray() for _ in pipes]
    look = started + _TICK
    stopped: Ended | None = None
    with selectors.DefaultSelector() as selector:
        for pipe, text in zip(pipes, written, strict=True):
            selector.register(pipe, selectors.EVENT_READ, text)
        while stopped is None and (selector.get_map() or process.poll() is None):
            now = time.monotonic()
            if now - started >= settings.seconds:
                stopped = "time"
            elif now >= look:
                look = now + _TICK
                stopped = "output" if too_full(folder, settings.file_mb << 21) else None
            wait = max(0.0, min(started + settings.seconds, look) - now)
            if not selector.get_map():
                # It has closed its output and works on.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(wait)
            for key, _ in selector.select(wait) if selector.get_map() else ():
                chunk = os.read(key.fd, 65_536)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif len(key.data) > settings.output_bytes:
                    stopped = "output"
    if stopped:
        process.kill()
    code = process.wait()
    output, errors = (bytes(text[: settings.output_bytes]).decode(errors="replace") for text in written)
    ended = stopped or _ended(code, errors)
    limited = ended in ("time", "memory", "output")
    seconds = time.monotonic() - started
    return Ran(output=output, errors=errors, code=None if limited else code, ended=ended, seconds=seconds)


def _ended(code: int, errors: str) -> Ended:
    if code == -signal.SIGXCPU:
        return "time"
    if code < 0:
        return "killed"
    last = errors.rstrip().rpartition("\n")[2]
    return "memory" if code and last.startswith("MemoryError") else "done"
