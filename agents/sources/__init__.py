"""Sources of tasks: where the proposer has them from, a class each behind one port."""

from quintet.agents.sources.bench import Bench, Seed, Trial
from quintet.agents.sources.port import GROUP, Draft, Source, load_sources

__all__ = ["GROUP", "Bench", "Draft", "Seed", "Source", "Trial", "load_sources"]
