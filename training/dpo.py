"""Direct preference optimisation on the model's own right and wrong attempts at one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from quintet.records import Learnable
from quintet.training.contrast import FromContrast, before, sums
from quintet.training.errors import TrainError
from quintet.training.objective import Batch, Example, LearnsFrom
from quintet.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class DirectPreference(FromContrast):
    """Raises what was right against what was wrong at the same task (DPO, Rafailov et al. 2023, arXiv 2305.18290).

    A pair's loss is `-log sigmoid(β m)` (eq. 7), where the margin m is the right attempt's log-probability less the
    wrong one's, both less what they were where training began. `ipo` is `(m - 1/(2β))²` with margins a token (arXiv
    2310.12036, eq. 17, as TRL normalises it).

    Args:
        settings: The recipe.
        beta: How strongly the model is held to where it began, in 1/nats.
        variant: The loss of a pair.
        nll: Weight of the right attempt's mean negative log-likelihood besides, which keeps it from falling with the
            wrong one's (as in Pang et al. 2024, arXiv 2404.19733).
    """

    name: ClassVar[str] = "dpo"
    method: ClassVar[str] = "preference optimization"
    paper: ClassVar[str] = "Rafailov et al. 2023, arXiv 2305.18290"
    learns_from: ClassVar[LearnsFrom] = "contrasts"

    def __init__(
        self,
        settings: TrainingSettings,
        beta: float = 0.1,
        variant: Literal["sigmoid", "ipo"] = "sigmoid",
        nll: float = 0.0,
    ) -> None:
        super().__init__(settings)
        if beta <= 0 or nll < 0:
            raise TrainError(f"dpo: beta is {beta:g} and nll {nll:g}; beta must be above 0, nll not below")
        if variant not in ("sigmoid", "ipo"):
            raise TrainError(f"dpo: variant is {variant!r}; there are 'sigmoid' and 'ipo'")
        self.beta, self.variant, self.nll = beta, variant, nll

    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """An example for each pair of a right and a wrong completion of one prompt: the right one first.

        Each completion of the larger side is in one pair; those of the smaller side take turns.
        """
        found = []
        for example in super().examples(rows, tokenizer):
            right = [one for one in example.segments if one.reward == 1]
            wrong = [one for one in example.segments if one.reward < 1]
            if right and wrong:
                for number in range(max(len(right), len(wrong))):
                    pair = (right[number % len(right)], wrong[number % len(wrong)])
                    found.append(Example(example.prompt, pair))
        return found

    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """Batches of whole pairs; a pair's share of the step's loss is one over their number."""
        return [
            {**batch, "before": before(held), "share": batch["weights"].new_tensor(1 / len(examples))}
            for batch, held in self.laid_out(examples, whole=True)
        ]

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Mean over the step's pairs; tallied are the margin, in nats, and how often it is above 0."""
        import torch
        from torch.nn.functional import logsigmoid

        from quintet.training.likelihood import logprobs

        found = logprobs(model, batch)
        count = int(batch["completion"][-1]) + 1
        gained = sums(found - batch["before"], batch, count)
        lengths = sums(torch.ones_like(found), batch, count)
        if self.variant == "ipo":
            gained = gained / lengths
        margin = gained[0::2] - gained[1::2]
        self.tally.add("margin", margin)
        self.tally.add("preferred", (margin > 0).float())
        loss = (margin - 1 / (2 * self.beta)) ** 2 if self.variant == "ipo" else -logsigmoid(self.beta * margin)
        if self.nll:
            loss = loss - self.nll * (sums(found, batch, count) / lengths)[0::2]
        return loss.sum() * batch["share"]
