"""Runs many sequences through one set of weights: prompts join as others finish, so that the batch stays full."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from transformers.cache_utils import Cache

from quintet.models.cache import Prefill, States, Timeline
from quintet.models.constraint import Constraint
from quintet.models.errors import ModelError
from quintet.models.masks import Mask, sight
from quintet.models.requests import Sampling
from quintet.models.sampling import choose
from quintet.models.settings import ModelSettings

# Shorter shared beginnings are not worth a forward pass of their own.
_PREFIX = 8
# Columns beyond the longest sequence; the time axis is shifted once in so many steps.
_SLACK = 32


@dataclass
class Sample:
    """One sample while it is generated."""

    sampling: Sampling
    draws: npt.NDArray[np.float64]
    constraint: Constraint | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    behaviour: list[float] = field(default_factory=list)
    until: float = math.inf
    """When its time is up, by `monotonic`; its clock starts as its prompt is prefilled."""
    finish: Literal["", "stop", "length", "time", "error"] = ""
    error: str | None = None


@dataclass
class Prompt:
    """A prompt and the samples that continue it."""

    tokens: list[int]
    samples: list[Sample]


class Batch:
    """Generates for prompts that share weights, longest prompt first."""

    def __init__(
        self,
        model: Any,
        settings: ModelSettings,
        stops: frozenset[int],
        stopped: Callable[[], bool],
        progress: Callable[[int, int], None],
    ) -> None:
        """Take what does not change between runs.

        Args:
            model: A causal language model of transformers.
            settings: Sizes of batch, prefill and cache, and the time limit of a call: what has not finished then ends
                with `finish="time"`.
            stops: Tokens that end a reply.
            stopped: Asked before each step; True ends every sequence in the same way.
            progress: Told how many sequences finished and how many tokens came, after each step.
        """
        self._model, self._settings, self._stops = model, settings, stops
        self._stopped, self._progress = stopped, progress
        self._device = model.device
        self._sight = sight(model.config)
        self._layers = model.config.get_text_config().num_hidden_layers

    def run(self, prompts: Sequence[Prompt]) -> None:
        """Generate in place.

        Args:
            prompts: In an order that decides the batches, and so, in bfloat16, the last digits.
        """
        # Longest first: every later prompt then fits behind the current column of the time axis.
        if not prompts or self._stopped():
            _stop([sample for prompt in prompts for sample in prompt.samples])
            return
        rows, columns = self._size(prompts)
        waiting = [
            Prompt(prompt.tokens, prompt.samples[first : first + rows])
            for prompt in sorted(prompts, key=lambda prompt: -len(prompt.tokens))
            for first in range(0, len(prompt.samples), rows)
        ]
        prefix = self._prefill_prefix(waiting)
        line = Timeline(self._layers, rows, columns, self._model.dtype, self._device)
        running: list[Sample] = []
        lengths: list[int] = []
        while (waiting or running) and not self._stopped():
            free = rows - len(running)
            if waiting and (not running or free >= max(rows // 4, len(waiting[0].samples))):
                group = self._take(waiting, free, prefix)
                until = monotonic() + self._settings.call_seconds
                logits = self._prefill(line, group, prefix)
                fresh = [sample for prompt in group for sample in prompt.samples]
                for sample in fresh:
                    sample.until = until
                lengths += [len(prompt.tokens) for prompt in group for _ in prompt.samples]
                self._extend(fresh, logits)
                running += fresh
            else:
                self._extend(running, self._step(line, running, lengths, waiting))
            now = monotonic()
            _stop([sample for sample in running if not sample.finish and sample.until <= now])
            finished = [row for row, sample in enumerate(running) if sample.finish]
            if finished:
                order = line.release(finished)
                running = [running[row] for row in order]
                lengths = [lengths[row] for row in order]
            self._progress(len(finished), len(running) + len(finished))
        _stop(running + [sample for prompt in waiting for sample in prompt.samples])

    def _size(self, prompts: Sequence[Prompt]) -> tuple[int, int]:
        """Rows and columns of the time axis, within the memory allowed."""
        longest = max(len(prompt.tokens) for prompt in prompts)
        samples = [sample for prompt in prompts for sample in prompt.samples]
        columns = longest + max(sample.sampling.max_tokens for sample in samples) + _SLACK
        config = self._model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        bytes_a_row = 2 * self._layers * heads * width * columns * self._model.dtype.itemsize
        fit = int(self._settings.cache_mb * 2**20 / bytes_a_row)
        return max(min(self._settings.batch, fit, len(samples)), 1), columns

    def _take(self, waiting: list[Prompt], free: int, prefix: States) -> list[Prompt]:
        """The next prompts: as many as there are rows free and as one prefill may hold."""
        group: list[Prompt] = []
        skip = _length(prefix)
        while waiting:
            free -= len(waiting[0].samples)
            width = len((group or waiting)[0].tokens) - skip
            if group and (free < 0 or (len(group) + 1) * width > self._settings.prefill_tokens):
                break
            group.append(waiting.pop(0))
        return group

    def _prefill_prefix(self, prompts: Sequence[Prompt]) -> States:
        """Keys and values of the beginning that all prompts share, such as the system message."""
        if len(prompts) < 2:
            return []
        first, last = min(prompt.tokens for prompt in prompts), max(prompt.tokens for prompt in prompts)
        shared = min(len(prompt.tokens) for prompt in prompts) - 1
        for place, (one, other) in enumerate(zip(first[:shared], last[:shared], strict=False)):
            if one != other:
                shared = place
                break
        if shared < _PREFIX:
            return []
        cache = Prefill(self._layers, [])
        columns = torch.arange(shared, device=self._device)[None]
        mask = self._seeing(columns[:, :, None] >= columns[:, None, :], columns, columns)
        ids = torch.tensor([first[:shared]], device=self._device)
        self._forward(ids, columns, mask, cache)
        return cache.states()

    def _prefill(self, line: Timeline, group: Sequence[Prompt], prefix: States) -> torch.Tensor:
        """Run the prompts, admit their samples, and return logits for each sample, `(samples, vocabulary)`."""
        skip = _length(prefix)
        rests = [prompt.tokens[skip:] for prompt in group]
        width = max(len(rest) for rest in rests)
        pads = torch.tensor([width - len(rest) for rest in rests], device=self._device)
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests], device=self._device)
        places = torch.arange(width, device=self._device)
        positions = (places[None] - pads[:, None]).clamp(min=0) + skip
        seen = (places[None, :, None] >= places[None, None, :]) & (places[None, None, :] >= pads[:, None, None])
        if skip:
            seen = torch.cat((seen.new_ones(len(group), width, skip), seen), dim=2)
        before = torch.arange(skip, device=self._device).expand(len(group), -1)
        mask = self._seeing(seen, positions, torch.cat((before, positions), dim=1))
        cache = Prefill(self._layers, prefix)
        logits = self._forward(ids, positions, mask, cache)
        source = torch.tensor([row for row, prompt in enumerate(group) for _ in prompt.samples], device=self._device)
        # A sequence's last columns are: the prefix, then its own rest; what lies before stays hidden.
        back = torch.arange(skip + width, device=self._device)
        index = torch.where(back >= pads[:, None] + skip, back, (back - pads[:, None]).clamp(min=0))
        lengths = [len(prompt.tokens) for prompt in group for _ in prompt.samples]
        line.admit(cache.states(), source, index[source], lengths)
        return logits[source]

    def _step(
        self, line: Timeline, running: Sequence[Sample], lengths: Sequence[int], waiting: Sequence[Prompt]
    ) -> torch.Tensor:
        """Logits after each running sequence's last token, `(running, vocabulary)`."""
        ids = torch.tensor([[sample.tokens[-1]] for sample in running], device=self._device)
        places = [[length + len(sample.tokens) - 1] for length, sample in zip(lengths, running, strict=True)]
        mask = self._sight.mask(line.mask(len(waiting[0].tokens) if waiting else 0), line.narrowed)
        logits = self._forward(ids, torch.tensor(places, device=self._device), mask, line)
        line.window.now += 1
        return logits

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: Mask, cache: Cache) -> torch.Tensor:
        out = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _seeing(self, seen: torch.Tensor, at: torch.Tensor, of: torch.Tensor) -> Mask:
        """The mask of `seen`, `(rows, new, columns)`, by positions `at`, `(rows, new)`, and `of`, `(rows, columns)`."""
        return self._sight.mask(
            self._additive(seen[:, None]),
            lambda window: self._additive((seen & (at[:, :, None] - of[:, None, :] < window))[:, None]),
        )

    def _additive(self, seen: torch.Tensor) -> torch.Tensor:
        # The least finite number, not minus infinity: a padding row that sees nothing must not become NaN.
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)

    def _extend(self, samples: Sequence[Sample], logits: torch.Tensor) -> None:
        """Choose each sample's next token and note whether that ends it."""
        allowed: dict[int, torch.Tensor] = {}
        for row, sample in enumerate(samples):
            if sample.constraint is not None:
                try:
                    allowed[row] = sample.constraint.allowed()
                except ModelError as error:
                    sample.finish, sample.error = "error", str(error)
        draws = [float(sample.draws[len(sample.tokens)]) for sample in samples]
        choice = choose(logits, [sample.sampling for sample in samples], draws, allowed)
        for sample, token, logprob, behaviour in zip(samples, *choice, strict=True):
            if sample.finish:
                continue
            sample.tokens.append(token)
            sample.logprobs.append(logprob)
            sample.behaviour.append(behaviour)
            complete = sample.constraint is not None and sample.constraint.advance(token)
            if token in self._stops or complete:
                sample.finish = "stop"
            elif len(sample.tokens) == sample.sampling.max_tokens:
                sample.finish = "length"


def _length(prefix: States) -> int:
    return prefix[0][0].shape[2] if prefix else 0


def _stop(samples: Sequence[Sample]) -> None:
    for sample in samples:
        sample.finish = "time"
