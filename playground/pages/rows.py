"""The training set: why each row is in it and what came of it; and why the other attempts are not."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.trainset import ANY, Choice, Sought, asked, choices, counts, fates_of
from quintet.playground.asking import number
from quintet.playground.rendering import page, short, url
from quintet.playground.site import Site
from quintet.records import Adapter

AT_ONCE = 50
"""Rows of a page."""


def rows(request: Request) -> Response:
    """Rows, or with `?left-out=` attempts that became none; by `?round=`, `?family=`, `?adapter=`, `?q=`."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    sought, after = _sought(request), number(request.query_params.get("after")) or 0
    listed, following = _page(ledger, sought, after)
    shown = {"run": ledger.run, "sought": sought, "listed": listed, "following": following}
    partly = request.headers.get("hx-request")
    if partly and after:
        return page(request, "rows_page.html", **shown)
    shown["counts"] = counts(ledger, sought.round, sought.family)
    shown["link"] = lambda **changes: _address(ledger, sought.model_copy(update=changes))
    if partly:
        return page(request, "rows_list.html", status=200, **shown)
    rounds, families = asked(ledger)
    fates = fates_of(ledger, [adapter.id for adapter in ledger.find(Adapter)])
    adapters = {
        id: short(id) + (f", {_word(fate.decision.promoted)}" if fate.decision else "") for id, fate in fates.items()
    }
    return page(
        request,
        "rows.html",
        **site.of_run(ledger, "Rows"),
        **shown,
        after=after,
        rounds=rounds,
        families=families,
        adapters=adapters,
        ANY=ANY,
    )


def _word(promoted: bool) -> str:
    return "promoted" if promoted else "rejected"


def _sought(request: Request) -> Sought:
    query = request.query_params
    return Sought(
        round=number(query.get("round")),
        family=query.get("family", ""),
        adapter=query.get("adapter", ""),
        text=query.get("q", "").strip(),
        reason=query.get("left-out", ""),
    )


def _page(ledger: RunLedger, sought: Sought, after: int) -> tuple[list[Choice], str]:
    """A page, and where the next one is; empty after the last."""
    listed = choices(ledger, sought, after, AT_ONCE + 1)
    more = len(listed) > AT_ONCE
    listed = listed[:AT_ONCE]
    return listed, _address(ledger, sought, after=listed[-1].seq) if more else ""


def _address(ledger: RunLedger, sought: Sought, **more: int) -> str:
    query = {
        "round": sought.round,
        "family": sought.family,
        "adapter": sought.adapter,
        "q": sought.text,
        "left-out": sought.reason,
        **more,
    }
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"/runs/{url(ledger.run)}/rows" + (f"?{urlencode(given)}" if given else "")


routes = [Route("/runs/{run}/rows", rows)]
