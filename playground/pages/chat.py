"""Two sides of a run answer the same question: the base model and an adapter, or any two."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from quintet.agents.strategies import answering
from quintet.graph.adapters import known, standing
from quintet.graph.errors import LoopError
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Holder
from quintet.playground.errors import NotFoundError
from quintet.playground.rendering import page
from quintet.playground.site import Site
from quintet.playground.talking import ANSWER_SECONDS, IDLE_SECONDS, Question, Talk
from quintet.records import BASE, Adapter

LARGEST = 1_000_000
"""Bytes of a question with all that was said before."""


def chat(request: Request) -> Response:
    """The page, for `?run=` (the newest), `?left=` (`base`) and `?right=` (the promoted adapter)."""
    site, asked = _offered(request), request.query_params
    try:
        runs = site.ledger().runs()
    except NotFoundError:
        runs = []
    if not runs:
        return page(request, "chat.html", runs=[], info=None)
    ledger = site.run(asked.get("run") or runs[0].run)
    now = standing(ledger)
    return page(
        request,
        "chat.html",
        runs=[info.run for info in runs],
        info=ledger.info,
        adapters=[(BASE, "base model"), *((one.id, now.status[one.id]) for one in ledger.find(Adapter))],
        left=_known(ledger, asked.get("left") or BASE),
        right=_known(ledger, asked.get("right") or now.incumbent),
        strategies=answering(),
        seconds=ANSWER_SECONDS,
        **_state(site),
    )


def state(request: Request) -> Response:
    """Whether the model is loaded, and whether it could be."""
    return page(request, "chat_state.html", **_state(_offered(request)))


async def ask(request: Request) -> Response:
    """Both sides' answers, as lines of JSON (see `Told`), while they come."""
    site = _offered(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        # A form of another page could send the others unasked.
        return PlainTextResponse("a question is asked as application/json\n", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return PlainTextResponse("the conversation is too long: begin a new one\n", 413)
    try:
        question = Question.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        return PlainTextResponse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}\n", 400)
    question, holder = await run_in_threadpool(_checked, site, question)
    if holder is not None:
        return PlainTextResponse(f"{_in_use(holder)}\n", 409)
    return StreamingResponse(_told(_talk(site), question), media_type="application/x-ndjson")


def leave(request: Request) -> Response:
    """Let go of the model."""
    site = _offered(request)
    _talk(site).leave()
    return page(request, "chat_state.html", **_state(site))


async def _told(talk: Talk, question: Question) -> AsyncIterator[str]:
    telling = talk.ask(question)
    try:
        async for told in telling:
            yield told.model_dump_json(exclude_defaults=True) + "\n"
    finally:
        # At once, not when it is collected: whoever left stops the answer.
        await telling.aclose()


def _offered(request: Request) -> Site:
    site = Site.of(request)
    if not site.chat:
        raise NotFoundError("the chat is not offered here: begin with quintet playground --chat")
    return site


def _talk(site: Site) -> Talk:
    return site.keep("talk", lambda: Talk(site.path))


def _known(ledger: RunLedger, adapter: str) -> str:
    try:
        return known(ledger, adapter)
    except LoopError as error:
        raise NotFoundError(str(error)) from error


def _checked(site: Site, question: Question) -> tuple[Question, Holder | None]:
    """The question with full ids, and who keeps the model from answering, if somebody does."""
    ledger = site.run(question.run)
    left, right = (_known(ledger, adapter) for adapter in question.adapters)
    return question.model_copy(update={"adapters": (left, right)}), _other(site)


def _other(site: Site) -> Holder | None:
    """Who else holds the workspace."""
    holder = site.workspace().holder()
    return holder if holder is not None and holder.pid != os.getpid() else None


def _in_use(holder: Holder) -> str:
    return f"the workspace is in use by {holder.run} (pid {holder.pid}): ask again once that has ended"


def _state(site: Site) -> dict[str, Any]:
    holder = _other(site)
    return {"holding": _talk(site).holding, "in_use": _in_use(holder) if holder else "", "idle": IDLE_SECONDS}


routes = [
    Route("/chat", chat),
    Route("/chat/state", state),
    Route("/chat/ask", ask, methods=["POST"]),
    Route("/chat/leave", leave, methods=["POST"]),
]
