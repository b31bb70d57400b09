"""Which earlier tokens a model's layers see: all of them, or those within a window, as transformers' configs say it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from quintet.models.errors import ModelError

FULL, SLIDING = "full_attention", "sliding_attention"

Mask = torch.Tensor | dict[str, torch.Tensor]
"""One mask for all layers, or one for each kind of layer."""


class Sight(NamedTuple):
    """How far a model's layers see."""

    window: int | None
    """Tokens that a sliding layer sees, the current one included; none where no layer slides."""
    mixed: bool = False
    """Whether other layers see everything."""

    def mask(self, full: torch.Tensor, windowed: Callable[[int], torch.Tensor]) -> Mask:
        """The mask in the form that the model takes.

        Args:
            full: Of layers that see everything, `(batch, 1, new, columns)`.
            windowed: Makes that of layers with the given window, of the same shape.
        """
        if self.window is None:
            return full
        narrow = windowed(self.window)
        return {FULL: full, SLIDING: narrow} if self.mixed else narrow


def sight(config: Any) -> Sight:
    """What a model's config says, by the convention that transformers' own generation follows.

    Raises:
        ModelError: Some layers keep something other than keys and values of all tokens, or of a window.
    """
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    if not kinds and getattr(text, "attention_chunk_size", None):
        kinds = {"chunked_attention"}
    if strange := sorted(kinds - {FULL, SLIDING}):
        raise ModelError(
            f"models of type {text.model_type!r} with {', '.join(strange)} layers are not supported, only full and "
            "sliding attention; take another model"
        )
    window: int | None = getattr(text, "sliding_window", None)
    if kinds:
        return Sight(window, FULL in kinds) if window and SLIDING in kinds else Sight(None)
    # A config may carry keys that its model does not know, after a conversion from another architecture.
    kind = type(text)
    known = hasattr(kind, "sliding_window") or "sliding_window" in inspect.signature(kind.__init__).parameters
    return Sight(window if window and known else None)
