"""The port for training objectives: how rows become examples, examples batches, and batches a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from quintet.plugins import plugin
from quintet.records import Learnable
from quintet.training.errors import TrainError
from quintet.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

GROUP = "quintet.objectives"

LearnsFrom = Literal["right", "contrasts", "groups"]

Batch = dict[str, "torch.Tensor"]
"""What is computed at once: tensors by name. Trainer moves them to the device."""


@dataclass(frozen=True)
class Segment:
    """One completion."""

    tokens: tuple[int, ...]
    """Token ids."""
    weight: float = 1.0
    """Weight of its loss."""
    reward: float = 1.0
    """The verifier's score of it, or what else it earned, 0 to 1."""
    baseline: float | None = None
    """What the reward is measured against, where that is not the mean of its prompt's."""
    before: tuple[float, ...] = ()
    """Natural log-probability of each of its tokens where training began, where the objective asked for it."""
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


class Tally:
    """Running means, by name, of what is seen in training; they survive its interruption."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, name: str, values: torch.Tensor) -> None:
        """Enter these values."""
        total, count = self.sums.get(name, (0.0, 0))
        if values.numel():
            self.sums[name] = (total + float(values.detach().sum()), count + values.numel())

    def means(self) -> dict[str, float]:
        """The mean of each name's values."""
        return {name: total / count for name, (total, count) in self.sums.items()}


class Objective(ABC):
    """What is learnt from rows; the worker does the rest.

    A plugged-in objective is named by an entry point in the group `quintet.objectives`.
    """

    name: ClassVar[str]
    """The name by which settings choose it."""

    learns_from: ClassVar[LearnsFrom] = "right"
    """Which attempts the curator shall make rows of: those that are `right`; `contrasts`, which are right and wrong
    ones at the same task; or `groups`, which are all first attempts at a task that is sometimes right."""

    stops: frozenset[int] = frozenset()
    """Tokens at which the engine ends a reply; the worker sets them before it asks for examples."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.tally = Tally()
        """What is seen besides the loss, for the adapter's record."""

    @abstractmethod
    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """Tokenised examples, one for each prompt, in an order that depends on nothing but the rows."""

    def prepare(self, model: Any, examples: Sequence[Example]) -> list[Example]:
        """The examples with what is to be known of the model before it is trained, such as `likelihood.before`.

        Args:
            model: As for `loss`, in evaluation mode.
            examples: All of them.
        """
        return list(examples)

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


def learns_from(settings: TrainingSettings) -> LearnsFrom:
    """Which attempts the objective that the settings name learns from; nothing heavy is loaded.

    Raises:
        PluginError: There is none of that name.
    """
    found: LearnsFrom = getattr(plugin(GROUP, settings.objective, "objective").found, "learns_from", "right")
    return found


def load_objective(settings: TrainingSettings) -> Objective:
    """The objective that the settings name.

    Raises:
        PluginError: There is none of that name.
        TrainError: It cannot be made.
    """
    point = plugin(GROUP, settings.objective, "objective")
    try:
        objective = point.found(settings, **settings.objective_options)
    except TrainError:
        raise
    except Exception as error:
        # Its constructor is the user's own code.
        raise TrainError(f"objective {settings.objective!r} ({point.source}) cannot be made: {error}") from error
    if not isinstance(objective, Objective):
        raise TrainError(f"objective {settings.objective!r} ({point.source}) is no Objective")
    return objective
