"""Group relative policy optimisation with a verifier's reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from quintet.records import Learnable
from quintet.training.contrast import FromContrast, before
from quintet.training.errors import TrainError
from quintet.training.objective import Batch, Example, LearnsFrom, Segment
from quintet.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TINY = 1e-4
"""Added to a group's deviation, as TRL does."""


class Variant(NamedTuple):
    """What tells the published variants apart."""

    paper: str
    low: float
    """A token's ratio is clipped at 1 - low."""
    high: float
    """And at 1 + high."""
    beta: float
    """Weight of the divergence from where training began."""
    scaled: bool
    """Whether advantages are divided by their group's deviation."""


VARIANTS = {
    "grpo": Variant("Shao et al. 2024, arXiv 2402.03300", 0.2, 0.2, 0.04, True),
    "dr_grpo": Variant("Liu et al. 2025, arXiv 2503.20783", 0.2, 0.2, 0.0, False),
    "dapo": Variant("Yu et al. 2025, arXiv 2503.14476", 0.2, 0.28, 0.0, True),
}


class GroupRelative(FromContrast):
    """Reinforces attempts by how much better than their group they are (GRPO, Shao et al. 2024, arXiv 2402.03300).

    A token's loss is `-min(w A, clip(w, 1 - low, 1 + high) A) + β (1/w + log w - 1)`, where A is its attempt's reward
    less the group's mean, over the group's deviation, and w the token's probability over that where training began.
    `grpo` takes the mean over tokens and then over attempts (eq. 3), `dapo` over all tokens of the step (arXiv
    2503.14476, eq. 8), `dr_grpo` divides by the longest completion that was allowed (arXiv 2503.20783) and leaves the
    deviation out. A group is what was tried at one task in a round; one that is all right or all wrong teaches nothing.
    What another role than the solver earned (self-play) has a baseline of its own, that role's.

    The old policy and the reference are one, the adapter that training begins from. Its log-probabilities are computed
    by the trainer itself: those of the rollout are recorded with each call, but come from other arithmetic.

    Args:
        settings: The recipe.
        variant: One of the above; the further arguments are the variant's own where they are not given.
        low: Clipping below 1.
        high: Clipping above 1.
        beta: Weight of the divergence.
        unbiased: Weigh the divergence by the ratio, so that its gradient is the reverse divergence's (DeepSeek-V3.2,
            arXiv 2512.02556) and keeps it from exploding where a token becomes unlikely; the papers above do not.
        longest: What `dr_grpo` divides by, in tokens: the solver's `max_tokens`.
    """

    name: ClassVar[str] = "grpo"
    method: ClassVar[str] = "reinforcement learning with verifiable reward"
    paper: ClassVar[str] = "; ".join(variant.paper for variant in VARIANTS.values())
    learns_from: ClassVar[LearnsFrom] = "groups"

    def __init__(
        self,
        settings: TrainingSettings,
        variant: str = "dapo",
        low: float | None = None,
        high: float | None = None,
        beta: float | None = None,
        unbiased: bool = True,
        longest: int = 48,
    ) -> None:
        super().__init__(settings)
        if variant not in VARIANTS:
            raise TrainError(f"grpo: variant is {variant!r}; there are {', '.join(VARIANTS)}")
        own = VARIANTS[variant]
        self.variant, self.scaled, self.unbiased, self.longest = variant, own.scaled, unbiased, longest
        self.low = own.low if low is None else low
        self.high = own.high if high is None else high
        self.beta = own.beta if beta is None else beta
        if not 0 < self.low <= 1 or self.high <= 0 or self.beta < 0 or longest < 1:
            raise TrainError("grpo: low must be above 0 to 1, high above 0, beta not below 0, longest 1 or more")

    def examples(self, rows: Sequence[Learnable], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """One example for each group whose rewards differ, its completions with their advantages.

        Completions with a baseline of their own need no others beside them: theirs hold `batch_rows` at most.
        """
        found, most = [], self.settings.batch_rows
        for example in super().examples(rows, tokenizer):
            own = [one for one in example.segments if one.baseline is not None]
            group = [one for one in example.segments if one.baseline is None]
            for some in (group, *(own[at : at + most] for at in range(0, len(own), most))):
                advantages = self.advantages(some)
                if any(advantages):
                    found.append(Example(example.prompt, _with(some, advantages)))
        return found

    def advantages(self, segments: Sequence[Segment]) -> list[float]:
        """Each completion's advantage: over its baseline, where they have such, and else over the mean of these.

        A baseline of its own is its role's running mean, as in role-conditioned advantage estimation (SPIRAL, arXiv
        2506.24119), which divides by nothing.

        Args:
            segments: A whole group, or completions with a baseline of their own.

        Returns:
            Nothing for a group whose rewards are all alike.
        """
        rewards = [one.reward for one in segments]
        own = [one.reward - one.baseline for one in segments if one.baseline is not None]
        if own or len(set(rewards)) < 2:
            return own
        middle = fmean(rewards)
        scale = stdev(rewards) + TINY if self.scaled else 1.0
        return [(reward - middle) / scale for reward in rewards]

    def collate(self, examples: Sequence[Example]) -> list[Batch]:
        """Batches with each token's advantage, and its share of the step's loss."""
        segments = [one for example in examples for one in example.segments]
        tokens = sum(len(one.tokens) for one in segments)

        def share(one: Segment) -> float:
            whole = {"grpo": len(one.tokens), "dr_grpo": self.longest}.get(self.variant)
            return one.weight / (tokens if whole is None else whole * len(segments))

        found = []
        for batch, held in self.laid_out(examples):
            new = batch["weights"].new_tensor
            found.append(
                {
                    **batch,
                    "before": before(held),
                    "advantages": new([one.extra[0] for one in held for _ in one.tokens]),
                    "weights": new([share(one) for one in held for _ in one.tokens]),
                }
            )
        return found

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """The tokens' losses, each by its share; tallied are the divergence a token, in nats, and the share clipped."""
        import torch

        from quintet.training.likelihood import logprobs

        change = logprobs(model, batch) - batch["before"]
        ratio, advantages = change.exp(), batch["advantages"]
        clipped = ratio.clamp(1 - self.low, 1 + self.high)
        loss = -torch.minimum(ratio * advantages, clipped * advantages)
        apart = torch.exp(-change) + change - 1
        self.tally.add("divergence", apart)
        self.tally.add("clipped", (clipped * advantages < ratio * advantages).float())
        if self.beta:
            loss = loss + self.beta * apart * (ratio if self.unbiased else 1)
        return (loss * batch["weights"]).sum()


def _with(segments: Sequence[Segment], advantages: Sequence[float]) -> tuple[Segment, ...]:
    return tuple(replace(one, extra=(value,)) for one, value in zip(segments, advantages, strict=True))
