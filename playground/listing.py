"""The outline as it is shown: a page of lines, grouped by what neighbours have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby, takewhile

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.outline import Line, Place, lines
from quintet.records import Part

AT_ONCE = 50
"""Lines of a page."""

ALIKE = 16
"""Characters with which neighbours' questions must begin alike to be shown without them."""


class Group(Part):
    """Neighbours of one round (or split), family and level."""

    round: int | None
    split: str
    family: str
    level: int
    lines: tuple[Line, ...]
    common: int
    """Characters with which all questions of its family begin on the page."""
    opens_round: bool
    """Whether it is the first of its round, or split, on the page."""


class Outline(Part):
    """A page of the outline."""

    total: int
    """Conversations that fit, on all pages."""
    page: int
    """From 0."""
    pages: int
    groups: tuple[Group, ...]
    earlier: bool
    """Whether the page before is to be offered."""
    later: bool
    """Whether the next one is."""

    @property
    def before(self) -> int:
        """Conversations on earlier pages."""
        return self.page * AT_ONCE

    @property
    def after(self) -> int:
        """Conversations on later ones."""
        return max(self.total - self.before - AT_ONCE, 0)

    @property
    def last(self) -> bool:
        """Whether the outline grows here."""
        return self.page + 1 >= self.pages


class Around(Part):
    """Where a conversation stands among those of the outline."""

    number: int = 0
    """From 1; 0 where the filters leave it out."""
    of: int = 0
    before: Place | None = None
    after: Place | None = None


def around(found: Sequence[Place], current: Place) -> Around:
    """The neighbours of a conversation."""
    if current not in found:
        return Around(of=len(found))
    at = found.index(current)
    return Around(
        number=at + 1,
        of=len(found),
        before=found[at - 1] if at else None,
        after=found[at + 1] if at + 1 < len(found) else None,
    )


def page_of(found: Sequence[Place], current: Place) -> int:
    """The page that a conversation is on; the first if it is on none."""
    return found.index(current) // AT_ONCE if current in found else 0


def outlined(ledger: RunLedger, found: Sequence[Place], page: int, edges: str = "both") -> Outline:
    """A page of the outline.

    Args:
        ledger: The run.
        found: All conversations that fit.
        page: Which of its pages; the last one where there are fewer.
        edges: Where to offer more: `up`, `down`, `both`, or neither (`none`).
    """
    pages = max(1, -(-len(found) // AT_ONCE))
    page = min(page, pages - 1)
    first = page * AT_ONCE
    shown, groups = lines(ledger, found[first : first + AT_ONCE]), list[Group]()
    families = {line.family for line in shown}
    common = {family: _common({line.question for line in shown if line.family == family}) for family in families}
    for key, neighbours in groupby(shown, _key):
        same = tuple(neighbours)
        groups.append(
            Group(
                round=same[0].round,
                split=same[0].split,
                family=same[0].family,
                level=same[0].level,
                lines=same,
                common=common[same[0].family],
                opens_round=not groups or (groups[-1].round, groups[-1].split) != key[:2],
            )
        )
    return Outline(
        total=len(found),
        page=page,
        pages=pages,
        groups=tuple(groups),
        earlier=page > 0 and edges in ("both", "up"),
        later=page + 1 < pages and edges in ("both", "down"),
    )


def _key(line: Line) -> tuple[int | None, str, str, int]:
    return line.round, line.split, line.family, line.level


def _common(questions: Collection[str]) -> int:
    """Characters of the words with which all begin; 0 if they are few, or there is nothing to compare."""
    if len(questions) < 2:
        return 0
    # All begin as the first and the last do, when sorted.
    pairs = zip(min(questions), max(questions), strict=False)
    alike = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    words = alike.rfind(" ") + 1
    return words if words >= ALIKE else 0
