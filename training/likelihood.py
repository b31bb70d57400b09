"""Log-likelihood of chosen tokens without the logits of all: the output head is the largest layer of a small model."""

from __future__ import annotations

from typing import Any

import torch

CHUNK = 128
"""Positions whose logits exist at the same time; 128 × 49,152 in float32 are 25 MB."""


class _WeightedNLL(torch.autograd.Function):
    """Weighted negative log-likelihood whose gradient is found in the forward pass, chunk by chunk.

    The head is frozen, so the gradient is needed for the hidden states alone, and a chunk's logits can be forgotten.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for begin in range(0, len(targets), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            target, weight = targets[chunk, None], weights[chunk, None]
            logprobs = torch.log_softmax((hidden[chunk] @ head.T).float(), dim=-1)
            total -= (logprobs.gather(1, target) * weight).sum()
            slope = logprobs.exp_()
            slope.scatter_add_(1, target, torch.full_like(weight, -1.0))
            gradient[chunk] = slope.mul_(weight).to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].to(gradient.dtype), None, None, None


def weighted_nll(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over a batch's completion tokens of weight times negative log-likelihood, in nats; a float32 scalar.

    Args:
        model: A PEFT model around a causal language model.
        batch: As `packing.lay_out` returns it.
    """
    language_model = model.get_base_model()
    output = language_model.get_decoder()(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        use_cache=False,
    )
    hidden = output.last_hidden_state.flatten(0, 1).index_select(0, batch["positions"])
    head = language_model.get_output_embeddings()
    loss: torch.Tensor = _WeightedNLL.apply(hidden, head.weight, batch["targets"], batch["weights"])  # type: ignore[no-untyped-call]
    return loss


def token_logprobs(model: Any, tokens: list[int]) -> list[float]:
    """Natural log-probability of each token after the first."""
    ids = torch.tensor([tokens], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    logprobs: list[float] = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
    return logprobs
