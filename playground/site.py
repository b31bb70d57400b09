"""The workspace as the pages read it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request

from quintet.graph.report import state
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.errors import NotFoundError
from quintet.records import Record

T = TypeVar("T")


class Site:
    """What the pages stand on. The ledger is opened when first asked for: a workspace may be empty at the start."""

    def __init__(self, path: Path, *, chat: bool = False) -> None:
        """Nothing is opened yet.

        Args:
            path: The workspace's folder.
            chat: Whether the chat page is offered.
        """
        self.path, self.chat = path, chat
        self._ledger: Ledger | None = None
        self._kept: dict[str, Any] = {}
        self._opening = threading.Lock()

    @classmethod
    def of(cls, request: Request) -> Site:
        """The site that a request is for."""
        site: Site = request.app.state.site
        return site

    @property
    def empty(self) -> bool:
        """Whether no run was ever begun here."""
        try:
            return not self.ledger().runs()
        except NotFoundError:
            return True

    def workspace(self) -> Workspace:
        """The workspace.

        Raises:
            NotFoundError: No run was ever begun there.
        """
        try:
            return Workspace.existing(self.path)
        except LedgerError as error:
            if error.fault:
                raise
            raise NotFoundError(str(error)) from error

    def ledger(self) -> Ledger:
        """The ledger of the workspace; the same object for all requests.

        Raises:
            NotFoundError: No run was ever begun there.
            LedgerError: It cannot be opened, is damaged, or is no ledger.
        """
        with self._opening:
            if self._ledger is None:
                self._ledger = self.workspace().ledger()
            return self._ledger

    def run(self, name: str) -> RunLedger:
        """A run by name.

        Raises:
            NotFoundError: There is no such run; the message names the nearest.
        """
        ledger = self.ledger()
        if name not in {info.run for info in ledger.runs()}:
            try:
                ledger.run(name)
            except LedgerError as error:
                raise NotFoundError(str(error)) from error
        return RunLedger(ledger, name)

    def of_run(self, ledger: RunLedger, tab: str = "") -> dict[str, Any]:
        """What every page of a run shows around itself: the run, its status, its tabs, and where live news begins."""
        info = ledger.info
        return {"info": info, "status": state(info, self.workspace()), "tab": tab, "newest": ledger.newest()}

    def record(self, ledger: RunLedger, id: str) -> Record:
        """A record of a run.

        Raises:
            NotFoundError: The run holds no such record.
        """
        if (record := ledger.get(id)) is None:
            raise NotFoundError(f"run {ledger.run!r} holds no record with the id {id!r}")
        return record

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What is made once, when first asked for, and kept as long as the server runs; what can be closed is, then."""
        with self._opening:
            if name not in self._kept:
                self._kept[name] = make()
            found: T = self._kept[name]
            return found

    def close(self) -> None:
        """Let go of the ledger, and of what was kept."""
        with self._opening:
            kept, self._kept = self._kept, {}
        for one in kept.values():
            if hasattr(one, "close"):
                one.close()
        with self._opening:
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None
