"""Training from the outside: a process is started, listened to, and ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from quintet.models.threads import THREADS
from quintet.training.checkpoints import Checkpoints
from quintet.training.errors import RegistryError, TrainError
from quintet.training.registry import aside_of, checkpoints_of, read_adapter
from quintet.training.spec import TrainProgress, TrainResult, TrainSpec

_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
)
"""What the process inherits of the environment."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    **THREADS,
}
"""What is set for it: no network, nothing random, no needless waiting."""

_KEPT_PREFIXES = ("NCCL_", "GLOO_")
"""And all that begin so: how processes of a training talk to one another is the machine's own matter."""

_TAIL_LINES = 40
_LINE_BYTES = 2**20
_LAST_SECONDS = 5.0


async def train(spec: TrainSpec, progress: Callable[[TrainProgress], None] | None = None) -> TrainResult:
    """Make an adapter in a process of its own, which ends with this one, with its task, or out of time.

    An adapter that an earlier call completed is not made again.

    Args:
        spec: What to make.
        progress: Called after each optimiser step.

    Raises:
        TrainError: It cannot be made; nothing half-written is left at `spec.out`.
    """
    if spec.start is not None and not spec.start_weights:
        spec = spec.model_copy(update={"start_weights": read_adapter(spec.start).weights})
    if (done := _finished(spec)) is not None:
        return done
    try:
        spec.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="quintet-training-") as folder:
            file = Path(folder, "spec.json")
            file.write_text(spec.model_dump_json())
            return await _run(spec, file, progress)
    except OSError as error:
        raise TrainError(f"training cannot start: {error}", fault=True) from None
    finally:
        shutil.rmtree(aside_of(spec.out), ignore_errors=True)
        held = Checkpoints(checkpoints_of(spec.out), spec.digest())
        if held.newest() is None:
            # Nothing that a resumed training could go on from.
            held.clear()


def _finished(spec: TrainSpec) -> TrainResult | None:
    """The adapter of this very spec, if it is complete.

    Raises:
        TrainError: The folder holds a whole adapter, but another one.
    """
    try:
        manifest = read_adapter(spec.out)
    except RegistryError:
        return None
    if manifest.spec != spec.digest():
        raise TrainError(f"{spec.out} holds an adapter made otherwise: give the new one another folder")
    return TrainResult(
        folder=spec.out, weights=manifest.weights, metrics=manifest.metrics, probe=manifest.probe, reused=True
    )


async def _run(spec: TrainSpec, file: Path, progress: Callable[[TrainProgress], None] | None) -> TrainResult:
    module = "quintet.training.launch" if spec.settings.launch.wanted else "quintet.training.worker"
    command = [sys.executable, "-m", module, str(file), "--parent", str(os.getpid())]
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    environment = kept | ENVIRONMENT
    # An objective that a script brought along is found where the script found it.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    if process.stdout is None or process.stderr is None:
        raise TrainError("the training process has no output to listen to", fault=True)
    tail = asyncio.create_task(_tail(process.stderr))
    result: TrainResult | None = None
    reason = ""
    try:
        async with asyncio.timeout(spec.settings.max_seconds):
            async for line in process.stdout:
                message = json.loads(line)
                if "progress" in message and progress is not None:
                    progress(TrainProgress.model_validate(message["progress"]))
                elif "done" in message:
                    result = TrainResult.model_validate(message["done"])
                elif "log" in message:
                    logging.getLogger(__name__).info("%s", message["log"])
                elif "failed" in message:
                    # Of several processes, the others fail because one did.
                    reason = reason or message["failed"]
            status = await process.wait()
            last = await tail
    except TimeoutError:
        raise TrainError(
            f"training took more than max_seconds = {spec.settings.max_seconds:g} and was stopped", fault=True
        ) from None
    finally:
        await _end(process)
        tail.cancel()
    if reason:
        # It would come to the same again.
        shutil.rmtree(checkpoints_of(spec.out), ignore_errors=True)
    if result is None or status != 0:
        ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        raise TrainError(f"training failed: {reason or last or 'it gave no reason'} ({ending})", fault=True)
    return result


async def _tail(stream: asyncio.StreamReader) -> str:
    """The last line that says something, of all that a process writes to a stream."""
    kept: deque[bytes] = deque(maxlen=_TAIL_LINES)
    pending = b""
    while chunk := await stream.read(65536):
        *lines, pending = (pending + chunk)[-_LINE_BYTES:].split(b"\n")
        kept.extend(lines)
    said = [line.decode(errors="replace").strip() for line in (*kept, pending)]
    return next((line for line in reversed(said) if any(map(str.isalnum, line))), "")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the process and all it started, and wait until they are gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    if process.stdout is not None:
        # A launcher's workers die with it, in groups of their own; the last one leaves nobody to write.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await process.stdout.read()
