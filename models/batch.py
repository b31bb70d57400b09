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

from quintet.models.cache import States, Timeline
from quintet.models.constraint import Constraint
from quintet.models.errors import ModelError
from quintet.models.masks import sight
from quintet.models.prefill import Prefiller, length_of
from quintet.models.requests import Sampling
from quintet.models.sampling import choose
from quintet.models.settings import ModelSettings

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
        self._prefiller = Prefiller(model, self._sight)
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
        prefix = self._prefiller.prefix([prompt.tokens for prompt in waiting])
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
        skip = length_of(prefix)
        while waiting:
            free -= len(waiting[0].samples)
            width = len((group or waiting)[0].tokens) - skip
            if group and (free < 0 or (len(group) + 1) * width > self._settings.prefill_tokens):
                break
            group.append(waiting.pop(0))
        return group

    def _prefill(self, line: Timeline, group: Sequence[Prompt], prefix: States) -> torch.Tensor:
        """Run the prompts, admit their samples, and return logits for each sample, `(samples, vocabulary)`."""
        skip = length_of(prefix)
        read = self._prefiller.prompts([prompt.tokens for prompt in group], prefix)
        source = torch.tensor([row for row, prompt in enumerate(group) for _ in prompt.samples], device=self._device)
        # A sequence's last columns are: the prefix, then its own rest; what lies before stays hidden.
        back, pads = torch.arange(length_of(read.states), device=self._device), read.pads[:, None]
        index = torch.where(back >= pads + skip, back, (back - pads).clamp(min=0))
        lengths = [len(prompt.tokens) for prompt in group for _ in prompt.samples]
        line.admit(read.states, source, index[source], lengths)
        return read.logits[source]

    def _step(
        self, line: Timeline, running: Sequence[Sample], lengths: Sequence[int], waiting: Sequence[Prompt]
    ) -> torch.Tensor:
        """Logits after each running sequence's last token, `(running, vocabulary)`."""
        ids = torch.tensor([[sample.tokens[-1]] for sample in running], device=self._device)
        places = [[length + len(sample.tokens) - 1] for length, sample in zip(lengths, running, strict=True)]
        mask = self._sight.mask(line.mask(len(waiting[0].tokens) if waiting else 0), line.narrowed)
        logits = self._prefiller.forward(ids, torch.tensor(places, device=self._device), mask, line)
        line.window.now += 1
        return logits[:, -1]

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


def _stop(samples: Sequence[Sample]) -> None:
    for sample in samples:
        sample.finish = "time"
