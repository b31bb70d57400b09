"""Log-likelihood of chosen tokens without the logits of all: the output head is the largest layer of a small model."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from quintet.models.masks import sight

CHUNK = 128
"""Positions whose logits exist at the same time; 128 × 49,152 in float32 are 25 MB."""


class Head(NamedTuple):
    """How a model makes logits of hidden states: `cap tanh(scale (h Wᵀ + bias) / cap)`."""

    weight: torch.Tensor
    """`(vocabulary, hidden)`"""
    bias: torch.Tensor | None = None
    """`(vocabulary,)`"""
    scale: float = 1.0
    """Cohere's and Granite's factor."""
    cap: float | None = None
    """Gemma 2's bound."""

    @classmethod
    def of(cls, model: Any) -> Head:
        """The head of a causal language model."""
        head, config = model.get_output_embeddings(), model.config.get_text_config()
        scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        return cls(
            head.weight, getattr(head, "bias", None), scale, getattr(config, "final_logit_softcapping", None) or None
        )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map `(tokens, hidden)` to float32 `(tokens, vocabulary)`."""
        logits = hidden @ self.weight.T
        if self.bias is not None:
            logits = logits + self.bias
        logits = logits.float()
        if self.scale != 1:
            logits.mul_(self.scale)
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)

    def back(self, slope: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        """The hidden states' gradient for a loss with this slope over the logits, which are overwritten."""
        if self.cap is not None and logits is not None:
            slope.mul_(logits.div_(self.cap).square_().neg_().add_(1))
        if self.scale != 1:
            slope.mul_(self.scale)
        return slope.to(self.weight.dtype) @ self.weight


class _WeightedNLL(torch.autograd.Function):
    """Weighted negative log-likelihood whose gradient is found in the forward pass, chunk by chunk.

    The head is frozen, so the gradient is needed for the hidden states alone, and a chunk's logits can be forgotten.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: Head, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for begin in range(0, len(targets), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            target, weight = targets[chunk, None], weights[chunk, None]
            logits = head.logits(hidden[chunk])
            logprobs = torch.log_softmax(logits, dim=-1)
            # Kept only where the slope needs them: a chunk's logits are the largest thing in memory.
            kept = None if head.cap is None else logits
            del logits
            total -= (logprobs.gather(1, target) * weight).sum()
            slope = logprobs.exp_()
            slope.scatter_add_(1, target, torch.full_like(weight, -1.0))
            gradient[chunk] = head.back(slope.mul_(weight), kept)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].to(gradient.dtype), None, None, None


class _Logprobs(torch.autograd.Function):
    """Log-probability of each target; its logits are made again, chunk by chunk, when the gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: Head, targets: torch.Tensor) -> torch.Tensor:
        found = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        for begin in range(0, len(targets), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            logits = head.logits(hidden[chunk])
            found[chunk] = logits.gather(1, targets[chunk, None])[:, 0] - logits.logsumexp(dim=-1)
        ctx.save_for_backward(hidden, targets)
        ctx.head = head
        return found

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, targets = ctx.saved_tensors
        slopes, gradient = grad_outputs[0].float(), torch.zeros_like(hidden)
        for begin in range(0, len(targets), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            slope, target = slopes[chunk, None], targets[chunk, None]
            logits = ctx.head.logits(hidden[chunk])
            kept = None if ctx.head.cap is None else logits
            back = torch.softmax(logits, dim=-1)
            back.scatter_add_(1, target, torch.full_like(slope, -1.0))
            gradient[chunk] = ctx.head.back(back.mul_(-slope), kept)
        return gradient, None, None


def logprobs(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Natural log-probability of each of a batch's completion tokens, float32 `(tokens,)`, with its gradient.

    Costs one more pass through the output head than `weighted_nll`, whose weights must be known beforehand.

    Args:
        model: A PEFT model around a causal language model.
        batch: As `packing.lay_out` returns it.
    """
    found: torch.Tensor = _Logprobs.apply(_hidden(model, batch), Head.of(model.get_base_model()), batch["targets"])  # type: ignore[no-untyped-call]
    return found


def weighted_nll(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over a batch's completion tokens of weight times negative log-likelihood, in nats; a float32 scalar.

    Args:
        model: A PEFT model around a causal language model.
        batch: As `packing.lay_out` returns it.
    """
    hidden = _hidden(model, batch)
    head = Head.of(model.get_base_model())
    loss: torch.Tensor = _WeightedNLL.apply(hidden, head, batch["targets"], batch["weights"])  # type: ignore[no-untyped-call]
    return loss


def _hidden(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The last layer's output `(tokens, hidden)` at the places that predict the batch's completion tokens."""
    language_model = model.get_base_model()
    seen, places = batch["attention_mask"], batch["position_ids"]
    # A query sees its own row alone, whose positions go on without a gap: their difference is the distance.
    mask = sight(language_model.config).mask(
        seen, lambda window: seen & (places[:, None, :, None] - places[:, None, None, :] < window)
    )
    output = language_model.get_decoder()(
        input_ids=batch["input_ids"], attention_mask=mask, position_ids=places, use_cache=False
    )
    found: torch.Tensor = output.last_hidden_state.flatten(0, 1).index_select(0, batch["positions"])
    return found


def token_logprobs(model: Any, tokens: list[int]) -> list[float]:
    """Natural log-probability of each token after the first."""
    ids = torch.tensor([tokens], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    logprobs: list[float] = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
    return logprobs
