"""What can go wrong in the memory room."""

from __future__ import annotations

from quintet.errors import QuintetError


class LedgerError(QuintetError):
    """Ledger, workspace or index cannot do what was asked; the message is one line that says what and where."""

    def __init__(self, message: str, *, fault: bool | None = None, code: str = "") -> None:
        super().__init__(" ".join(message.split()), fault=fault)
        self.code = code
        """The name of the error underneath, such as `SQLITE_FULL` or `ENOSPC`; empty if there is none."""


class IndexDamaged(LedgerError):  # noqa: N818 - a state that is mended, by rebuilding from the ledger
    """The Chroma index cannot be read; it can be rebuilt from the ledger."""

    fault = True
