"""Runs prompts through the model together, behind the beginning that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache

from quintet.models.cache import Prefill, States
from quintet.models.masks import Mask, Sight

# Shorter shared beginnings are not worth a forward pass of their own.
_PREFIX = 8


class Prefilled(NamedTuple):
    """Prompts that the model has read."""

    states: States
    """Of the shared prefix and each prompt's rest, which ends at the last column."""
    logits: torch.Tensor
    """After each prompt, `(prompts, vocabulary)`."""
    pads: torch.Tensor
    """Columns between the prefix and a prompt's own rest that nothing may look at, `(prompts,)`."""


class Prefiller:
    """Reads prompts into keys and values."""

    def __init__(self, model: Any, sight: Sight) -> None:
        """Take what does not change between prompts.

        Args:
            model: A causal language model of transformers.
            sight: How far its layers see.
        """
        self._model, self._sight, self._device = model, sight, model.device
        self._layers = model.config.get_text_config().num_hidden_layers

    def prefix(self, prompts: Sequence[list[int]]) -> States:
        """Keys and values of the beginning that all prompts share, such as the system message."""
        if len(prompts) < 2:
            return []
        first, last = min(prompts), max(prompts)
        shared = min(len(prompt) for prompt in prompts) - 1
        for place, (one, other) in enumerate(zip(first[:shared], last[:shared], strict=False)):
            if one != other:
                shared = place
                break
        if shared < _PREFIX:
            return []
        cache = Prefill(self._layers, [])
        columns = torch.arange(shared, device=self._device)[None]
        mask = self.seeing(columns[:, :, None] >= columns[:, None, :], columns, columns)
        ids = torch.tensor([first[:shared]], device=self._device)
        self.forward(ids, columns, mask, cache)
        return cache.states()

    def prompts(self, prompts: Sequence[list[int]], prefix: States) -> Prefilled:
        """Read prompts that begin with the prefix."""
        skip = length_of(prefix)
        rests = [list(prompt[skip:]) for prompt in prompts]
        width = max(len(rest) for rest in rests)
        pads = torch.tensor([width - len(rest) for rest in rests], device=self._device)
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests], device=self._device)
        places = torch.arange(width, device=self._device)
        positions = (places[None] - pads[:, None]).clamp(min=0) + skip
        seen = (places[None, :, None] >= places[None, None, :]) & (places[None, None, :] >= pads[:, None, None])
        if skip:
            seen = torch.cat((seen.new_ones(len(prompts), width, skip), seen), dim=2)
        before = torch.arange(skip, device=self._device).expand(len(prompts), -1)
        mask = self.seeing(seen, positions, torch.cat((before, positions), dim=1))
        cache = Prefill(self._layers, prefix)
        logits = self.forward(ids, positions, mask, cache)[:, -1]
        return Prefilled(cache.states(), logits, pads)

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: Mask, cache: Cache, keep: int = 1
    ) -> torch.Tensor:
        """Logits of the last `keep` columns, `(rows, keep, vocabulary)`; 0 keeps all.

        Args:
            ids: Tokens, `(rows, new)`.
            positions: Their places in their sequences, `(rows, new)`.
            mask: What each may look at, additive.
            cache: What was read before.
            keep: How many columns.
        """
        out = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        logits: torch.Tensor = out.logits
        return logits

    def seeing(self, seen: torch.Tensor, at: torch.Tensor, of: torch.Tensor) -> Mask:
        """The mask of `seen`, `(rows, new, columns)`, by positions `at`, `(rows, new)`, and `of`, `(rows, columns)`."""
        return self._sight.mask(
            self._additive(seen[:, None]),
            lambda window: self._additive((seen & (at[:, :, None] - of[:, None, :] < window))[:, None]),
        )

    def _additive(self, seen: torch.Tensor) -> torch.Tensor:
        # The least finite number, not minus infinity: a padding row that sees nothing must not become NaN.
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)


def length_of(states: States) -> int:
    """Columns that keys and values have."""
    return states[0][0].shape[2] if states else 0
