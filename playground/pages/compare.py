"""Two adapters of a run, or of two runs, on the same suite: the paired test, and which items flipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.graph.adapters import standing
from quintet.memory.ledger import Ledger, RunLedger
from quintet.playground.asking import number
from quintet.playground.differing import Piece, pieces, settings
from quintet.playground.errors import NotFoundError
from quintet.playground.pages.runs import line
from quintet.playground.pairs import SHOWN, Item, Pairing, narrowed, pairing
from quintet.playground.rendering import CAP, page, short
from quintet.playground.sides import SUITES, Side, Sides, href, sides
from quintet.playground.site import Site
from quintet.records import BASE, Adapter, Decision, Evaluation, Part, Verification

AT_ONCE = 50
"""Items shown at once."""

FILTERS = ("show", "family", "level", "q")


class Shown(Part):
    """An item with what differs in the two answers."""

    number: int
    """Its place in the left side's suite, from 1."""
    item: Item
    left: list[Piece]
    """Empty where the answer is too long to be marked."""
    right: list[Piece]


class Page(Part):
    """Some of the items that fit the filters."""

    items: list[Shown]
    of: int
    """How many fit."""
    first: int
    after: int | None
    """Where the rest begins, if there is one."""


def compare(request: Request) -> Response:
    """The comparison; what the address leaves open is filled sensibly."""
    site, asked = Site.of(request), request.query_params
    try:
        ledgers = site.ledger()
        empty = not ledgers.runs()
    except NotFoundError:
        empty = True
    if empty:
        return page(request, "compare_empty.html")
    chosen = sides(ledgers, asked)
    lefts, rights = RunLedger(ledgers, chosen.left.run), RunLedger(ledgers, chosen.right.run)
    found = _pairing(site, lefts, rights, chosen)
    return page(
        request,
        "compare.html",
        chosen=chosen,
        choices=_choices(ledgers),
        suites=SUITES,
        names=_names(chosen),
        fates={side.chosen: _status(RunLedger(ledgers, side.run), side) for side in (chosen.left, chosen.right)},
        found=found,
        basis=_basis(lefts, chosen) if chosen.left.run == chosen.right.run else None,
        offered=[(pair, href(pair.left, pair.right, pair.suite, round=pair.round)) for pair in chosen.offered],
        swapped=href(chosen.right, chosen.left, chosen.suite, round=chosen.pair.round if chosen.pair else ""),
        runs=_runs(site, lefts, rights) if lefts.run != rights.run else None,
        **_listed(chosen, found, asked),
    )


def items(request: Request) -> Response:
    """The items alone, as the filters narrow them, from `?after=` on."""
    site, asked = Site.of(request), request.query_params
    ledgers = site.ledger()
    chosen = sides(ledgers, asked)
    found = _pairing(site, RunLedger(ledgers, chosen.left.run), RunLedger(ledgers, chosen.right.run), chosen)
    context = _listed(chosen, found, asked)
    response = page(request, "compare_items.html", chosen=chosen, found=found, names=_names(chosen), **context)
    if "after" not in asked:
        response.headers["hx-push-url"] = str(context["narrow"])
    return response


def _pairing(site: Site, lefts: RunLedger, rights: RunLedger, chosen: Sides) -> Pairing | None:
    if chosen.pair is None:
        return None
    left, right = site.record(lefts, chosen.pair.ids[0]), site.record(rights, chosen.pair.ids[1])
    if not isinstance(left, Evaluation) or not isinstance(right, Evaluation):
        raise NotFoundError(f"{left.id} and {right.id} are not two evaluations")
    return pairing(lefts, rights, left, right)


def _listed(chosen: Sides, found: Pairing | None, asked: Mapping[str, str]) -> dict[str, Any]:
    """The items that the filters leave, some of them, and the addresses of others."""
    filters = {name: asked.get(name, "") for name in FILTERS}
    flips = found is not None and found.counts["flipped"] > 0
    if filters["show"] not in SHOWN:
        filters["show"] = "flipped" if flips else "all"
    fitting = narrowed(found.items, filters) if found else []
    first = number(asked.get("after")) or 0
    some = [_marked(item) for item in fitting[first : first + AT_ONCE]]
    after = first + AT_ONCE if first + AT_ONCE < len(fitting) else None
    here: dict[str, Any] = {"round": chosen.pair.round if chosen.pair else "", **filters}
    shown = {name: href(chosen.left, chosen.right, chosen.suite, **{**here, "show": name}) + "#items" for name in SHOWN}
    return {
        "filters": filters,
        "listed": Page.model_construct(items=some, of=len(fitting), first=first, after=after),
        "shown": shown,
        "narrow": href(chosen.left, chosen.right, chosen.suite, **here),
        "more": href(chosen.left, chosen.right, chosen.suite, **here, after=after) if after else "",
    }


def _marked(item: Item) -> Shown:
    short_enough = max(len(item.left.text), len(item.right.text)) <= CAP
    left, right = pieces(item.left.text, item.right.text) if short_enough else ([], [])
    return Shown.model_construct(number=item.places[0] + 1, item=item, left=left, right=right)


def _names(chosen: Sides) -> dict[str, str]:
    """What the two are called on the page: as short as tells them apart."""
    names = {}
    for name, side, other in (("left", chosen.left, chosen.right), ("right", chosen.right, chosen.left)):
        parts = [side.run] if side.run != other.run else []
        parts += [short(side.adapter)] if side.adapter != other.adapter else []
        parts += [side.strategy] if side.strategy != other.strategy else []
        names[name] = " · ".join(parts) or short(side.adapter)
    return names


def _status(ledger: RunLedger, side: Side) -> str:
    return "" if side.adapter == BASE else standing(ledger).status.get(side.adapter, "")


def _choices(ledgers: Ledger) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every run with its adapters."""
    return [
        (
            info.run,
            [(BASE, "base model")]
            + [(one.id, f"{short(one.id)}, round {one.round}") for one in RunLedger(ledgers, info.run).find(Adapter)],
        )
        for info in ledgers.runs()
    ]


def _basis(ledger: RunLedger, chosen: Sides) -> Decision | Verification | None:
    """What the run concluded from just these two evaluations, if it did."""
    if chosen.pair is None:
        return None
    ids = chosen.pair.ids
    for verdict in ledger.find(Verification):
        if (verdict.base, verdict.promoted) == ids:
            return verdict
    return next((one for one in ledger.find(Decision) if ids in (one.evaluations[:2], one.evaluations[2:4])), None)


def _runs(site: Site, lefts: RunLedger, rights: RunLedger) -> dict[str, Any]:
    """Two runs beside each other."""
    decided = [{one.round: one for one in ledger.find(Decision)} for ledger in (lefts, rights)]
    return {
        "settings": settings(lefts.info.settings, rights.info.settings),
        "rounds": [(number, *(of.get(number) for of in decided)) for number in sorted({*decided[0], *decided[1]})],
        "lines": (line(site, lefts), line(site, rights)),
    }


routes = [Route("/compare", compare), Route("/compare/items", items)]
