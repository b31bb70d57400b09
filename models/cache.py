"""Preallocated keys and values on one shared time axis, so that sequences join and leave a batch without concatenation.

Column `t` of the axis is the same decode step for every row: a sequence's tokens end at the current column, whatever
its length, so each step writes one slice for the whole batch. Rows are kept dense: `[0, live)` are running.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

States = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, `(rows, heads, tokens, dim)`; empty where there are none."""


class PrefillLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values while prompts are prefilled behind a prefix that all of them share."""

    is_sliding = False

    def __init__(self, prefix: tuple[torch.Tensor, torch.Tensor] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.prefix = prefix
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to prepare: the layer keeps what it is given."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the states, shape `(batch, heads, tokens, dim)`, behind the prefix; return all of them."""
        if self.prefix is not None:
            rows = key_states.shape[0]
            key, value = self.prefix
            key_states = torch.cat((key.expand(rows, -1, -1, -1), key_states), dim=2)
            value_states = torch.cat((value.expand(rows, -1, -1, -1), value_states), dim=2)
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def get_seq_length(self) -> int:
        """Tokens before the ones being prefilled."""
        return 0 if self.prefix is None else self.prefix[0].shape[2]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask covers."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1


class Prefill(Cache):
    """Keys and values of prompts while they are prefilled."""

    def __init__(self, layers: int, prefix: States) -> None:
        self._lines = [PrefillLayer(prefix[layer] if prefix else None) for layer in range(layers)]
        super().__init__(layers=[*self._lines])

    def states(self) -> States:
        """All keys and values, prefix and prompts."""
        return [(line.keys, line.values) for line in self._lines if line.keys is not None and line.values is not None]


@dataclass
class Window:
    """Which part of a time axis is in use; shared by its layers, which must not refer back to the cache.

    Python would free a cycle, and its hundreds of megabytes, only at some later collection.
    """

    rows: int
    """Most sequences."""
    columns: int
    """Length of the time axis."""
    live: int = 0
    """Running sequences."""
    low: int = 0
    """The first column that a running sequence uses."""
    now: int = 0
    """The column that the next step writes."""


class TimelineLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values of the running batch, `(rows, heads, columns, dim)`."""

    is_sliding = False

    def __init__(self, window: Window) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.window = window

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate; zeros, since a masked column still takes part in a product with weight 0."""
        window = self.window
        heads = key_states.shape[1]
        self.keys = key_states.new_zeros(window.rows, heads, window.columns, key_states.shape[3])
        self.values = value_states.new_zeros(window.rows, heads, window.columns, value_states.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one column, `(live, heads, 1, dim)`; return the columns that running sequences use."""
        live, low, now = self.window.live, self.window.low, self.window.now
        keys, values = self.states()
        keys[:live, :, now : now + 1] = key_states
        values[:live, :, now : now + 1] = value_states
        return keys[:live, :, low : now + 1], values[:live, :, low : now + 1]

    def states(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, all rows and columns."""
        if self.keys is None or self.values is None:
            raise RuntimeError("a sequence must be admitted before the first step")
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Columns in use before this step."""
        return self.window.now - self.window.low

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask covers."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """Columns there are."""
        return self.window.columns


class Timeline(Cache):
    """The running batch's keys and values, with the mask that says which columns each row may see."""

    def __init__(self, layers: int, rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        self.window = Window(rows, columns)
        self.starts: list[int] = []
        """First column of each running sequence."""
        self.hidden = torch.finfo(dtype).min
        self.bias = torch.full((rows, columns), self.hidden, dtype=dtype, device=device)
        """Added to attention scores: 0 where a row may look."""
        self._lines = [TimelineLayer(self.window) for _ in range(layers)]
        super().__init__(layers=[*self._lines])

    def admit(self, prefilled: States, source: torch.Tensor, index: torch.Tensor, lengths: list[int]) -> None:
        """Append sequences whose prompts were just prefilled; they end at the current column.

        Args:
            prefilled: What `Prefill.states` returned.
            source: `(new,)` row of `prefilled` that each new sequence continues.
            index: `(new, width)` column of `prefilled` for each of the last `width` columns (any, where hidden).
            lengths: Prompt tokens of each new sequence.
        """
        window = self.window
        count, width = index.shape
        rows = slice(window.live, window.live + count)
        window.now = max(window.now, width)
        columns = slice(window.now - width, window.now)
        for line, states in zip(self._lines, prefilled, strict=True):
            if not line.is_initialized:
                line.lazy_initialization(*states)
            for mine, theirs in zip(line.states(), states, strict=True):
                mine[rows, :, columns] = theirs[source[:, None], :, index].transpose(1, 2)
        self.bias[rows] = self.hidden
        for row, length in enumerate(lengths, start=window.live):
            self.bias[row, window.now - length : window.now] = 0
            self.starts.append(window.now - length)
        window.live += count
        window.low = min(self.starts)

    def mask(self, longest: int) -> torch.Tensor:
        """Open the next column and return the additive mask of this step, `(live, 1, 1, columns in use)`.

        Args:
            longest: Prompt tokens of the longest sequence still to be admitted; it must find room behind it.
        """
        window = self.window
        if window.now == window.columns:
            self._shift(longest)
        self.bias[: window.live, window.now] = 0
        return self.bias[: window.live, None, None, window.low : window.now + 1]

    def narrowed(self, size: int) -> torch.Tensor:
        """The mask last returned, for layers that see only the last `size` tokens, the current one included."""
        window = self.window
        mask = self.bias[: window.live, None, None, window.low : window.now + 1].clone()
        mask[..., : max(window.now + 1 - size - window.low, 0)] = self.hidden
        return mask

    def _shift(self, longest: int) -> None:
        """Move the columns in use to the front of the axis."""
        window = self.window
        by = min(window.low, window.now - longest)
        kept = window.now - by
        for line in self._lines:
            for states in line.states():
                states[: window.live, :, :kept] = states[: window.live, :, by : window.now].clone()
        self.bias[: window.live, :kept] = self.bias[: window.live, by : window.now].clone()
        self.bias[: window.live, kept:] = self.hidden
        self.starts = [start - by for start in self.starts]
        window.now, window.low = kept, window.low - by

    def release(self, finished: list[int]) -> list[int]:
        """Let rows go; the last rows move into the holes.

        Returns:
            For each row that stays, in its new place, the row it was.
        """
        window = self.window
        gone = set(finished)
        kept = window.live - len(gone)
        holes = [row for row in range(kept) if row in gone]
        movers = [row for row in range(kept, window.live) if row not in gone]
        order = list(range(kept))
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        if holes and movers:
            used = slice(window.low, window.now)
            for line in self._lines:
                for states in line.states():
                    states[holes, :, used] = states[movers, :, used]
            self.bias[holes] = self.bias[movers]
        self.starts = [self.starts[row] for row in order]
        window.live = kept
        window.low = min(self.starts, default=window.now)
        return order
