"""The application: routes, guard and what is shown when something goes wrong."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from quintet.memory.errors import LedgerError
from quintet.playground import live
from quintet.playground.errors import NotFoundError
from quintet.playground.guard import HEADERS, Guard
from quintet.playground.pages import PAGES
from quintet.playground.rendering import page
from quintet.playground.site import Site


def create_app(workspace: Path, *, host: str = "127.0.0.1", token: str = "", chat: bool = False) -> Starlette:
    """The playground of a workspace, as an ASGI application.

    Args:
        workspace: Its folder; it may be empty, or not be there yet.
        host: The address that will be listened on.
        token: What a visitor must know; empty: nothing.
        chat: Whether the chat page is offered, which loads the model.
    """
    site = Site(workspace, chat=chat)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        site.close()

    app = Starlette(
        routes=[
            *(route for page in PAGES for route in page.routes),
            *live.routes,
            Mount("/static", StaticFiles(packages=[("quintet.playground", "static")]), name="static"),
        ],
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={
            NotFoundError: _missing,
            LedgerError: _unreadable,
            HTTPException: _refused,
            Exception: _failed,
        },
        lifespan=lifespan,
    )
    app.state.site = site
    return app


async def _missing(request: Request, error: Exception) -> Response:
    return page(request, "error.html", 404, title="Not found", reason=str(error))


async def _unreadable(request: Request, error: Exception) -> Response:
    return page(request, "error.html", 503, title="The workspace cannot be read", reason=str(error))


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    reason = f"there is no page {request.url.path}" if status == 404 else str(error)
    return page(request, "error.html", status, title="Not found" if status == 404 else "Refused", reason=reason)


async def _failed(request: Request, error: Exception) -> Response:
    reason = f"{type(error).__name__}: {error}"
    response = page(request, "error.html", 500, title="The playground failed on this page", reason=reason)
    # Starlette answers this outside of all middleware, and so of the guard.
    response.headers.update({**HEADERS, "cache-control": "no-store"})
    return response
