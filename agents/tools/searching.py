"""Search: what the shared memory holds near some words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from quintet.agents.tools.port import Tool, ToolError
from quintet.records import Lesson, Row, Task

if TYPE_CHECKING:
    from quintet.agents.strategies.desk import Desk
    from quintet.records import Record

EVER = 1 << 30
"""A round after all rounds: whatever is remembered may come back."""

MOST_WORDS = 300
"""Characters of a query that are looked for."""


class Search(Tool):
    """Recalls lessons, solved questions and past tasks near some words (WebGPT, arXiv 2112.09332, on the own memory).

    Evaluation items are never among them, nor is anything about the question at work; truths are in no memory.
    """

    name = "search"
    about = "looks up what was learnt before, such as common divisor of 12 and 18"
    paper: ClassVar[str] = "Nakano et al. 2021, arXiv 2112.09332"
    each: ClassVar[int] = 1
    """Memories of each kind."""

    async def use(self, words: str, desk: Desk) -> str:
        """The nearest memory of each kind, a line each."""
        query = " ".join(words.split())[:MOST_WORDS]
        if not query:
            raise ToolError("say what to look for")
        own = [desk.question.task] if desk.question.task else []
        lines: list[str] = []
        kinds: tuple[type[Record], ...] = (Row, Lesson, Task)
        for kind in kinds:
            found = await desk.table.memory.recall(query, kind, before=EVER, count=self.each, exclude=own)
            lines += [_line(memory, desk) for memory, _ in found]
        return "\n".join(dict.fromkeys(filter(None, lines))) or "nothing was learnt about that yet"


def _line(memory: Record, desk: Desk) -> str:
    match memory:
        case Row():
            task = desk.table.ledger.get(memory.task)
            return f"{task.question} {memory.completion}" if isinstance(task, Task) else ""
        case Lesson():
            return memory.text
        case Task():
            return memory.question
    return ""
