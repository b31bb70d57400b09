"""Choosing the next token of each sequence from the batch's logits, with the log-probabilities that training needs."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from quintet.models.requests import Sampling

# Rows whose fp32 log-probabilities exist at one time: 32 times a vocabulary of 49,152 is 6 MB, which stays in cache.
_ROWS = 32


class Choice(NamedTuple):
    """The next token of each of `rows` sequences."""

    tokens: list[int]
    logprobs: list[float]
    """Under the raw model."""
    behaviour: list[float]
    """Under the distribution sampled from."""


def uniforms(seed: str, sample: int, count: int) -> npt.NDArray[np.float64]:
    """The random numbers of one sample, `(count,)`, from a counter-based generator of its own.

    They depend on nothing but the arguments: not on neighbours in the batch, nor on any global state.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed}\n{sample}".encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=key)).random(count)


def choose(
    logits: torch.Tensor,
    plans: list[Sampling],
    draws: list[float],
    allowed: dict[int, torch.Tensor] | None = None,
) -> Choice:
    """Sample the next tokens.

    Args:
        logits: `(rows, vocabulary)`, any float type.
        plans: How each row is sampled.
        draws: One uniform number in [0, 1) for each row.
        allowed: For constrained rows, which tokens may come next, `(vocabulary,)` of bool.
    """
    raw = logits
    if allowed:
        logits = logits.clone()
        for row, tokens in allowed.items():
            logits[row].masked_fill_(~tokens.to(logits.device), -torch.inf)
    rows = range(len(plans))
    greedy = [row for row in rows if plans[row].temperature == 0]
    whole = [row for row in rows if plans[row].temperature > 0 and plans[row].top_k == 0]
    top = [row for row in rows if plans[row].temperature > 0 and plans[row].top_k > 0]
    tokens = torch.zeros(len(plans), dtype=torch.long, device=logits.device)
    behaviour = torch.zeros(len(plans), dtype=torch.float64, device=logits.device)
    if greedy:
        # `max` finds the same token as `argmax`, six times as fast in bfloat16 on a CPU.
        tokens[greedy] = _select(logits, greedy).max(dim=-1).indices
    if top:
        ranks = min(max(plans[row].top_k for row in top), logits.shape[1])
        values, indices = _select(logits, top).topk(ranks, dim=-1)
        cut = torch.tensor([plans[row].top_k for row in top], device=logits.device)
        beyond = torch.arange(ranks, device=logits.device) >= cut[:, None]
        chosen, logprob = _invert(values.double().masked_fill_(beyond, -torch.inf), plans, draws, top)
        tokens[top], behaviour[top] = indices.gather(1, chosen).squeeze(1), logprob
    for row in whole:
        chosen, logprob = _invert(logits[row : row + 1].double(), plans, draws, [row])
        tokens[row], behaviour[row] = chosen[0, 0], logprob[0]
    return Choice(tokens.tolist(), token_logprobs(raw, tokens).tolist(), behaviour.tolist())


def token_logprobs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability of one token a row, `(rows,)`, in fp32 whatever the logits' type."""
    parts = []
    for first in range(0, len(logits), _ROWS):
        spread = torch.log_softmax(logits[first : first + _ROWS], dim=-1, dtype=torch.float32)
        parts.append(spread.gather(1, tokens[first : first + _ROWS, None]).squeeze(1))
    return torch.cat(parts)


def _select(logits: torch.Tensor, rows: list[int]) -> torch.Tensor:
    return logits if len(rows) == len(logits) else logits[rows]


def _invert(
    values: torch.Tensor, plans: list[Sampling], draws: list[float], rows: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Invert the cumulative distribution at the draws: places `(rows, 1)` among the values, log-probabilities."""
    heat = torch.tensor([plans[row].temperature for row in rows], dtype=torch.float64, device=values.device)
    spread = torch.log_softmax(values / heat[:, None], dim=-1)
    mass = spread.exp().cumsum(-1)
    draw = torch.tensor([draws[row] for row in rows], dtype=torch.float64, device=values.device)
    place = (mass <= (draw * mass[:, -1])[:, None]).sum(-1, keepdim=True)
    return place, spread.gather(1, place).squeeze(1)
