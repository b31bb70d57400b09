"""Quintet: language models that improve themselves, and can prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quintet.agents.rehearsal import rehearse
    from quintet.agents.roles import EpisodeRole, RoundRole
    from quintet.agents.table import Episode, Round
    from quintet.graph.loop import Loop
    from quintet.graph.settings import Settings
    from quintet.tasks.curation.filters import Filter
    from quintet.tasks.environment import Environment, EnvironmentFamily, Outcome
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.family import Draft, TaskFamily

__version__ = "0.1.0"
__all__ = [
    "Draft",
    "Environment",
    "EnvironmentFamily",
    "Episode",
    "EpisodeRole",
    "Examiner",
    "Filter",
    "Loop",
    "Outcome",
    "Round",
    "RoundRole",
    "Settings",
    "TaskFamily",
    "rehearse",
]

_HOMES = {
    "Draft": "quintet.tasks.family",
    "Environment": "quintet.tasks.environment",
    "EnvironmentFamily": "quintet.tasks.environment",
    "Examiner": "quintet.tasks.examiner",
    "Filter": "quintet.tasks.curation.filters",
    "Episode": "quintet.agents.table",
    "Round": "quintet.agents.table",
    "EpisodeRole": "quintet.agents.roles",
    "Loop": "quintet.graph.loop",
    "Outcome": "quintet.tasks.environment",
    "RoundRole": "quintet.agents.roles",
    "Settings": "quintet.graph.settings",
    "TaskFamily": "quintet.tasks.family",
    "rehearse": "quintet.agents.rehearsal",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import quintet` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'quintet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
