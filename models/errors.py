"""The one exception of the models room, so that callers can catch a model's failure at one boundary."""

from __future__ import annotations


class ModelError(Exception):
    """A model, adapter or request cannot be used; one line says what was found, where, and what would be right."""


class SpentError(ModelError):
    """The run's budget is spent: nothing more is generated, and the run stops, to be resumed with a larger one."""
