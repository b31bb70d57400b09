"""Attention for one new token a sequence, where PyTorch's CPU kernel takes twice as long as two batched products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

NAME = "quintet"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention with grouped heads, in the form that transformers' models call.

    Args:
        module: The attention module (unused; part of the interface).
        query: `(batch, heads, new, dim)`.
        key: `(batch, key heads, columns, dim)`; `heads` is a multiple of `key heads`.
        value: `(batch, key heads, columns, value dim)`.
        attention_mask: Added to the scores, `(batch, 1, new, columns)`.
        scaling: Factor of the scores; `dim ** -0.5` if not given.
        dropout: Unused; nothing is dropped at inference.
        softcap: Scores are squashed into plus or minus this, where a model asks for it.
        **kwargs: What else a model passes; refused if it would change the result.

    Returns:
        `(batch, new, heads, value dim)`, and no weights.
    """
    if kwargs.get("s_aux") is not None or kwargs.get("position_bias") is not None:
        raise NotImplementedError("attention sinks or position biases")
    batch, heads, new, dim = query.shape
    groups = heads // key.shape[1]
    scale = dim**-0.5 if scaling is None else scaling
    if new > 1 and softcap is None:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scale)
        return out.transpose(1, 2).contiguous(), None
    grouped = query.reshape(batch, key.shape[1], groups * new, dim) * scale
    # A product with a transposed slice of the cache would copy it element by element, four times as slow.
    scores = torch.matmul(grouped, key.contiguous().transpose(2, 3)).view(batch, key.shape[1], groups, new, -1)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, None]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    out = torch.matmul(weights.view(batch, key.shape[1], groups * new, -1), value)
    return out.view(batch, heads, new, -1).transpose(1, 2).contiguous(), None


def install(model: Any) -> None:
    """Make a transformers model use `attend`, where its architecture lets the attention be chosen."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    if getattr(model, "_supports_attention_backend", False):
        AttentionInterface.register(NAME, attend)
        # Without this, a call that brings no mask of its own would look ahead.
        AttentionMaskInterface.register(NAME, eager_mask)
        model.set_attn_implementation(NAME)


@contextmanager
def plain(model: Any) -> Iterator[None]:
    """Inside, a model uses transformers' own attention."""
    if model.config._attn_implementation != NAME:
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)
