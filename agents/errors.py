"""What can go wrong at the table."""

from __future__ import annotations


class AgentError(Exception):
    """A role cannot be seated or heard; the message says which and why."""
