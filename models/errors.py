"""The exceptions of the models room, one family, so that callers can catch a model's failure at one boundary."""

from __future__ import annotations

from quintet.errors import QuintetError


class ModelError(QuintetError):
    """A model, adapter or request cannot be used; one line says what was found, where, and what would be right."""


class AdapterError(ModelError):
    """An adapter is damaged, or does not fit the model served; nobody but a training wrote it."""

    fault = True


class SpentError(ModelError):
    """The run's budget is spent: nothing more is generated, and the run stops, to be resumed with a larger one."""
