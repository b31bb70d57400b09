"""The port for training objectives: how rows become examples, examples batches, and batches a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from quintet.plugins import plugin
from quintet.records import Row
from quintet.training.errors import TrainError
from quintet.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

GROUP = "quintet.objectives"

Batch = dict[str, "torch.Tensor"]
"""What is computed at once: tensors by name. Trainer moves them to the device."""


@dataclass(frozen=True)
class Segment:
    """One completion."""

    tokens: tuple[int, ...]
    """Token ids."""
    weight: float = 1.0
    """Weight of its loss."""
    extra: tuple[Any, ...] = ()
    """What else the objective needs to know of it, such as an advantage."""


@dataclass(frozen=True)
class Example:
    """A prompt and the completions that share it; they are never put into different steps."""

    prompt: tuple[int, ...]
    """Token ids of the rendered prompt."""
    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the rows that it was made of, each with a prompt of its own."""
        return sum(len(self.prompt) + len(segment.tokens) for segment in self.segments)


class Objective(ABC):
    """What is learnt from rows; the worker does the rest.

    A plugged-in objective is named by an entry point in the group `quintet.objectives`.
    """

    name: ClassVar[str]
    """The name by which settings choose it."""

    stops: frozenset[int] = frozenset()
    """Tokens at which the engine ends a reply; the worker sets them before it asks for examples."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    @abstractmethod
    def examples(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """Tokenised examples, one for each prompt, in an order that depends on nothing but the rows."""

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """The batches of one optimiser step, each within the budget of `batch_tokens`."""

    @abstractmethod
    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """The batch's share of its step's loss (a scalar): over the batches of a step they sum to the loss.

        Args:
            model: The causal language model with its adapter, as PEFT wraps it.
            batch: One of `collate`'s batches.
        """


def load_objective(settings: TrainingSettings) -> Objective:
    """The objective that the settings name.

    Raises:
        PluginError: There is none of that name.
        TrainError: It cannot be made.
    """
    point = plugin(GROUP, settings.objective, "objective")
    try:
        objective = point.found(settings, **settings.objective_options)
    except Exception as error:
        # Its constructor is the user's own code.
        raise TrainError(f"objective {settings.objective!r} ({point.source}) cannot be made: {error}") from error
    if not isinstance(objective, Objective):
        raise TrainError(f"objective {settings.objective!r} ({point.source}) is no Objective")
    return objective
