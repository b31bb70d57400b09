"""The workspace: the folder that a ledger, its index and its adapters share, and who is running in it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from quintet.memory.errors import LedgerError
from quintet.records import Part

if TYPE_CHECKING:
    from quintet.memory.ledger import Ledger

_GRACE = 0.5
"""Seconds a claim waits: a glance by `holder` locks the file for a moment too."""


class Holder(Part):
    """A run that lives in a workspace now."""

    run: str
    pid: int


class Workspace:
    """Paths of a workspace, and the lock that lets one run at a time live in it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.adapters.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise LedgerError(f"workspace {self.path} is a file: a folder is needed") from error
        except OSError as error:
            code = _name(error)
            raise LedgerError(f"workspace {self.path}: {error.strerror} ({code})", fault=True, code=code) from error

    @classmethod
    def existing(cls, path: str | Path) -> Self:
        """A workspace that is there already; reading one that is not should not create it.

        Raises:
            LedgerError: No run was ever begun there.
        """
        if not any((Path(path) / name).exists() for name in ("ledger.db", "ledger.url")):
            raise LedgerError(f"no runs in {path}: begin one with quintet run CONFIG")
        return cls(path)

    @property
    def database(self) -> Path:
        """The SQLite ledger."""
        return self.path / "ledger.db"

    @property
    def elsewhere(self) -> Path:
        """Holds the URL of a ledger that is no file of this workspace; for its owner's eyes: it may hold a password."""
        return self.path / "ledger.url"

    @property
    def checkpoints(self) -> Path:
        """The graph's checkpoints."""
        return self.path / "checkpoints.db"

    @property
    def chroma(self) -> Path:
        """The similarity index."""
        return self.path / "chroma"

    @property
    def adapters(self) -> Path:
        """The adapter registry."""
        return self.path / "adapters"

    @property
    def lock(self) -> Path:
        """The file whose lock says that a run lives here; what it holds says which."""
        return self.path / "run.lock"

    def ledger(self, database: str = "") -> Ledger:
        """The workspace's ledger, or the one at a database URL.

        Raises:
            LedgerError: It cannot be opened, is damaged, is no ledger, or has another schema version.
        """
        from quintet.memory.ledger import Ledger

        if not database and self.elsewhere.exists():
            database = self.elsewhere.read_text(encoding="utf-8").strip()
        elif database:
            # For whoever opens this workspace later and has not read the run's config.
            aside = self.elsewhere.with_suffix(".new")
            aside.touch(mode=0o600)
            aside.write_text(database, encoding="utf-8")
            os.replace(aside, self.elsewhere)
        return Ledger.open(database or self.database)

    @contextmanager
    def claim(self, run: str) -> Iterator[None]:
        """Hold the workspace for a run; the kernel lets go of it should the process die.

        Raises:
            LedgerError: Another run holds it; the message names the run and its pid.
        """
        try:
            file = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            code = _name(error)
            raise LedgerError(f"cannot lock {self.lock}: {error.strerror} ({code})", fault=True, code=code) from error
        try:
            until = time.monotonic() + _GRACE
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    other = _read(file)
                    who = f"run {other.run!r}, pid {other.pid}" if other else "another process"
                    raise LedgerError(f"workspace {self.path} in use by {who}: wait for it, or stop it")
                time.sleep(0.02)
            os.truncate(file, 0)
            os.pwrite(file, Holder(run=run, pid=os.getpid()).model_dump_json().encode(), 0)
            yield
        finally:
            os.close(file)

    def holder(self) -> Holder | None:
        """The run that lives here now, if one does."""
        try:
            file = os.open(self.lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            return None if _locked(file, fcntl.LOCK_SH) else _read(file)
        finally:
            os.close(file)


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(file, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _name(error: OSError) -> str:
    import errno

    return errno.errorcode.get(error.errno or 0, "")
