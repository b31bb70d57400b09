"""The lifecycle graph of a run as LangGraph draws it, in one line: what each node took, and which is at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

from quintet.memory.events import RunInfo
from quintet.memory.ledger import RunLedger
from quintet.playground.drawing import clipped
from quintet.playground.rendering import hue
from quintet.records import Opening, Part, Stage

BEGIN, END = "__start__", "__end__"
"""What LangGraph calls the two ends."""

WIDTH, HEIGHT, BETWEEN, MARGIN = 104, 46, 26, 2
"""Of a node, between two, and around all, in px."""

LONGEST = 12
"""Characters of a node's name; what is longer is clipped."""

SPEAKER = {
    "propose": "proposer",
    "episodes": "solver",
    "curate": "curator",
    "approve": "evaluation",
    "train": "trainer",
    "evaluate": "evaluation",
    "decide": "evaluation",
    "finish": "evaluation",
}
"""Whose colour a node has; the node of a role that joined has the role's own."""

State = Literal["done", "now", "halted", "ahead"]


class Shape(Part):
    """The nodes of a lifecycle in the order of its edges."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


class Step(Part):
    """A node with what is known of its work."""

    name: str
    label: str
    """As far as it fits."""
    x: int
    """In px, of its left side."""
    state: State
    """`halted`: the run stopped here."""
    seconds: float | None
    """What it took in this round, or in the round before where it is still ahead."""
    earlier: bool
    """Whether that was in the round before."""
    classes: str


class Line(Part):
    """An edge, as an SVG path in px."""

    d: str
    back: bool


class Lifecycle(Part):
    """The loop of a run, placed."""

    round: int
    """The round that is shown."""
    wanted: int
    at: str
    """The node at work, or that the run stopped in; empty if there is none."""
    running: bool
    steps: tuple[Step, ...]
    lines: tuple[Line, ...]
    width: int
    height: int
    box: tuple[int, int, int] = (MARGIN, WIDTH, HEIGHT)
    """Of each node in px: how far from the top, its width and its height."""


def lifecycle_of(ledger: RunLedger, info: RunInfo, status: str) -> Lifecycle:
    """The loop of a run as it stands.

    Args:
        ledger: The run.
        info: What the ledger knows of it.
        status: Its status, as `quintet.graph.report.state` says.
    """
    ended = ledger.find(Stage)
    shape = _shape(ended)
    wanted = int(info.settings.get("rounds", 0))
    round, at = _at_work(shape, ended[-1] if ended else None, ledger, wanted, status)
    seconds = ledger.stage_seconds()
    return Lifecycle(
        round=round,
        wanted=wanted,
        at=at,
        running=status == "running",
        steps=_steps(shape, round, at, status == "running", {s.name for s in ended if s.round == round}, seconds),
        lines=_lines(shape),
        width=_x(len(shape.nodes)) - BETWEEN + MARGIN,
        height=HEIGHT + 26,
    )


@cache
def _plain() -> Shape:
    """The graph of the five, as LangGraph draws it."""
    from quintet.agents.players import round_players
    from quintet.graph.lifecycle import lifecycle

    edges = [(edge.source, edge.target) for edge in lifecycle(round_players()).compile().get_graph().edges]
    return Shape(nodes=_in_order(edges), edges=tuple(edges))


def _shape(stages: Sequence[Stage]) -> Shape:
    """That graph with the nodes of roles that joined, each after the node that ended before it.

    They are known by what they did: to import them would run whatever code a workspace names.
    """
    shape, before = _plain(), Stage(round=0, name="")
    for stage in stages:
        if stage.name not in shape.nodes:
            place = shape.nodes.index(before.name) + 1 if before.round == stage.round else 0
            shape = _spliced(shape, stage.name, place)
        before = stage
    return shape


def _spliced(shape: Shape, name: str, place: int) -> Shape:
    """With one more node, which takes over the way to the node whose place it takes."""
    follower = shape.nodes[place]
    edges = [(source, name if target == follower else target) for source, target in shape.edges]
    nodes = (*shape.nodes[:place], name, *shape.nodes[place:])
    return Shape(nodes=nodes, edges=(*edges, (name, follower)))


def _in_order(edges: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Nodes between the two ends, each after those that lead to it; a way back leads nowhere new."""
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    found: list[str] = []

    def walk(node: str, above: tuple[str, ...]) -> None:
        for following in after.get(node, ()):
            if following not in above and following not in found:
                walk(following, (*above, following))
        found.append(node)

    walk(BEGIN, (BEGIN,))
    return tuple(node for node in reversed(found) if node not in (BEGIN, END))


def _at_work(shape: Shape, last: Stage | None, ledger: RunLedger, wanted: int, status: str) -> tuple[int, str]:
    """The round, and the node after the one that ended last. `approve` leaves no record, being the user's time."""
    first = shape.nodes[0]
    if last is None:
        return 1, "" if status == "finished" else first
    if last.name == "finish":
        # Or the first of a round that was asked for since.
        return (last.round, "") if status != "running" else (last.round + 1, first)
    if last.name == "decide":
        if status == "finished":
            return last.round, ""
        # The final suite may be opened before all rounds are done: where nothing is gained any more.
        opened = any(opening.round == last.round for opening in ledger.find(Opening))
        return (last.round, "finish") if opened or last.round >= wanted else (last.round + 1, first)
    following = shape.nodes[shape.nodes.index(last.name) + 1]
    if following == "approve" and status != "waiting":
        following = shape.nodes[shape.nodes.index(following) + 1]
    return last.round, "" if status == "finished" else following


def _steps(
    shape: Shape, round: int, at: str, running: bool, ended: set[str], seconds: Mapping[int, Mapping[str, float]]
) -> tuple[Step, ...]:
    now, before = seconds.get(round, {}), seconds.get(round - 1, {})
    place = shape.nodes.index(at) if at else len(shape.nodes)
    found = []
    for number, name in enumerate(shape.nodes):
        state: State = "done" if name in ended or number < place else "ahead"
        if number == place:
            state = "now" if running else "halted"
        took = now.get(name) if name in ended else before.get(name)
        found.append(
            Step(
                name=name,
                label=clipped(name, LONGEST),
                x=_x(number),
                state=state,
                # Of the nodes without a record of their own nothing is known.
                seconds=None if name in ("approve", "decide") else took,
                earlier=name not in ended,
                classes=f"{hue(SPEAKER.get(name, name))} is-{state}",
            )
        )
    return tuple(found)


def _x(number: int) -> int:
    return MARGIN + number * (WIDTH + BETWEEN)


def _lines(shape: Shape) -> tuple[Line, ...]:
    place = {name: number for number, name in enumerate(shape.nodes)}
    found = []
    for source, target in shape.edges:
        if source not in place or target not in place:
            continue
        one, other = place[source], place[target]
        middle = MARGIN + HEIGHT / 2
        if other == one + 1:
            start, end = _x(one) + WIDTH, _x(other)
            d = f"M{start + 2:g} {middle:g}H{end - 4:g}m-5 -4l5 4l-5 4"
        else:
            # Beneath the nodes, with round corners; back where it leads back.
            start, end, floor = _x(one) + WIDTH // 2, _x(other) + WIDTH // 2, MARGIN + HEIGHT + 20
            turn = 8 if other > one else -8
            d = (
                f"M{start:g} {MARGIN + HEIGHT + 2:g}V{floor - 8:g}q0 8 {turn} 8H{end - turn:g}"
                f"q{turn} 0 {turn} -8V{MARGIN + HEIGHT + 4:g}m-4 5l4 -5l4 5"
            )
        found.append(Line(d=d, back=other <= one))
    return tuple(found)
