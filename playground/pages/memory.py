"""A run's memory: searched by meaning, how often what was recalled, what was retired and why."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.agents.strategies.personas import newest
from quintet.memory.browsing import embedder_of, search, settings_of
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import preview
from quintet.memory.reading.recalled import gone, recalls, remembers, retirements, uses
from quintet.memory.views import Asked, Kind, Searched, said
from quintet.playground.asking import number
from quintet.playground.rendering import page, url
from quintet.playground.site import Site
from quintet.records import BASE, Adapter, Lesson, Part, Persona, Record, Retirement, Row, Skill, Task

if TYPE_CHECKING:
    from quintet.memory.embedder import Embeds

AT_ONCE = 50
"""Recalls and retirements shown at once."""

NEAREST, MOST = 20, 200
"""Memories that a search shows at first, and at most."""

ASKED = ("q", "kind", "family", "level", "round", "adapter", "retired")
"""What a search is made of."""


class Told(Part):
    """A memory in a line."""

    id: str
    kind: str
    text: str
    """What it says."""
    question: str = ""
    """Of its task, where that says more."""
    task: str | None = None
    """Whose conversation it was made in."""


class Searching:
    """Searches of this process, one at a time: with an embedder that stays loaded, and one claim on the index."""

    def __init__(self) -> None:
        """Nothing is loaded before the first search."""
        self._one = threading.Lock()
        self._embedders: dict[tuple[str, int], Embeds] = {}

    def search(self, site: Site, ledger: RunLedger, asked: Asked) -> Searched:
        """The memories nearest to a text.

        Raises:
            LedgerError: The embedder cannot be loaded, or the ledger read.
        """
        settings = settings_of(ledger)
        with self._one:
            key = (settings.embedder, settings.embed_batch)
            embedder = self._embedders.setdefault(key, embedder_of(settings))
            # A page never mends an index, which would lock out runs meanwhile.
            return search(site.path, asked, ledger.run, embedder, mend=False)


def memory(request: Request) -> Response:
    """The page; without `?q=` it shows what was recalled and retired, else the search begins once it is there."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    known, given = remembers(ledger), _given(request.query_params)
    # Without scripts, nothing would fetch the answer.
    now = bool(request.query_params.get("now"))
    below = "overview" if not given["q"] else "found" if now else ""
    parts = {"overview": lambda: _overview(site, ledger), "found": lambda: _found(site, ledger, request.query_params)}
    return page(
        request,
        "memory.html",
        **site.of_run(ledger, "Memory"),
        given=given,
        known=known,
        adapters=[BASE, *(adapter.id for adapter in ledger.find(Adapter))],
        kinds=get_args(Kind),
        below=below,
        address=_address(ledger, "/found", request.query_params),
        **(parts[below]() if below else {}),
    )


def found(request: Request) -> Response:
    """What a search found, as a part of the page; without `?q=`, what was recalled and retired."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    known = remembers(ledger)
    context: dict[str, Any] = {"given": _given(request.query_params), "known": known, **site.of_run(ledger, "Memory")}
    if context["given"]["q"]:
        response = page(request, "memory_found.html", **context, **_found(site, ledger, request.query_params))
    else:
        response = page(request, "memory_overview.html", **context, **_overview(site, ledger))
    response.headers["hx-push-url"] = _address(ledger, "", request.query_params)
    return response


def counts(request: Request) -> Response:
    """How much is remembered now."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    context = {**site.of_run(ledger, "Memory"), "known": remembers(ledger), "recalled": recalls(ledger, 0)}
    return page(request, "memory_counts.html", **context)


def recalled_in(request: Request) -> Response:
    """When a memory was recalled, the latest first, from `?before=` on."""
    site, asked = Site.of(request), request.query_params
    ledger, id = site.run(request.path_params["run"]), request.path_params["id"]
    found = uses(ledger, id, number(asked.get("before")), AT_ONCE)
    return page(request, "memory_uses.html", run=ledger.run, id=id, uses=found, more=len(found) == AT_ONCE)


def retired(request: Request) -> Response:
    """What was retired and restored, the latest first, from `?before=` on."""
    site, asked = Site.of(request), request.query_params
    ledger = site.run(request.path_params["run"])
    context = _retirements(ledger, number(asked.get("before")))
    return page(request, "memory_retired.html", run=ledger.run, workspace=site.path, **context)


def _given(asked: Mapping[str, str]) -> dict[str, str]:
    given = {name: asked.get(name, "").strip() for name in ASKED}
    return {**given, "kind": given["kind"] if given["kind"] in get_args(Kind) else ""}


def _address(ledger: RunLedger, part: str, asked: Mapping[str, str], **more: object) -> str:
    given = {name: value for name, value in {**_given(asked), **more}.items() if value}
    return f"/runs/{url(ledger.run)}/memory{part}" + (f"?{urlencode(given)}" if given else "")


def _found(site: Site, ledger: RunLedger, asked: Mapping[str, str]) -> dict[str, Any]:
    given = _given(asked)
    count = min(number(asked.get("count")) or NEAREST, MOST)
    level, round = number(given["level"]), number(given["round"])
    wanted = Asked(
        text=given["q"],
        kinds=(given["kind"],) if given["kind"] else get_args(Kind),
        family=given["family"] or None,
        levels=() if level is None else (level,),
        since=round,
        before=None if round is None else round + 1,
        adapter=given["adapter"] or None,
        count=count,
        retired=bool(given["retired"]),
    )
    try:
        searched = site.keep("searching", Searching).search(site, ledger, wanted)
    except LedgerError as error:
        return {"searched": None, "failed": str(error)}
    records = ledger.get_many([one.id for one in searched.found])
    more = count < MOST and len(searched.found) == count
    return {
        "searched": searched,
        "failed": "",
        "told": {id: _told(ledger, record) for id, record in records.items()},
        "more": _address(ledger, "/found", asked, count=count + NEAREST) if more else "",
        "workspace": site.path,
    }


def _overview(site: Site, ledger: RunLedger) -> dict[str, Any]:
    recalled, settings = recalls(ledger, AT_ONCE), settings_of(ledger)
    records = ledger.get_many([one.id for one in recalled.often])
    place = site.workspace()
    holder = place.holder()
    return {
        "recalled": recalled,
        "often": {id: _told(ledger, record) for id, record in records.items()},
        "index": settings.index or str(place.chroma),
        "holder": holder,
        "workspace": site.path,
        "skills": ledger.find(Skill)[: -AT_ONCE - 1 : -1],
        **_personas(ledger),
        **_retirements(ledger, None),
    }


def _personas(ledger: RunLedger) -> dict[str, Any]:
    """Personas that were tried, the latest first, and the ids of those that the strategy `persona` uses."""
    found = ledger.find(Persona)
    return {
        "personas": found[::-1],
        "in_use": {last.id for role in {one.role for one in found} if (last := newest(ledger, role))},
    }


def _retirements(ledger: RunLedger, before: int | None) -> dict[str, Any]:
    found = retirements(ledger, before, AT_ONCE)
    records = ledger.get_many({one.record.memory for one in found if isinstance(one.record, Retirement)})
    return {
        "turns": found,
        "gone": gone(ledger),
        "turned": {id: _told(ledger, record) for id, record in records.items()},
        "earlier": found[-1].seq if len(found) == AT_ONCE else None,
    }


def _told(ledger: RunLedger, record: Record) -> Told:
    match record:
        case Task():
            return Told(id=record.id, kind=record.kind, text=record.question, task=record.id)
        case Lesson() | Row() | Skill():
            text = said(record)
            task = ledger.get(record.task)
            question = task.question if isinstance(task, Task) and task.question not in text else ""
            return Told(id=record.id, kind=record.kind, text=text, question=question, task=record.task)
        case _:
            return Told(id=record.id, kind=record.kind, text=preview(record))


routes = [
    Route("/runs/{run}/memory", memory),
    Route("/runs/{run}/memory/found", found),
    Route("/runs/{run}/memory/counts", counts),
    Route("/runs/{run}/memory/retired", retired),
    Route("/runs/{run}/memory/{id}/recalls", recalled_in),
]
