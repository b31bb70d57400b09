"""What can go wrong in training, as one family of errors."""

from __future__ import annotations

from quintet.errors import QuintetError


class TrainError(QuintetError):
    """Training cannot be done; the message says in one line what was found, where, and what would be right."""


class RegistryError(TrainError):
    """An adapter is missing or damaged; the message names the file."""

    fault = True
