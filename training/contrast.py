"""What objectives that learn from failures too have in common: likelihoods before training, and sums by completion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quintet.records import Learnable
from quintet.training.objective import Batch, Example, Objective, Segment
from quintet.training.packing import completions, lay_out, pack
from quintet.training.tokens import by_prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class FromContrast(Objective):
    """An objective that holds what the model says now against what it said where training began."""

    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """One example for each distinct prompt, with all its rows; rows that are too long are left out."""
        return by_prompt(rows, tokenizer, self.settings.max_row_tokens, self.stops)

    def prepare(self, model: Any, examples: Sequence[Example]) -> list[Example]:
        """The examples with the log-probability of every token under the model as it is.

        The reference is thus the model that training begins from, and nothing has to hold its weights.
        """
        import torch

        from quintet.training import ranks
        from quintet.training.likelihood import logprobs

        # A completion may stand in several examples, and is asked for once.
        apart: dict[tuple[int, ...], dict[tuple[int, ...], Segment]] = {}
        for example in examples:
            apart.setdefault(example.prompt, {}).update((one.tokens, one) for one in example.segments)
        once = [Example(prompt, tuple(held.values())) for prompt, held in apart.items()]
        found: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, ...]] = {}
        for lanes in ranks.share(pack(once, self.settings.lane_tokens, self.settings.batch_tokens)):
            batch = {name: tensor.to(model.device) for name, tensor in lay_out(lanes).items()}
            with torch.no_grad():
                values = iter(logprobs(model, batch).tolist())
            for lane in lanes:
                for example in lane:
                    for segment in example.segments:
                        found[example.prompt, segment.tokens] = tuple(next(values) for _ in segment.tokens)
        found = {key: value for part in ranks.everyones(found) for key, value in part.items()}
        return [
            Example(
                example.prompt,
                tuple(replace(one, before=found[example.prompt, one.tokens]) for one in example.segments),
            )
            for example in examples
        ]

    def laid_out(self, examples: Sequence[Example], whole: bool = False) -> list[tuple[Batch, list[Segment]]]:
        """The batches of a step, each with its completions in the order in which it counts them."""
        cut = pack(examples, self.settings.lane_tokens, self.settings.batch_tokens, whole)
        return [(lay_out(lanes), completions(lanes)) for lanes in cut]


def sums(values: torch.Tensor, batch: Batch, count: int) -> torch.Tensor:
    """Sums of one value a token by completion, `(count,)`."""
    import torch

    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, batch["completion"], values)


def before(segments: Iterable[Segment]) -> torch.Tensor:
    """Each token's log-probability where training began, `(tokens,)`."""
    import torch

    return torch.tensor([value for segment in segments for value in segment.before], dtype=torch.float32)
