"""What a reader of a run's memory asks for and is shown."""

from __future__ import annotations

from typing import Literal

from quintet.records import Lesson, Part, Row, Skill

Kind = Literal["task", "lesson", "row", "skill"]

WIDTH = 100
"""Characters of a memory's text in a line."""


def said(memory: Lesson | Row | Skill) -> str:
    """A memory's own words; of a skill its code."""
    match memory:
        case Lesson():
            return memory.text
        case Row():
            return memory.completion
        case Skill():
            return memory.code


class Asked(Part):
    """What to search for."""

    text: str
    kinds: tuple[Kind, ...] = ("task", "lesson", "row", "skill")
    family: str | None = None
    levels: tuple[int, ...] = ()
    since: int | None = None
    """Only what was made in this round or later."""
    before: int | None = None
    """Only what was made in earlier rounds."""
    adapter: str | None = None
    """Only what was made under this adapter (the beginning of its id), or `base`; no task is."""
    count: int = 10
    retired: bool = False
    """Only what is retired, instead of what is not."""


class Found(Part):
    """A memory near the text."""

    id: str
    kind: Kind
    distance: float
    """Cosine distance of the text to what the memory is found by: a lesson's text, what a skill does, else its task's
    question."""
    family: str
    level: int
    round: int
    adapter: str
    """The adapter it was made under; empty for a task."""
    retired: bool
    recalls: int
    """How often a role recalled it."""
    question: str
    """Of its task."""
    text: str
    """What it says: a task's question, a lesson, a row's completion."""


class Searched(Part):
    """The memories nearest to a text, nearest first."""

    run: str
    asked: Asked
    found: tuple[Found, ...]
    through: Literal["index", "ledger"]
    """What was searched: the Chroma index, or all texts of the ledger one by one."""
    note: str = ""
    """Why it was not the index."""

    def table(self) -> str:
        """The same for people."""
        lines = []
        for one in self.found:
            marks = f"  recalled {one.recalls}×" * (one.recalls > 0) + "  retired" * one.retired
            by = f"  {one.adapter}" if one.adapter else ""
            where = f"{one.family} level {one.level}  round {one.round}"
            said = f"{one.question} → {one.text}" if one.kind == "row" else one.text
            lines += [f"{one.distance:.3f}  {one.id}  {where}{by}{marks}", f"       {_line(said)}"]
        return "\n".join(lines) or f"run {self.run} remembers nothing of the kind"


class MemoryStats(Part):
    """How much a run remembers, and how its index stands."""

    run: str
    memories: dict[str, int]
    """By kind, retired ones included."""
    retired: dict[str, int]
    """Of these."""
    held: int
    """Evaluation items, which count for novelty only."""
    recalls: int
    """Times a role recalled."""
    recalled: int
    """Memories that came back, over all recalls."""
    index: str
    """Folder or URL."""
    expected: int
    """Entries that the index should have for this run."""
    indexed: int | None
    """Entries that it has; `None` where it could not be asked."""
    state: str
    """`up to date`, or what is amiss; what is amiss is mended at the next use."""

    def table(self) -> str:
        """The same for people."""
        kinds = [
            f"  {kind:<8}{n:>8,}" + f"  ({self.retired[kind]:,} retired)" * bool(self.retired.get(kind))
            for kind, n in self.memories.items()
        ]
        return "\n".join(
            [
                f"memory of {self.run}",
                *kinds,
                f"  {'held':<8}{self.held:>8,}  evaluation items, for novelty only",
                f"recalled {self.recalled:,} memories in {self.recalls:,} recalls",
                f"index {self.index}: {'–' if self.indexed is None else f'{self.indexed:,}'} of {self.expected:,} "
                f"entries, {self.state}",
            ]
        )


class Rebuilt(Part):
    """An index made anew."""

    run: str
    index: str
    indexed: int
    """Entries of this run; other runs' follow when they are next used."""


class Turned(Part):
    """What was retired or restored."""

    run: str
    retired: bool
    ids: tuple[str, ...]
    unchanged: tuple[str, ...]
    """Those that were so already."""


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
