"""The exceptions of the models room, one family, so that callers can catch a model's failure at one boundary."""

from __future__ import annotations

from quintet.errors import QuintetError


class ModelError(QuintetError):
    """A model, adapter or request cannot be used; one line says what was found, where, and what would be right."""


class AdapterError(ModelError):
    """An adapter is damaged, or does not fit the model served; nobody but a training wrote it."""

    fault = True


class StoppingError(ModelError):
    """Nothing more will come: no failed rollout among others, but the end of the run, which can be resumed."""


class SpentError(StoppingError):
    """The run's budget is spent: nothing more is generated, and the run stops, to be resumed with a larger one."""


class ServerError(StoppingError):
    """A model's server is gone for good, or serves something else than it was given; no reply can be relied on."""

    fault = True
