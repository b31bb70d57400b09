"""What can go wrong in the memory room."""

from __future__ import annotations


class LedgerError(Exception):
    """Ledger, workspace or index cannot do what was asked; the message is one line that says what and where."""

    def __init__(self, message: str, *, disk: bool = False, code: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.disk = disk
        """Whether the machine is at fault (disk full, I/O error, no permission), not the user's input."""
        self.code = code
        """The name of the error underneath, such as `SQLITE_FULL` or `ENOSPC`; empty if there is none."""


class IndexDamaged(LedgerError):  # noqa: N818 - a state that is mended, by rebuilding from the ledger
    """The Chroma index cannot be read; it can be rebuilt from the ledger."""
