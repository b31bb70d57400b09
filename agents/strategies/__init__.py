"""Refinement strategies: ways to get one answer out of the model, without a verifier."""

from quintet.agents.strategies.port import GROUP, Desk, Sample, Solution, Step, Strategy, strategies

__all__ = ["GROUP", "Desk", "Sample", "Solution", "Step", "Strategy", "strategies"]
