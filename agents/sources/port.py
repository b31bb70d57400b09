"""The port for sources of tasks: what a source proposes, and what it may say once its proposals were tried."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from quintet.agents.errors import AgentError
from quintet.plugins import plugin
from quintet.records import Proposal, Record, Reward, Task

if TYPE_CHECKING:
    from quintet.agents.settings import ProposerSettings
    from quintet.agents.sources.bench import Bench, Trial
    from quintet.agents.table import Round

GROUP = "quintet.sources"
"""The entry-point group; each names a `Source` class."""


@dataclass(frozen=True)
class Draft:
    """A grounded proposal that is not accepted yet."""

    proposal: Proposal
    """Of this round, not accepted so far; see `Bench.proposal`."""
    task: Task
    level: int
    """The family's training level; a task more than one above it is too hard as yet."""
    meanings: tuple[str, ...] = ()
    """Canonical questions that it amounts to besides its own: if one belongs to an evaluation split, it is refused."""
    free: bool = False
    """Whether the model chose the words: then they are compared by meaning with all earlier and evaluation items."""
    again: bool = False
    """Whether it may ask what was asked before."""
    samples: int = 0
    """Attempts that the solver makes at it before `Source.tried` decides."""

    def because(self, reason: str) -> Draft:
        """The same, with more said about why it is accepted."""
        return replace(self, proposal=self.proposal.with_(reason=reason))


class Source(ABC):
    """Proposes tasks. Built once for each act; its constructor takes its options, `[proposer.options.NAME]`."""

    name: ClassVar[str]
    """As its entry point calls it: `proposer.sources` names it, and its proposals bear it as their origin."""
    method: ClassVar[str] = "synthetic"
    """What the field calls ways of its kind, such as `synthetic, prompt-based`."""
    paper: ClassVar[str] = ""
    """Where it was described."""
    template: ClassVar[str] = ""
    """What it asks the model: a Jinja template, or the name of a `.jinja` file beside its class."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Task families that its tasks belong to besides those practised, such as `written`."""
    together: ClassVar[bool] = True
    """Whether all families are asked for at once; else each sees what those before it brought."""
    vital: ClassVar[bool] = False
    """Whether its failure ends the run; else it is recorded, and the round goes on without its tasks."""

    def number(self, settings: ProposerSettings) -> int:
        """Tasks it is asked for, for each family and round."""
        return settings.mix.get(self.name, settings.each)

    def families(self, bench: Bench) -> list[str]:
        """The families that it is asked for: by default those practised for which the model can propose."""
        return [name for name in bench.round.levels if bench.proposable(name)]

    @abstractmethod
    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """Propose tasks of one family.

        Whatever is decided must follow from the ledger and the arguments. Model calls go through `bench.ask`, one after
        the other.

        Args:
            round: The round.
            family: One of `families`.
            level: Its training level, or another one beside it.
            wanted: How many tasks.
            bench: What it works with.

        Returns:
            Drafts, proposals that were refused (`bench.refused`), and other records to be kept, such as recalls. Tasks
            come in drafts only.
        """

    def tried(self, draft: Draft, trial: Trial) -> Draft:
        """Decide about a draft that asked for samples, now that the solver has made them.

        Raises:
            Ungrounded: It is refused; the reason is a few stable words.
        """
        return draft

    def rewards(self, round: Round, bench: Bench) -> list[Reward]:
        """What its proposals of a round earned, once the round's attempts are judged; nothing unless overridden."""
        return []

    def words(self) -> str:
        """The text of its template.

        Raises:
            AgentError: It is a file that is not there.
        """
        if not self.template.endswith((".jinja", ".j2", ".txt")):
            return self.template
        beside = Path(inspect.getfile(type(self))).parent
        for path in (beside / self.template, beside.parent / "templates" / self.template, Path(self.template)):
            if path.exists():
                return path.read_text(encoding="utf-8")
        raise AgentError(f"template of source {self.name!r}: no file {self.template}")


def load_sources(settings: ProposerSettings) -> list[Source]:
    """The sources that the settings name, in that order.

    Raises:
        PluginError: There is none of a name.
        AgentError: It is no source, or an option is wrong.
    """
    made = []
    for name in settings.sources:
        found = plugin(GROUP, name, "source")
        if not (isinstance(found.found, type) and issubclass(found.found, Source)):
            raise AgentError(f"{found.source} is no Source")
        if found.found.name != name:
            raise AgentError(f"{found.source} calls itself {found.found.name!r}: class and entry point need one name")
        if "@" in name or "/" in name:
            raise AgentError(f"{found.source}: a source's name holds no @ and no /, which stand for levels and arms")
        made.append(_made(found.found, settings.options.get(name, {})))
    return made


def _made(kind: type[Source], options: dict[str, object]) -> Source:
    known = [name for name in inspect.signature(kind).parameters if name != "self"]
    if unknown := [name for name in options if name not in known]:
        there = f"there are {', '.join(known)}" if known else "it has none"
        raise AgentError(f"setting proposer.options.{kind.name}.{unknown[0]}: no such option; {there}")
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise AgentError(f"setting proposer.options.{kind.name}: {error}") from error


def checked(what: str, value: object, right: bool, wanted: str) -> None:
    """Refuse an option.

    Raises:
        ValueError: It is not right.
    """
    if not right:
        raise ValueError(f"{what} is {value!r}; it must be {wanted}")


def wholes(value: Sequence[object] | object) -> bool:
    """Whether it is a whole number above zero, which `True` is not."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
