"""What can go wrong in composing, running and resuming."""

from __future__ import annotations

from quintet.errors import QuintetError


class SettingsError(QuintetError):
    """A setting is unknown or wrong; the message says which, where, and what would be right."""


class LoopError(QuintetError):
    """A run cannot be started or resumed; the message says why and what would help."""
