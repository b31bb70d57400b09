"""A record among its nearest kin, few enough to be drawn: large families of one kind are counted, not listed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Literal

from quintet.memory.ledger import Event, RunLedger
from quintet.memory.reading.kin import children, events_of, kind_of, parents
from quintet.records import Attempt, Call, Critique, Part, Proposal, Recall, Row

Way = Literal["up", "down"]
"""Towards what a record came from, or towards what came of it."""

FAN = 6
"""Relatives of one kind that a record may have on a way before they are counted instead."""

PICKED = 3
"""Of more, those that are listed nevertheless."""

LOOKED_AT = 400
"""Attempts of which it is asked whether they became rows."""

LATER = {"task": ("attempt", "critique", "selection", "row", "contrast", "lesson"), "attempt": ("row", "contrast")}
"""By kind, those that name it as a parent too, but are reached by a later step: a straight link would hide the way."""

MOST = 90
"""Kin listed, at most."""

SPOKE = ("call", "attempt")
"""Kinds that name the adapter which spoke: its whole work, which is no step of anything's descent."""


class Fan(Part):
    """Relatives of one kind that are counted only."""

    of: str
    """Whose, by id."""
    way: Way
    kind: str
    count: int


class Kin(Part):
    """A relative."""

    event: Event | None
    """`None` where the run does not hold the record."""
    id: str
    way: Way
    depth: int
    """Links to the record in the middle; 0 is that itself."""
    via: str
    """The nearer relative by which it was reached."""


class Kinship(Part):
    """A record and its kin."""

    id: str
    kin: dict[str, Kin]
    """By id, the record itself first, then what it came from, then what came of it; the nearest first."""
    links: tuple[tuple[str, str], ...]
    """Parent and child, among these."""
    fans: tuple[Fan, ...]
    cut: bool
    """Whether there are more, even so."""


def kinship(ledger: RunLedger, id: str) -> Kinship:
    """The kin of a record that the run holds."""
    walk = _Walk(ledger, id)
    walk.go("up")
    walk.beside()
    walk.go("down")
    held = events_of(ledger, walk.reached)
    near = parents(ledger, walk.reached)
    links = [(parent, child) for child, named in near.items() for parent in named if parent in walk.reached]
    return Kinship(
        id=id,
        kin={
            id: Kin(event=held.get(id), id=id, way=way, depth=depth, via=via)
            for id, (way, depth, via) in walk.reached.items()
        },
        links=tuple(dict.fromkeys([*links, *walk.links])),
        fans=tuple(walk.fans),
        cut=walk.cut,
    )


class _Walk:
    def __init__(self, ledger: RunLedger, start: str) -> None:
        self.ledger, self.start = ledger, start
        self.reached: dict[str, tuple[Way, int, str]] = {start: ("up", 0, "")}
        self.links: list[tuple[str, str]] = []
        """Beside those that the ledger keeps."""
        self.fans: list[Fan] = []
        self.cut = False

    def go(self, way: Way) -> None:
        nearest = [self.start]
        while nearest and not self.cut:
            near = (parents if way == "up" else children)(self.ledger, nearest)
            following: list[str] = []
            for via in nearest:
                later = LATER.get(kind_of(via), ()) if way == "down" else ()
                for kind, ids in _by_kind(id for id in near.get(via, ()) if id not in self.reached).items():
                    following += self._enter(way, via, kind, ids) if kind not in later else []
            nearest = following

    def _enter(self, way: Way, via: str, kind: str, ids: list[str]) -> list[str]:
        """Take in the relatives of a kind; returns those to go on from."""
        spoken = kind_of(via) == "adapter" and kind in SPOKE
        listed = [] if spoken else ids if len(ids) <= FAN else self._picked(way, kind, ids)
        if len(ids) > len(listed):
            self.fans.append(Fan(of=via, way=way, kind=kind, count=len(ids) - len(listed)))
        depth = self.reached[via][1] + 1
        entered = [id for id in listed if self._add(id, way, depth, via)]
        # The one who spoke is told, but not what made it.
        return [] if way == "up" and kind == "adapter" and kind_of(via) in SPOKE else entered

    def _add(self, id: str, way: Way, depth: int, via: str) -> bool:
        self.cut = self.cut or len(self.reached) == MOST
        if not self.cut:
            self.reached[id] = (way, depth, via)
        return not self.cut

    def _picked(self, way: Way, kind: str, ids: list[str]) -> list[str]:
        """The few of many that stand for all: those that led to rows, else the first; of what only fed it, none."""
        if way == "up" or kind == Recall.kind:
            return []
        if kind in SPOKE:
            ids = self._led_to_rows(kind, ids[:LOOKED_AT]) or ids
        return ids[:PICKED]

    def _led_to_rows(self, kind: str, ids: list[str]) -> list[str]:
        attempts = {id: [id] for id in ids} if kind == Attempt.kind else children(self.ledger, ids)
        came = children(self.ledger, [attempt for some in attempts.values() for attempt in some])
        rows = {attempt for attempt, some in came.items() if any(kind_of(id) == Row.kind for id in some)}
        return [id for id in ids if rows.intersection(attempts.get(id, ()))]

    def beside(self) -> None:
        """Take in what is no ancestor but part of the story: how tasks were proposed, attempts judged, calls primed."""
        ancestors = list(self.reached)
        telling = {"attempt": Critique.kind, "task": Proposal.kind}
        came = children(self.ledger, [id for id in ancestors if kind_of(id) in telling])
        for id in ancestors:
            wanted = [child for child in came.get(id, ()) if kind_of(child) == telling.get(kind_of(id))]
            for child in wanted[:FAN]:
                if id != self.start and child not in self.reached:
                    self._add(child, "up", self.reached[id][1], id)
        self._primed([id for id in ancestors if kind_of(id) == Call.kind], came)

    def _primed(self, calls: list[str], came: dict[str, list[str]]) -> None:
        """What was recalled before these calls."""
        recalled = [id for ids in came.values() for id in ids if kind_of(id) == Recall.kind]
        known = self.ledger.get_many([*calls, *recalled])
        for call, recall in product(calls, recalled):
            one, other = known.get(call), known.get(recall)
            if isinstance(one, Call) and isinstance(other, Recall) and _moment(one) == _moment(other):
                if recall not in self.reached:
                    self._add(recall, "up", self.reached[call][1] + 1, call)
                self.links.append((recall, call))


def _moment(said: Call | Recall) -> tuple[int, str, str | None, int]:
    """When who spoke about what."""
    return said.round, said.role, said.task, said.turn


def _by_kind(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id in ids:
        found.setdefault(kind_of(id), []).append(id)
    return found
