"""Rejection-sampling fine-tuning: more of what the model said itself and a verifier found right."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from quintet.models import prompts
from quintet.records import Message, Row
from quintet.training.likelihood import weighted_nll
from quintet.training.objective import Batch, Example, Objective, Segment
from quintet.training.packing import lay_out, pack

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class RejectionSampling(Objective):
    """Maximum likelihood of accepted completions, as in STaR (arXiv 2203.14465) and RAFT (arXiv 2304.06767, eq. 4).

    The loss of a step is the sum over its completion tokens of row weight times negative log-likelihood, divided by
    the number of those tokens. Prompt tokens bear no loss.
    """

    name: ClassVar[str] = "sft"

    def examples(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """One example for each distinct prompt, with all its rows; rows that are too long are left out."""
        found: dict[tuple[int, ...], list[Segment]] = {}
        for row in sorted(rows, key=lambda row: row.id):
            prompt, completion = render(row.prompt, tokenizer), completion_tokens(row, tokenizer, self.stops)
            if len(prompt) + len(completion) <= self.settings.max_row_tokens:
                found.setdefault(prompt, []).append(Segment(completion, row.weight))
        return [Example(prompt, tuple(segments)) for prompt, segments in found.items()]

    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """Packed batches whose weights are divided by the step's number of completion tokens."""
        tokens = sum(len(segment.tokens) for example in examples for segment in example.segments)
        batches = [lay_out(lanes) for lanes in pack(examples, self.settings.lane_tokens, self.settings.batch_tokens)]
        return [{**batch, "weights": batch["weights"] / tokens} for batch in batches]

    def loss(self, model: object, batch: Batch) -> torch.Tensor:
        """Weighted mean negative log-likelihood of the completion tokens, in nats."""
        return weighted_nll(model, batch)


def render(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids of a conversation up to where its reply begins, as the engine asks it."""
    return tuple(prompts.render(tokenizer, messages))


def completion_tokens(row: Row, tokenizer: PreTrainedTokenizerBase, stops: Collection[int] = ()) -> tuple[int, ...]:
    """The row's own token ids, or its text's; they end with the end of the turn, as the chat template writes it.

    Tokens that a model ended otherwise (another of its stop tokens, or a schema that was complete) are given that end,
    so that what is learnt is what the template expects.

    Args:
        row: Whose.
        tokenizer: The model's.
        stops: Tokens at which the engine ends a reply, besides the tokenizer's end of text.
    """
    end = prompts.end_of_turn(tokenizer)
    tokens = row.tokens or tuple(tokenizer.encode(row.completion, add_special_tokens=False))
    if end is None or tokens[-1:] == (end,):
        return tokens
    ended = bool(tokens) and (tokens[-1] in stops or tokens[-1] == tokenizer.eos_token_id)
    return (*(tokens[:-1] if ended else tokens), end)
