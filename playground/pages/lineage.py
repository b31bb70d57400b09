"""Lineage: where a record came from and what came of it, drawn, and as a list that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.kinship import Fan, Kin, Kinship, Way, kinship
from quintet.memory.reading.trainset import choice_of
from quintet.playground.drawing import Drawing, Edge, Node, draw
from quintet.playground.layers import layers, needed
from quintet.playground.naming import Named, named, numbered
from quintet.playground.rendering import count, hue, page, short, url
from quintet.playground.site import Site
from quintet.records import Attempt, Contrast, Part, Row, Selection, Task


class Bundle(Part):
    """Relatives of one kind that are counted only."""

    id: str
    text: str
    href: str


class Branch(Part):
    """A relative in the list, with those that were reached by it."""

    id: str
    named: Named | None = None
    """`None` where the run lacks the record."""
    branches: tuple[Branch, ...] = ()
    fans: tuple[Bundle, ...] = ()


def lineage(request: Request) -> Response:
    """The lineage of a record."""
    site = Site.of(request)
    ledger, id = site.run(request.path_params["run"]), request.path_params["id"]
    record = site.record(ledger, id)
    kin = kinship(ledger, id)
    numbers = numbered(ledger, [one.event for one in kin.kin.values() if one.event])
    about = _named(kin.kin[id], numbers)
    return page(
        request,
        "lineage.html",
        **site.of_run(ledger),
        run=ledger.run,
        id=id,
        title=about.title if about else short(id),
        about=about,
        choice=choice_of(ledger, id) if isinstance(record, Row | Contrast | Selection | Attempt) else None,
        drawing=_drawing(ledger, kin, numbers),
        up=_branches(ledger, kin, "up", numbers),
        down=_branches(ledger, kin, "down", numbers),
        cut=kin.cut,
        task=id if isinstance(record, Task) else getattr(record, "task", None),
    )


def _drawing(ledger: RunLedger, kin: Kinship, numbers: Mapping[str, int]) -> Drawing:
    bundles = [(fan, _bundle(ledger, kin, fan)) for fan in kin.fans]
    links = [*kin.links, *((b.id, fan.of) if fan.way == "up" else (fan.of, b.id) for fan, b in bundles)]
    # What was recorded first is drawn first.
    order = sorted(kin.kin.values(), key=lambda one: one.event.seq if one.event else 0)
    at = layers([*(one.id for one in order), *(bundle.id for _, bundle in bundles)], links)
    nodes = [_node(ledger, one, _named(one, numbers), at[one.id], one.id == kin.id) for one in order]
    nodes += [
        Node(id=bundle.id, label=bundle.text, layer=at[bundle.id], href=bundle.href, classes="bundle")
        for _, bundle in bundles
    ]
    return draw(nodes, [Edge(source=parent, target=child) for parent, child in needed(links)])


def _node(ledger: RunLedger, one: Kin, about: Named | None, layer: int, chosen: bool) -> Node:
    if about is None:
        return Node(
            id=one.id, label=short(one.id), detail="in another run", layer=layer, href=f"/records/{url(one.id)}"
        )
    return Node(
        id=one.id,
        label=about.title,
        detail=about.gist,
        layer=layer,
        href=f"/runs/{url(ledger.run)}/lineage/{url(one.id)}",
        classes=" ".join([hue(about.role)] * bool(about.role) + ["chosen"] * chosen),
    )


def _branches(
    ledger: RunLedger, kin: Kinship, way: Way, numbers: Mapping[str, int]
) -> tuple[tuple[Branch, ...], tuple[Bundle, ...]]:
    """The tree of one way from the record in the middle, and what that itself has too many of."""
    under: dict[str, list[Kin]] = {}
    for one in kin.kin.values():
        if one.depth and one.way == way:
            under.setdefault(one.via, []).append(one)
    fans: dict[str, list[Bundle]] = {}
    for fan in kin.fans:
        if fan.way == way:
            fans.setdefault(fan.of, []).append(_bundle(ledger, kin, fan))

    def grown(id: str) -> tuple[Branch, ...]:
        return tuple(
            Branch(id=one.id, named=_named(one, numbers), branches=grown(one.id), fans=tuple(fans.get(one.id, ())))
            for one in under.get(id, ())
        )

    return grown(kin.id), tuple(fans.get(kin.id, ()))


def _bundle(ledger: RunLedger, kin: Kinship, fan: Fan) -> Bundle:
    some = any(
        one.via == fan.of and one.way == fan.way and one.id.startswith(f"{fan.kind}-") for one in kin.kin.values()
    )
    plural = "" if fan.count == 1 else "s"
    asked = {"led-to" if fan.way == "up" else "came-of": fan.of, "kind": fan.kind}
    href = f"/runs/{url(ledger.run)}/events?{urlencode(asked)}"
    if fan.kind == Row.kind and fan.of.startswith("adapter-"):
        href = f"/runs/{url(ledger.run)}/rows?{urlencode({'adapter': fan.of})}"
    # No record's id has a space.
    return Bundle(
        id=f"{fan.of} {fan.way} {fan.kind}",
        text=f"{count(fan.count)} {'more ' if some else ''}{fan.kind}{plural}",
        href=href,
    )


def _named(one: Kin, numbers: Mapping[str, int]) -> Named | None:
    return named(one.event, numbers) if one.event else None


routes = [Route("/runs/{run}/lineage/{id}", lineage)]
