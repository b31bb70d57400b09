"""Kahneman-Tversky optimisation: right and wrong attempts, without pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from quintet.records import Learnable
from quintet.training.contrast import FromContrast, before, sums
from quintet.training.errors import TrainError
from quintet.training.objective import Batch, Example, LearnsFrom, Segment
from quintet.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

MISMATCHED = "mismatched"
"""Marks a completion of another prompt, by which the divergence from the reference is estimated."""


class KahnemanTversky(FromContrast):
    """Raises right attempts and lowers wrong ones, each for itself (KTO, Ethayarajh et al. 2024, arXiv 2402.01306).

    With the reward r, an attempt's log-probability less what it was where training began, and z, the mean reward of
    completions under prompts that are not theirs (at least 0, without gradient), a right attempt's loss is
    `1 - sigmoid(β(r - z))` and a wrong one's `1 - sigmoid(β(z - r))` (eq. 7 and 8).

    Args:
        settings: The recipe.
        beta: How soon a change of likelihood is enough, in 1/nats.
        desirable: Weight of right attempts.
        undesirable: Weight of wrong ones.
    """

    name: ClassVar[str] = "kto"
    method: ClassVar[str] = "preference optimization"
    paper: ClassVar[str] = "Ethayarajh et al. 2024, arXiv 2402.01306"
    learns_from: ClassVar[LearnsFrom] = "contrasts"

    def __init__(
        self, settings: TrainingSettings, beta: float = 0.1, desirable: float = 1.0, undesirable: float = 1.0
    ) -> None:
        super().__init__(settings)
        if beta <= 0 or min(desirable, undesirable) < 0:
            raise TrainError("kto: beta must be above 0, desirable and undesirable not below")
        self.beta, self.desirable, self.undesirable = beta, desirable, undesirable

    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """One example for each prompt: its completions, and as many of the next prompt's."""
        own = super().examples(rows, tokenizer)
        if len(own) < 2:
            # Under one prompt there is none that is not its own: z is 0.
            return own
        return [
            Example(example.prompt, example.segments + self._borrowed(example, other))
            for example, other in zip(own, [*own[1:], own[0]], strict=True)
        ]

    def _borrowed(self, example: Example, other: Example) -> tuple[Segment, ...]:
        room = self.settings.max_row_tokens - len(example.prompt)
        taken = [other.segments[i % len(other.segments)] for i in range(len(example.segments))]
        known = {one.tokens for one in example.segments}
        fit = {one.tokens: one for one in taken if len(one.tokens) <= room and one.tokens not in known}
        return tuple(replace(one, weight=0.0, extra=(MISMATCHED,)) for one in fit.values())

    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """Batches whose completions' weights are divided by the number of the step's own completions."""
        number = sum(not one.extra for example in examples for one in example.segments)
        found = []
        for batch, held in self.laid_out(examples):
            right = batch["weights"].new_tensor([one.reward == 1 for one in held])
            side = right * self.desirable + (1 - right) * self.undesirable
            share = batch["weights"].new_tensor([one.weight / number for one in held]) * side
            mismatched = batch["weights"].new_tensor([bool(one.extra) for one in held])
            found.append({**batch, "before": before(held), "right": right, "share": share, "mismatched": mismatched})
        return found

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Mean over the step's completions; z is estimated in each batch, as TRL does.

        Tallied, in nats: the rewards of right and of wrong attempts, and z.
        """
        import torch

        from quintet.training.likelihood import logprobs

        reward = sums(logprobs(model, batch) - batch["before"], batch, len(batch["share"]))
        other = batch["mismatched"] > 0
        apart = reward.detach()[other].mean().clamp(min=0) if other.any() else reward.new_zeros(())
        right = batch["right"] > 0
        self.tally.add("divergence", apart)
        self.tally.add("right_reward", reward[right & ~other])
        self.tally.add("wrong_reward", reward[~right & ~other])
        away = torch.where(right, reward - apart, apart - reward)
        return ((1 - torch.sigmoid(self.beta * away)) * batch["share"]).sum()
