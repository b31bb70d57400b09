"""What can go wrong in the playground."""

from __future__ import annotations

from quintet.errors import QuintetError


class PlaygroundError(QuintetError):
    """The playground cannot be served as asked; the message says what and where, in one line."""


class NotFoundError(PlaygroundError):
    """There is nothing under this address."""
