"""The one folder that a confined program may write to: made for it, watched, and deleted after."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from quintet.tasks.errors import SandboxError

MOST_FILES = 1000
"""Files that it may hold."""

_PREFIX = "quintet-sandbox-"
_STALE_SECONDS = 60.0


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder that only this user can enter, gone when the program is.

    Raises:
        SandboxError: None can be made.
    """
    try:
        _sweep(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise SandboxError(
            f"the sandbox needs a folder for temporary files, and none can be made ({error}): free space there, or set "
            "TMPDIR to another",
            fault=True,
        ) from error
    try:
        # The lock goes with this process, however it ends: who can take it knows that the folder is left over.
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def too_full(folder: Path, most_bytes: int) -> bool:
    """Whether the folder holds more bytes, or files, than it may; programs can make no folders in it."""
    held = 0
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            with contextlib.suppress(FileNotFoundError):
                held += entry.stat(follow_symlinks=False).st_blocks * 512
            if held > most_bytes or number >= MOST_FILES:
                return True
    return False


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@cache
def _sweep(place: str) -> None:
    """Delete, once a process, what processes that were killed have left."""
    for folder in Path(place).glob(f"{_PREFIX}*"):
        # Another user's, or one in use, or gone by now.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
