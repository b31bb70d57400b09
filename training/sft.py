"""Rejection-sampling fine-tuning: more of what the model said itself and a verifier found right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from quintet.records import Learnable
from quintet.training.likelihood import weighted_nll
from quintet.training.objective import Batch, Example, Objective
from quintet.training.packing import lay_out, pack
from quintet.training.tokens import by_prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class RejectionSampling(Objective):
    """Maximum likelihood of accepted completions, as in STaR (arXiv 2203.14465) and RAFT (arXiv 2304.06767, eq. 4).

    The loss of a step is the sum over its completion tokens of row weight times negative log-likelihood, divided by
    the number of those tokens. Prompt tokens bear no loss.
    """

    name: ClassVar[str] = "sft"

    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """One example for each distinct prompt, with all its rows; rows that are too long are left out."""
        return by_prompt(rows, tokenizer, self.settings.max_row_tokens, self.stops)

    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """Packed batches whose weights are divided by the step's number of completion tokens."""
        tokens = sum(len(segment.tokens) for example in examples for segment in example.segments)
        batches = [lay_out(lanes) for lanes in pack(examples, self.settings.lane_tokens, self.settings.batch_tokens)]
        return [{**batch, "weights": batch["weights"] / tokens} for batch in batches]

    def loss(self, model: object, batch: Batch) -> torch.Tensor:
        """Weighted mean negative log-likelihood of the completion tokens, in nats."""
        return weighted_nll(model, batch)
