"""Attention of short lanes on a CPU, where batched products beat PyTorch's fused kernel, above all backwards."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "quintet-lanes"


class _MaskedAttention(torch.autograd.Function):
    """softmax(s Q Kᵀ + mask) V, keeping the probabilities alone, and each key head once for all its query heads."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        batch, heads, length, dim = query.shape
        grouped = query.reshape(batch, key.shape[1], -1, dim)
        scores = torch.matmul(grouped, key.transpose(2, 3)).view(batch, heads, length, -1).float().mul_(scaling)
        scores.masked_fill_(hidden, float("-inf"))
        probabilities = torch.softmax(scores, dim=-1).to(value.dtype).view(*grouped.shape[:3], -1)
        ctx.save_for_backward(grouped, key, value, probabilities)
        ctx.scaling = scaling
        return torch.matmul(probabilities, value).view(batch, heads, length, -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grouped, key, value, probabilities = ctx.saved_tensors
        shape = grad_outputs[0].shape
        d_out = grad_outputs[0].reshape(*grouped.shape[:3], -1)
        d_value = torch.matmul(probabilities.transpose(2, 3), d_out)
        d_p = torch.matmul(d_out, value.transpose(2, 3)).float()
        p = probabilities.float()
        d_p.mul_(p)
        d_scores = d_p.sub_(p.mul_(d_p.sum(-1, keepdim=True))).mul_(ctx.scaling).to(key.dtype)
        d_query = torch.matmul(d_scores, key).view(shape[0], shape[1], shape[2], -1)
        d_key = torch.matmul(d_scores.transpose(2, 3), grouped)
        return d_query, d_key, d_value, None, None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention with grouped heads, in the form that transformers' models call.

    Args:
        module: The attention layer.
        query: `(lanes, heads, length, dim)`.
        key: `(lanes, key heads, length, dim)`; `heads` is a multiple of `key heads`.
        value: `(lanes, key heads, length, value dim)`.
        attention_mask: True where a query may look at a key, `(lanes, 1, length, length)`.
        dropout: Share of the probabilities to drop.
        scaling: Factor of the scores; `dim ** -0.5` if not given.
        **kwargs: What else a model passes; what changes the result is left to transformers' own function.

    Returns:
        `(lanes, length, heads, value dim)`, and no weights.
    """
    if kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention sinks")
    if kwargs.get("softcap") is not None:
        return _capped(query, key, value, attention_mask, dropout, scaling, kwargs["softcap"]), None
    lanes = attention_mask is not None and attention_mask.dtype == torch.bool and module.training
    plain = dropout == 0 and kwargs.get("position_bias") is None
    if attention_mask is None or not (lanes and plain and query.device.type == "cpu"):
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = _MaskedAttention.apply(query, key, value, ~attention_mask, scale)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2).contiguous(), None


def _capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    scaling: float | None,
    cap: float,
) -> torch.Tensor:
    """Attention whose scores are squashed into plus or minus `cap`, as in Gemma 2, by autograd."""
    batch, heads, length, dim = query.shape
    scale = dim**-0.5 if scaling is None else scaling
    grouped = query.reshape(batch, key.shape[1], -1, dim)
    scores = torch.matmul(grouped, key.transpose(2, 3)).view(batch, heads, length, -1).float() * scale
    scores = torch.tanh(scores / cap) * cap
    if mask is None:
        mask = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - length)
    probabilities = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1).to(value.dtype)
    probabilities = torch.dropout(probabilities, dropout, train=dropout > 0).view(*grouped.shape[:3], -1)
    return torch.matmul(probabilities, value).view(batch, heads, length, -1).transpose(1, 2).contiguous()


def kernel(device: torch.device | str, dtype: str = "bfloat16") -> str:
    """What computes the attention of lanes there, for people.

    Lanes need a mask of their own, which FlashAttention does not take, installed or not: on a GPU, PyTorch's
    `scaled_dot_product_attention` chooses among its other kernels.

    Args:
        device: Where to.
        dtype: The weights' type.
    """
    if torch.device(device).type == "cpu":
        return f"batched products ({NAME})"
    from torch.nn.attention import SDPBackend

    query = torch.zeros(1, 8, 128, 64, device=device, dtype=getattr(torch, dtype), requires_grad=True)
    mask = torch.ones(1, 1, 128, 128, device=device, dtype=torch.bool).tril()
    try:
        chosen = SDPBackend(torch._fused_sdp_choice(query, query, query, mask)).name
    except (NotImplementedError, RuntimeError, ValueError):
        chosen = "unknown"
    return f"scaled_dot_product_attention of PyTorch ({chosen.lower().replace('_', ' ')})"


def register() -> None:
    """Make it known to transformers, as `attn_implementation=NAME`."""
    AttentionInterface.register(NAME, attend)
    # Without this, a call that brings no mask of its own would look ahead of no token, but beyond every window.
    AttentionMaskInterface.register(NAME, sdpa_mask)
