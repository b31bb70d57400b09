"""Places a small graph from left to right, in layers that are given, with few crossings; the same graph, the same way.

Order within a layer by barycentre sweeps, and long edges by way points, as in Sugiyama, Tagawa, Toda (1981); heights by
isotonic regression, so that a node lies as near to the middle of its neighbours as its order allows.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from quintet.records import Part

SWEEPS = 12
"""Passes over the layers, there and back by turns."""

CHARACTER = 7.2
"""Width of a character of a label, in px: that of a wide font at 13 px, so that no text leaves its node."""

LONGEST = 28
"""Characters of a label or a detail; what is longer is clipped."""

PADDING = 16
"""Of a node, left of its text, in px; half of it right of the text."""

NARROWEST = 88.0
LOW, HIGH = 28.0, 44.0
"""Height of a node without a detail and with one, in px."""

WAY = 10.0
"""Height kept free for an edge that passes a layer, in px."""

APART = 10.0
"""Between the nodes of a layer, in px."""

BETWEEN = 56.0
"""Between layers, in px."""

MARGIN = 4.0


class Node(Part):
    """What is drawn as a box."""

    id: str
    label: str
    detail: str = ""
    """A second line, smaller."""
    layer: int
    """Its place from left to right; layers without nodes take no room."""
    href: str = ""
    """Where it leads; empty: nowhere."""
    classes: str = ""
    """CSS classes, such as `role-solver` or `chosen`."""


class Edge(Part):
    """A line from one node to another, by their ids; one whose node is not drawn is left out."""

    source: str
    target: str
    classes: str = ""


class Placed(Part):
    """A node with its place, in px from the top left corner."""

    node: Node
    label: str
    """As far as it fits."""
    detail: str
    x: float
    y: float
    width: float
    height: float


class Line(Part):
    """An edge as an SVG path."""

    edge: Edge
    d: str


class Drawing(Part):
    """A placed graph."""

    nodes: tuple[Placed, ...]
    """In the order they were given."""
    lines: tuple[Line, ...]
    width: float
    """In px."""
    height: float


def draw(nodes: Sequence[Node], edges: Sequence[Edge]) -> Drawing:
    """Place a graph.

    Args:
        nodes: With ids of their own; nodes that nothing else orders keep this order.
        edges: Within a layer and against the direction too.
    """
    if not nodes:
        return Drawing(nodes=(), lines=(), width=0, height=0)
    known = {node.id: node for node in nodes}
    shown = [e for e in dict.fromkeys(edges) if e.source in known and e.target in known and e.source != e.target]
    columns = _Columns(known, shown)
    columns.order()
    y = columns.heights_placed()
    x, widths = _columns_placed(columns.layers, known)
    placed = {
        id: Placed(
            node=node,
            label=clipped(node.label),
            detail=clipped(node.detail),
            x=x[columns.column[id]],
            y=round(y[id] - _height(node) / 2, 1),
            width=widths[columns.column[id]],
            height=_height(node),
        )
        for id, node in known.items()
    }
    return Drawing(
        nodes=tuple(placed.values()),
        lines=tuple(Line(edge=edge, d=_path(columns, edge, placed, y, x, widths)) for edge in shown),
        width=x[-1] + widths[-1] + MARGIN,
        height=round(max(y[id] + columns.room(id) / 2 for id in y) + MARGIN, 1),
    )


def clipped(text: str, longest: int = LONGEST) -> str:
    """A text in one line, cut to a width in characters, of which a wide one counts twice."""
    line = " ".join(text.split())
    if _width(line) <= longest:
        return line
    kept, used = "", 1
    for character in line:
        used += _width(character)
        if used > longest:
            break
        kept += character
    return kept.rstrip() + "…"


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _height(node: Node) -> float:
    return HIGH if node.detail else LOW


class _Columns:
    """The layers in order, in which an edge that passes some has a way point in each."""

    def __init__(self, nodes: Mapping[str, Node], edges: Sequence[Edge]) -> None:
        numbers = {layer: n for n, layer in enumerate(sorted({node.layer for node in nodes.values()}))}
        self.nodes = nodes
        self.column = {id: numbers[node.layer] for id, node in nodes.items()}
        self.layers: list[list[str]] = [[] for _ in numbers]
        for id in nodes:
            self.layers[self.column[id]].append(id)
        self.ways: dict[Edge, list[str]] = {}
        self.before: dict[str, list[str]] = {}
        self.after: dict[str, list[str]] = {}
        for number, edge in enumerate(edges):
            self._enter(edge, number)

    def _enter(self, edge: Edge, number: int) -> None:
        left, right = sorted((edge.source, edge.target), key=lambda id: self.column[id])
        passed = range(self.column[left] + 1, self.column[right])
        # No id of a node holds a NUL.
        ways = [f"\0{number}\0{column}" for column in passed]
        for way, column in zip(ways, passed, strict=True):
            self.layers[column].append(way)
            self.column[way] = column
        self.ways[edge] = ways
        if self.column[left] == self.column[right]:
            return
        chain = [left, *ways, right]
        for one, other in pairwise(chain):
            self.after.setdefault(one, []).append(other)
            self.before.setdefault(other, []).append(one)

    def room(self, id: str) -> float:
        """Height of a node or way point."""
        return _height(self.nodes[id]) if id in self.nodes else WAY

    def order(self) -> None:
        """Sort each layer by the mean place of its neighbours; the order with the fewest crossings stays."""
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            there = sweep % 2 == 0
            numbers = range(1, len(self.layers)) if there else range(len(self.layers) - 2, -1, -1)
            for number in numbers:
                beside = self.layers[number - 1 if there else number + 1]
                self._sort(self.layers[number], _places(beside), self.before if there else self.after)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    @staticmethod
    def _sort(layer: list[str], places: Mapping[str, int], neighbours: Mapping[str, list[str]]) -> None:
        # What has no neighbour there stays where it is.
        now = _places(layer)
        layer.sort(key=lambda id: _mean([places[n] for n in neighbours.get(id, ())], now[id]))

    def _crossings(self) -> int:
        found = 0
        for layer, following in pairwise(self.layers):
            places, ended = _places(following), list[int]()
            for id in layer:
                ends = sorted(places[other] for other in self.after.get(id, ()))
                found += sum(len(ended) - bisect_right(ended, end) for end in ends)
                for end in ends:
                    insort(ended, end)
        return found

    def heights_placed(self) -> dict[str, float]:
        """The middle of each node and way point, from the top."""
        y: dict[str, float] = {}
        for layer in self.layers:
            y.update(zip(layer, self._stacked(layer, [0.0] * len(layer)), strict=True))
        for sweep in range(SWEEPS):
            there = sweep % 2 == 0
            for layer in self.layers if there else reversed(self.layers):
                wanted = [self._wanted(id, y) for id in layer]
                y.update(zip(layer, self._stacked(layer, wanted), strict=True))
        top = min(y[id] - self.room(id) / 2 for id in y) - MARGIN
        return {id: middle - top for id, middle in y.items()}

    def _wanted(self, id: str, y: Mapping[str, float]) -> float:
        beside = [*self.before.get(id, ()), *self.after.get(id, ())]
        return _mean([y[other] for other in beside], y[id])

    def _stacked(self, layer: Sequence[str], wanted: Sequence[float]) -> list[float]:
        """Middles as near as can be to those wanted, in order and apart."""
        offsets, reached, last = list[float](), 0.0, 0.0
        for number, id in enumerate(layer):
            gap = APART if id in self.nodes else APART / 2
            reached += last / 2 + gap + self.room(id) / 2 if number else 0.0
            last = self.room(id)
            offsets.append(reached)
        rising = _isotonic([want - offset for want, offset in zip(wanted, offsets, strict=True)])
        return [value + offset for value, offset in zip(rising, offsets, strict=True)]


def _isotonic(values: Iterable[float]) -> list[float]:
    """The sequence that never falls and is nearest to the values, by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools.pop(-2), pools.pop()
            pools.append(((one * n + other * m) / (n + m), n + m))
    return [value for value, n in pools for _ in range(n)]


def _places(layer: Sequence[str]) -> dict[str, int]:
    return {id: place for place, id in enumerate(layer)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _columns_placed(layers: Sequence[Sequence[str]], nodes: Mapping[str, Node]) -> tuple[list[float], list[float]]:
    x, widths, reached = list[float](), list[float](), MARGIN
    for layer in layers:
        texts = [text for id in layer if id in nodes for text in (nodes[id].label, nodes[id].detail)]
        longest = max(_width(clipped(text)) for text in texts)
        x.append(round(reached, 1))
        widths.append(round(max(NARROWEST, longest * CHARACTER + 1.5 * PADDING), 1))
        reached = x[-1] + widths[-1] + BETWEEN
    return x, widths


def _path(
    columns: _Columns,
    edge: Edge,
    placed: Mapping[str, Placed],
    y: Mapping[str, float],
    x: Sequence[float],
    widths: Sequence[float],
) -> str:
    left, right = sorted((edge.source, edge.target), key=lambda id: columns.column[id])
    out = placed[left].x + placed[left].width
    if columns.column[left] == columns.column[right]:
        bow = out + BETWEEN * 0.7
        return f"M{_n(out)} {_n(y[left])}C{_n(bow)} {_n(y[left])} {_n(bow)} {_n(y[right])} {_n(out)} {_n(y[right])}"
    d, at = f"M{_n(out)} {_n(y[left])}", (out, y[left])
    for way in columns.ways[edge]:
        column = columns.column[way]
        d += _curve(at, (x[column], y[way])) + f"H{_n(x[column] + widths[column])}"
        at = (x[column] + widths[column], y[way])
    return d + _curve(at, (placed[right].x, y[right]))


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    middle = (start[0] + end[0]) / 2
    return f"C{_n(middle)} {_n(start[1])} {_n(middle)} {_n(end[1])} {_n(end[0])} {_n(end[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
