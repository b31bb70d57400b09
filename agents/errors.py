"""What can go wrong at the table."""

from __future__ import annotations

from quintet.errors import QuintetError


class AgentError(QuintetError):
    """A role cannot be seated or heard; the message says which and why."""


class NoAnswerError(AgentError):
    """The chat model gave no answer; the failed call is on record."""

    fault = True
