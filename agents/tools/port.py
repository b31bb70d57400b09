"""The port for tools: something that the model may call with a line of words, and that answers in words."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from quintet.agents.errors import AgentError
from quintet.plugins import names, plugin

if TYPE_CHECKING:
    from quintet.agents.strategies.desk import Desk

GROUP = "quintet.tools"
"""The entry-point group; each names a `Tool`."""

SECONDS = 60.0
"""Longest time of one use, the loading of what it needs included; a tool that computes for longer without awaiting must
see to its own limit."""

MOST_CHARACTERS = 400
"""Characters of what a tool says that the model is shown."""


class ToolError(AgentError):
    """What a tool was asked cannot be done; the model is told the message, and may try otherwise."""


class Tool(ABC):
    """Something that the model may call while it works on a question; one tool serves many questions at once."""

    name: ClassVar[str]
    """As its entry point calls it, and as the model does."""
    about: ClassVar[str]
    """What it does, in one line with an example; the model is shown this."""
    worked: ClassVar[tuple[str, str]] = ("", "")
    """A problem, and what the tool is given for it, for the model to go by; empty texts show none. A small model copies
    what stands in `about` unless it sees once how the words come out of a problem."""
    paper: ClassVar[str] = ""
    """The paper that it is from, with its arXiv id; empty where there is none."""

    def unavailable(self) -> str:
        """Why it cannot be used on this machine; empty if it can. The model is not offered such a tool."""
        return ""

    @abstractmethod
    async def use(self, words: str, desk: Desk) -> str:
        """Do what the words ask.

        Args:
            words: What the model wrote: anything at all, empty or hostile.
            desk: The question at work, with the memory. No verifier and no truth is there.

        Raises:
            ToolError: It cannot be done; the message says why.
        """


async def used(tool: Tool, words: str, desk: Desk, seconds: float = SECONDS) -> str:
    """What a tool says, in no more than so many characters; one that fails or hangs says that instead.

    Args:
        tool: The tool.
        words: As the model wrote them.
        desk: The question at work.
        seconds: How long it may take.
    """
    from quintet.memory.errors import LedgerError
    from quintet.models.errors import StoppingError

    try:
        async with asyncio.timeout(seconds) as limit:
            said = str(await tool.use(words, desk))
    except (LedgerError, StoppingError):
        raise
    except ToolError as error:
        said = f"error: {error}"
    except Exception as error:
        # A tool is anybody's code: what goes wrong with it is an observation, and the model goes on.
        late = isinstance(error, TimeoutError) and limit.expired()
        said = f"error: no answer within {seconds:g} s" if late else f"error: {type(error).__name__}: {error}"
    said = said.strip() or "(nothing)"
    return said if len(said) <= MOST_CHARACTERS else f"{said[: MOST_CHARACTERS - 1]}…"


def load_tools(wanted: Sequence[str] = ()) -> list[Tool]:
    """Tools by name, each once, in the order named; all that are installed where none is named.

    Raises:
        PluginError: There is none of a name.
        AgentError: It is no tool, or cannot be made.
    """
    made: list[Tool] = []
    for name in dict.fromkeys(wanted or names(GROUP)):
        found = plugin(GROUP, name, "tool")
        if not (isinstance(found.found, type) and issubclass(found.found, Tool)):
            raise AgentError(f"{found.source} is no Tool")
        if found.found.name != name:
            raise AgentError(f"{found.source} calls itself {found.found.name!r}: class and entry point need one name")
        try:
            made.append(found.found())
        except TypeError as error:
            raise AgentError(f"{found.source} cannot be made without arguments: {error}") from error
    return made
