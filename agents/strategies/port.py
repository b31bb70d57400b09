"""The port for refinement strategies: ways to get one answer out of the model, without a verifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.errors import AgentError
from quintet.agents.strategies.desk import Desk, Sample, Verifier
from quintet.plugins import PluginError, names, plugin
from quintet.records import Part

__all__ = ["GROUP", "Desk", "Sample", "Solution", "Step", "Strategy", "Verifier", "answering", "strategies"]

GROUP = "quintet.strategies"
"""The entry-point group; each names a `Strategy`."""


class Step(Part):
    """Something that a strategy did, for people to read."""

    what: str
    """Such as `sample` or `advice`."""
    text: str


class Solution(Part):
    """What a strategy settles on."""

    text: str
    """The reply; the verifier, where there is one, reads this."""
    answer: str | None
    steps: tuple[Step, ...] = ()


class Strategy(ABC):
    """A way to answer a question; the same one answers many, at once."""

    name: ClassVar[str]
    """As its entry point calls it: it is chosen under this name."""
    method: ClassVar[str] = "decoding"
    """What the field calls ways of its kind: `decoding`, `reasoning`, `agentic` or `test-time training`."""
    paper: ClassVar[str] = ""
    """Where it is published; empty where it is not."""
    upper_bound: ClassVar[bool] = False
    """Whether it asks the desk's verifier, which knows the truth: it then says what could be reached, not what is, and
    answers in evaluations only."""

    def __init__(self, samples: int = 8) -> None:
        self.samples = samples
        """Replies it may ask for, where it asks for several and the desk has no budget."""

    @property
    def recorded(self) -> str:
        """The name under which its evaluations are recorded and shown."""
        return f"{self.name} (upper bound)" if self.upper_bound else self.name

    async def prepare(self, desks: Sequence[Desk]) -> None:  # noqa: B027 - most need nothing
        """Look at all questions that are going to be asked, before any is; called once, by itself."""

    @abstractmethod
    async def solve(self, desk: Desk) -> Solution:
        """Answer the desk's question, within its budget.

        Raises:
            NoAnswerError: The model gave no answer.
        """


def strategies(named: Sequence[str], samples: int = 8) -> list[Strategy]:
    """The strategies of these names.

    Raises:
        PluginError: There is none of a name.
        AgentError: It is no strategy, or cannot be made.
    """
    return [_made(name, samples) for name in named]


def _made(name: str, samples: int) -> Strategy:
    kind = _kind(name)
    try:
        return kind(samples)
    except Exception as error:
        # A strategy is anybody's code.
        raise AgentError(f"strategy {name!r} cannot be made: {type(error).__name__}: {error}") from error


def answering() -> list[str]:
    """Names of the strategies that answer a question of a user's: all but the upper bounds.

    One that does not load is among them: whoever chooses it is told why.
    """
    return [name for name in names(GROUP) if not _bound(name)]


def _bound(name: str) -> bool:
    try:
        return _kind(name).upper_bound
    except (AgentError, PluginError):
        return False


def _kind(name: str) -> type[Strategy]:
    found = plugin(GROUP, name, "strategy")
    if not (isinstance(found.found, type) and issubclass(found.found, Strategy)):
        raise AgentError(f"{found.source} is no Strategy")
    if found.found.name != name:
        raise AgentError(f"{found.source} calls itself {found.found.name!r}: class and entry point need one name")
    return found.found
