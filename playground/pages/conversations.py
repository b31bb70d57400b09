"""Conversations: what the agents said to each other about a task, beside the outline of all that were asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.conversation import conversation
from quintet.memory.reading.outline import Came, Place, Sought, families, places, rounds, worth_reading
from quintet.playground.asking import number
from quintet.playground.errors import NotFoundError
from quintet.playground.listing import around, outlined, page_of
from quintet.playground.rendering import page
from quintet.playground.site import Site
from quintet.playground.threads import thread
from quintet.playground.timeline import timelines
from quintet.records import EVALUATION, Task

ALL = "all"
"""May stand for a round: the tasks of all rounds. So may `EVALUATION`: its items."""


def conversations(request: Request) -> Response:
    """The outline, and the conversation that is worth reading first, or the one about `?task=`."""
    ledger = Site.of(request).run(request.path_params["run"])
    if task := request.query_params.get("task"):
        return _shown(request, ledger, task)
    place = worth_reading(ledger)
    if place is not None:
        return _shown(request, ledger, place.task, place.round)
    return page(request, "conversations_none.html", **_frame(request, ledger))


def of_task(request: Request) -> Response:
    """The conversation about a task, or with `?view=time` its steps in time; beside it the outline.

    htmx asks for the part that it swaps, and names it.
    """
    ledger = Site.of(request).run(request.path_params["run"])
    return _shown(request, ledger, request.path_params["task"])


def outline(request: Request) -> Response:
    """A page of the outline: the one with the open task, or `?page=`, from 0."""
    ledger = Site.of(request).run(request.path_params["run"])
    asked = request.query_params
    sought, current = _sought(asked, None), Place(number(asked.get("at", "")), asked.get("task", ""))
    found = places(ledger, sought)
    wanted = number(asked.get("page"))
    shown = outlined(ledger, found, page_of(found, current) if wanted is None else wanted, asked.get("edges", "both"))
    query = _query(sought)
    context = {"info": ledger.info, "outline": shown, "current": current, "query": query, "sought": sought}
    response = page(request, "conversations_outline.html", **context)
    if wanted is None:
        # The filters were changed: the address is to say so.
        at = [] if current.round in (None, sought.round) else [f"at={current.round}"]
        where = f"tasks/{quote(current.task, safe='')}" if current.task else "conversations"
        response.headers["HX-Replace-Url"] = f"/runs/{quote(ledger.run, safe='')}/{where}?{'&'.join([query, *at])}"
    return response


def _shown(request: Request, ledger: RunLedger, id: str, at: int | None = None) -> Response:
    asked = request.query_params
    task = Site.of(request).record(ledger, id)
    if not isinstance(task, Task):
        raise NotFoundError(f"{id} is no task, and only tasks have a conversation")
    part = "" if request.headers.get("hx-history-restore-request") else request.headers.get("hx-target", "")
    context: dict[str, Any] = {"task": task, "truth": asked.get("truth") == "show", "asked": asked}
    if part == "truth":
        return page(request, "conversations_truth.html", info=ledger.info, **context)
    found = conversation(ledger, task)
    said = thread(found)
    times = [talk.round for talk in said.talks if talk.proposals]
    wanted = at if at is not None else number(asked.get("at") or asked.get("round", ""))
    current = Place(wanted if wanted in times else max(times, default=None), task.id)
    sought = _sought(asked, current.round)
    listed = places(ledger, sought)
    timed = timelines(found) if asked.get("view") == "time" else None
    context |= {"found": found, "thread": said, "times": times, "current": current, "timelines": timed}
    context |= {"around": around(listed, current), "sought": sought, "query": _query(sought)}
    if part == "conversation":
        return page(request, "conversations_pane.html", info=ledger.info, **context)
    turned = number(asked.get("page"))
    shown = outlined(ledger, listed, page_of(listed, current) if turned is None else turned)
    return page(request, "conversations.html", **context, **_frame(request, ledger), outline=shown)


def _frame(request: Request, ledger: RunLedger) -> dict[str, Any]:
    """What surrounds the conversation: the run, and what the outline can be filtered by."""
    names, held_out = families(ledger)
    filters = {"rounds": rounds(ledger), "families": names, "held_out": held_out}
    return {**Site.of(request).of_run(ledger, "Conversations"), **filters}


def _sought(asked: Mapping[str, str], default: int | None) -> Sought:
    """The filters of a query; without a round in it, `default`."""
    round, came = asked.get("round", ""), asked.get("came", "")
    known = round in (EVALUATION, ALL) or number(round) is not None
    return Sought(
        round=number(round) if known else default,
        held_out=round == EVALUATION,
        family=asked.get("family", ""),
        came=came if came in get_args(Came) else "",
        words=asked.get("q", "").strip(),
    )


def _query(sought: Sought) -> str:
    """The same as a query, without `?`."""
    round = EVALUATION if sought.held_out else ALL if sought.round is None else str(sought.round)
    named = {"round": round, "family": sought.family, "came": sought.came, "q": sought.words}
    return urlencode({name: value for name, value in named.items() if value})


routes = [
    Route("/runs/{run}/conversations", conversations),
    Route("/runs/{run}/outline", outline),
    Route("/runs/{run}/tasks/{task}", of_task),
]
