"""Selection metrics: what an attempt is worth as a training row; a user's own join by entry point."""

from quintet.agents.metrics.counted import Balance, Confidence, Correct, Learnability, PassRate, Random, Tokens
from quintet.agents.metrics.likely import InstructionFollowingDifficulty, Perplexity
from quintet.agents.metrics.marked import Rubric
from quintet.agents.metrics.port import ALWAYS, GROUP, Candidate, Metric, load_metric, scored
from quintet.agents.metrics.remembered import Diversity, HeldOutDistance, Novelty

__all__ = [
    "ALWAYS",
    "GROUP",
    "Balance",
    "Candidate",
    "Confidence",
    "Correct",
    "Diversity",
    "HeldOutDistance",
    "InstructionFollowingDifficulty",
    "Learnability",
    "Metric",
    "Novelty",
    "PassRate",
    "Perplexity",
    "Random",
    "Rubric",
    "Tokens",
    "load_metric",
    "scored",
]
