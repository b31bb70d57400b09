"""Tries a model of a kind that no test of ours holds, before it is trained: lanes against a plain forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from quintet.models.trial import FAR, KNOWN
from quintet.training.errors import TrainError
from quintet.training.likelihood import token_logprobs, weighted_nll
from quintet.training.objective import Example, Segment
from quintet.training.packing import lay_out


def try_out(model: Any, tokens: list[int]) -> None:
    """Compare the loss of a packed exchange with what transformers computes, where the model's type is not known.

    Args:
        model: A PEFT model around a causal language model.
        tokens: A rendered exchange.

    Raises:
        TrainError: They disagree, or the model cannot be run in lanes.
    """
    base = model.get_base_model()
    kind = base.config.model_type
    if kind in KNOWN:
        return
    cut = len(tokens) // 2
    parts = (Segment(tuple(tokens[cut:])), Segment(tuple(tokens[cut:][::-1])))
    try:
        exact = 0.0
        model.eval()
        for part in parts:
            exact -= sum(token_logprobs(model, [*tokens[:cut], *part.tokens])[cut - 1 :])
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            batch = lay_out([[Example(tuple(tokens[:cut]), parts)]])
            packed = float(weighted_nll(model, {name: tensor.to(base.device) for name, tensor in batch.items()}))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainError(
            f"models of type {kind!r} cannot be trained: they do not run on masks made for lanes "
            f"({type(error).__name__}: {reason}); take another model"
        ) from error
    apart = abs(packed - exact) / sum(len(part.tokens) for part in parts)
    if not apart <= FAR[base.dtype]:
        raise TrainError(
            f"models of type {kind!r} cannot be trained: in lanes their loss is {apart:.3f} nats from "
            "transformers' own; take another model"
        )
