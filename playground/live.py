"""Tells a page what a run records, as it records it: server-sent events, each with the ledger's own number.

A browser that lost the connection says which number it saw last, so that nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.graph.report import state
from quintet.memory.events import Event
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import preview
from quintet.playground.asking import number
from quintet.playground.site import Site

POLL_SECONDS = 0.5
"""How often the ledger is asked for news."""

AT_ONCE = 200
"""Events read at once."""


async def stream(request: Request) -> Response:
    """What a run records after `Last-Event-ID`, or after `?after=`, one message an event; `end` once it is over."""
    site = Site.of(request)
    ledger = await run_in_threadpool(site.run, request.path_params["run"])
    seen = number(request.headers.get("last-event-id") or request.query_params.get("after")) or 0
    return EventSourceResponse(_news(site, ledger, seen), ping=15)


async def _news(site: Site, ledger: RunLedger, seen: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        # Asked before the events are read: what is recorded in between is then still told.
        standing = await run_in_threadpool(_standing, site, ledger)
        found = await run_in_threadpool(ledger.events, seen, AT_ONCE)
        for event in found:
            seen = event.seq
            yield ServerSentEvent(_told(event), event="record", id=str(event.seq))
        if len(found) == AT_ONCE:
            continue
        if standing != "running":
            yield ServerSentEvent(standing, event="end", id=str(seen))
            return
        await asyncio.sleep(POLL_SECONDS)


def _standing(site: Site, ledger: RunLedger) -> str:
    return state(ledger.info, site.workspace())


def _told(event: Event) -> str:
    fields = ("seq", "id", "kind", "round", "role", "task", "time", "seconds", "tokens")
    return json.dumps({name: getattr(event, name) for name in fields} | {"preview": preview(event.record)})


routes = [Route("/runs/{run}/stream", stream)]
