"""What the errors of all rooms have in common."""

from __future__ import annotations


class QuintetError(Exception):
    """Something cannot be done; the message says in one line what was found, where, and what would be right."""

    fault: bool = False
    """Whether something failed that is not the user's input: a model at its work, a process, a server, a disk, or a
    file that was damaged."""

    def __init__(self, message: str = "", *, fault: bool | None = None) -> None:
        super().__init__(message)
        if fault is not None:
            self.fault = fault
