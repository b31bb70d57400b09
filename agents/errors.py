"""What can go wrong at the table."""

from __future__ import annotations


class AgentError(Exception):
    """A role cannot be seated or heard; the message says which and why."""


class NoAnswerError(AgentError):
    """The chat model gave no answer; the failed call is on record."""
