"""The port for filters: what says of a question, from its words alone, why it is left out of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from quintet.plugins import Plugin, from_file, plugin
from quintet.tasks.errors import TaskError

GROUP = "quintet.filters"
"""The entry-point group; each names a `Filter`."""


class Filter(ABC):
    """Looks at one question at a time."""

    name: ClassVar[str]
    """As its entry point calls it, and as it is counted under where it fails."""
    paper: ClassVar[str] = ""
    """Where it is from."""

    @abstractmethod
    def reject(self, question: str, answer: str) -> str:
        """Why a question is left out; empty if it is not.

        Args:
            question: As the solver would read it.
            answer: The right one; empty where it is not known.

        Returns:
            A few stable words, which are counted, and after `: ` what was found, if that is worth telling.
        """


def load_filter(given: str) -> Filter:
    """The filter of an entry point's name or of `FILE.py:CLASS`.

    Raises:
        PluginError: There is none.
        TaskError: It is no filter.
    """
    found: Plugin = from_file(given, "filters.also") if ".py:" in given else plugin(GROUP, given, "filter")
    try:
        made = found.found() if isinstance(found.found, type) else found.found
    except Exception as error:
        # Its constructor is the user's own code.
        raise TaskError(f"{found.source} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Filter) or not isinstance(getattr(made, "name", None), str):
        raise TaskError(f"{found.source} is no Filter with a name: derive it from quintet.Filter")
    return made
