"""Everything that a run recorded, in order, a line each."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.memory.ledger import Event, RunLedger
from quintet.memory.lineage import preview
from quintet.memory.reading.chronicle import Wanted, choices, count, told
from quintet.playground.asking import DIGITS, number
from quintet.playground.naming import speaker
from quintet.playground.rendering import page, url
from quintet.playground.site import Site
from quintet.records import Part, Stage

AT_ONCE = 100
"""Events of a page."""

END = 10**DIGITS
"""Above any `seq`."""


class Line(Part):
    """An event in the list."""

    event: Event
    role: str
    preview: str
    since: str
    """Hours, minutes and seconds since the run began."""
    dim: bool
    """Whether it is the machinery's, and says nothing of what was learnt."""


class Chunk(Part):
    """A page of events, and where the next is; empty where there is none, or none yet."""

    lines: tuple[Line, ...]
    more: str = ""
    """What follows."""
    tail: str = ""
    """What will follow, once there is news."""
    head: str = ""
    """What will stand above, once there is news."""


def events(request: Request) -> Response:
    """Events by `?kind=`, `?role=`, `?round=`, `?q=`, `?came-of=` and `?led-to=`; `?order=newest`: the latest first.

    `?after=` and `?before=` say from which `seq` on.
    """
    site = Site.of(request)
    ledger, query = site.run(request.path_params["run"]), request.query_params
    context = site.of_run(ledger, "Events")
    wanted, newest = _wanted(request), query.get("order") == "newest"
    shown: dict[str, Any] = {
        "run": ledger.run,
        "wanted": wanted,
        "newest_first": newest,
        "chunk": _chunk(ledger, wanted, newest, number(query.get("after")), number(query.get("before")), context),
        "link": lambda **changes: _address(ledger, wanted.model_copy(update=changes), newest),
        "turned": _address(ledger, wanted, not newest),
    }
    partly = request.headers.get("hx-request")
    if partly and ("after" in query or "before" in query):
        return page(request, "events_rows.html", **shown)
    # A search reads what it counts: once is enough.
    shown["total"] = None if wanted.text else count(ledger, wanted)
    if partly:
        return page(request, "events_table.html", **shown)
    return page(request, "events.html", **context, **shown, choices=choices(ledger))


def _chunk(
    ledger: RunLedger, wanted: Wanted, newest: bool, after: int | None, before: int | None, context: dict[str, Any]
) -> Chunk:
    running, start = context["status"] == "running", context["info"].started
    if newest and after is not None:
        # News for the top: from where the page ends, so that nothing is missed however much it is.
        found = told(ledger, wanted, after=after, limit=AT_ONCE)
        head = _address(ledger, wanted, newest, after=found[-1].seq if found else after)
        return Chunk(lines=tuple(_line(event, start) for event in reversed(found)), head=head if running else "")
    last = before if before is not None else END
    found = (
        told(ledger, wanted, before=last, limit=AT_ONCE + 1)
        if newest
        else told(ledger, wanted, after=after or 0, limit=AT_ONCE + 1)
    )
    more, found = len(found) > AT_ONCE, found[:AT_ONCE]
    lines = tuple(_line(event, start) for event in found)
    if newest:
        at = found[-1].seq if found else 0
        above = found[0].seq if found else 0
        return Chunk(
            lines=lines,
            more=_address(ledger, wanted, newest, before=at) if more else "",
            head=_address(ledger, wanted, newest, after=above) if running and before is None else "",
        )
    following = _address(ledger, wanted, newest, after=found[-1].seq if found else after or 0)
    return Chunk(lines=lines, more=following if more else "", tail=following if running and not more else "")


def _line(event: Event, start: float) -> Line:
    minutes, seconds = divmod(max(round(event.time - start), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return Line(
        event=event,
        role=speaker(event.kind, event.role),
        preview=preview(event.record),
        since=f"{hours}:{minutes:02}:{seconds:02}",
        dim=event.kind == Stage.kind,
    )


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    return Wanted(
        kind=query.get("kind", ""),
        role=query.get("role", ""),
        round=number(query.get("round")),
        text=query.get("q", "").strip(),
        came_of=query.get("came-of", ""),
        led_to=query.get("led-to", ""),
    )


def _address(ledger: RunLedger, wanted: Wanted, newest: bool, **more: int) -> str:
    query = {
        "kind": wanted.kind,
        "role": wanted.role,
        "round": wanted.round,
        "q": wanted.text,
        "came-of": wanted.came_of,
        "led-to": wanted.led_to,
        "order": "newest" if newest else "",
        **more,
    }
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"/runs/{url(ledger.run)}/events" + (f"?{urlencode(given)}" if given else "")


routes = [Route("/runs/{run}/events", events)]
