"""Refinement strategies: ways to get one answer out of the model, without a verifier."""

from quintet.agents.strategies.desk import Desk, Sample, Verifier
from quintet.agents.strategies.port import GROUP, Solution, Step, Strategy, answering, strategies

__all__ = ["GROUP", "Desk", "Sample", "Solution", "Step", "Strategy", "Verifier", "answering", "strategies"]
