"""Scores given continuations of prompts: their tokens' log-probabilities, by prefill alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from time import monotonic
from typing import Any

import torch

from quintet.models.cache import Prefill, States
from quintet.models.masks import sight
from quintet.models.prefill import Prefiller, length_of
from quintet.models.sampling import token_logprobs
from quintet.models.settings import ModelSettings

# Columns of continuations read at a time: a long text's logits would need more memory than the model.
_PIECE = 256


@dataclass
class Continuation:
    """A prompt and the tokens that are said to follow it."""

    prompt: list[int]
    given: list[int]
    logprobs: list[float] = field(default_factory=list)
    """Natural log-probability of each given token under the raw model; fewer than given where time ran out."""


class Scorer:
    """Scores continuations under one set of weights; a prompt is read once for all that continue it."""

    def __init__(
        self,
        model: Any,
        settings: ModelSettings,
        stopped: Callable[[], bool],
        progress: Callable[[int, int], None],
    ) -> None:
        """Take what does not change between runs.

        Args:
            model: A causal language model of transformers.
            settings: Tokens in one pass, memory for keys and values, and the time limit of a call.
            stopped: Asked before each pass; True leaves the rest unscored.
            progress: Told after each pass how many continuations are done, and 0 tokens, since none are made.
        """
        self._model, self._settings = model, settings
        self._stopped, self._progress = stopped, progress
        self._device = model.device
        self._prefiller = Prefiller(model, sight(model.config))
        config = model.config.get_text_config()
        self._layers = config.num_hidden_layers
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._bytes = 2 * self._layers * heads * width * model.dtype.itemsize
        """Of one token's keys and values."""

    def run(self, wanted: Sequence[Continuation]) -> None:
        """Score in place.

        Args:
            wanted: In an order that decides, among equals, the batches, and so, in bfloat16, the last digits.
        """
        scored = [one for one in wanted if one.given]
        # Longest first, and those of one prompt together.
        scored.sort(key=lambda one: (-len(one.prompt), one.prompt, -len(one.given)))
        prefix: States = []
        if scored and not self._stopped():
            prefix = self._prefiller.prefix([prompt for prompt, _ in groupby(scored, key=lambda one: one.prompt)])
        while scored and not self._stopped():
            group = self._take(scored, length_of(prefix))
            self._score(group, prefix)
            self._progress(len(group), 0)

    def _take(self, waiting: list[Continuation], skip: int) -> list[Continuation]:
        """The next continuations: as many as one pass, and the memory for keys and values, may hold."""
        most, room = self._settings.prefill_tokens, self._settings.cache_mb * 2**20 / self._bytes
        width = len(waiting[0].prompt) - skip
        taken = prompts = longest = 0
        for one in waiting:
            prompts += taken == 0 or one.prompt != waiting[taken - 1].prompt
            longest = max(longest, len(one.given))
            tokens = max(prompts * width, (taken + 1) * min(longest, _PIECE))
            if taken and (tokens > most or (taken + 1) * (skip + width + longest) > room):
                break
            taken += 1
        group = waiting[:taken]
        del waiting[:taken]
        return group

    def _score(self, group: Sequence[Continuation], prefix: States) -> None:
        until = monotonic() + self._settings.call_seconds
        prompts = [prompt for prompt, _ in groupby(group, key=lambda one: one.prompt)]
        read = self._prefiller.prompts(prompts, prefix)
        source = self._tensor([prompts.index(one.prompt) for one in group])
        _enter(group, read.logits[source, None], 0)
        states = [(keys[source], values[source]) for keys, values in read.states]
        # What lies between the prefix and a prompt's own rest stays hidden.
        skip, pads = length_of(prefix), read.pads[source, None]
        columns = torch.arange(length_of(states), device=self._device)
        told = (columns < skip) | (columns >= skip + pads)
        places = torch.where(columns < skip, columns, columns - pads)
        lengths = self._tensor([[len(one.prompt)] for one in group])
        # The last token is only ever predicted; where a row has ended, columns are padding that nothing before it sees.
        ends = lengths + self._tensor([[len(one.given) - 1] for one in group])
        fed = max(len(one.given) for one in group) - 1
        for first in range(0, fed, _PIECE):
            if self._stopped() or monotonic() > until:
                return
            new = range(first, min(first + _PIECE, fed))
            ids = self._tensor([[one.given[place] if place < len(one.given) else 0 for place in new] for one in group])
            positions = torch.minimum(lengths + self._tensor(list(new)), ends)
            so_far = torch.arange(new.stop, device=self._device)
            causal = so_far <= self._tensor(list(new))[:, None]
            seen = torch.cat((told[:, None].expand(-1, len(new), -1), causal.expand(len(group), -1, -1)), dim=2)
            mask = self._prefiller.seeing(seen, positions, torch.cat((places, lengths + so_far), dim=1))
            cache = Prefill(self._layers, states)
            logits = self._prefiller.forward(ids, positions, mask, cache, keep=0)
            states = cache.states()
            _enter(group, logits, first + 1)

    def _tensor(self, numbers: Sequence[Any]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._device)


def _enter(group: Sequence[Continuation], logits: torch.Tensor, first: int) -> None:
    """Note log-probabilities of the given tokens from place `first` on, by logits `(rows, places, vocabulary)`."""
    for one, row in zip(group, logits, strict=True):
        if tokens := one.given[first : first + len(row)]:
            one.logprobs += token_logprobs(row[: len(tokens)], torch.tensor(tokens, device=row.device)).tolist()
