"""Serves the playground: by itself, or in a thread beside a run."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn

from quintet.playground.app import create_app
from quintet.playground.errors import PlaygroundError
from quintet.playground.guard import LOOPBACK

GRACE_SECONDS = 2
"""How long open connections are waited for at the end; a live page's never ends by itself."""


def server(
    workspace: Path, host: str = "127.0.0.1", port: int = 8420, token: str = "", *, chat: bool = False
) -> tuple[uvicorn.Server, socket.socket]:
    """A server and the socket it will listen on, taken already.

    Args:
        workspace: Whose runs are shown.
        host: The address to listen on; another than loopback demands a token.
        port: 0 takes any free one.
        token: What a visitor must know; empty: nothing.
        chat: Whether the chat page is offered.

    Raises:
        PlaygroundError: Another host was named without a token, or the port is taken.
    """
    if host not in LOOPBACK and not token:
        raise PlaygroundError(f"--host {host} lets other machines in: give a --token that visitors must know")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # Now: a port that was only bound can be bound once more.
        listening.listen(128)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise PlaygroundError(f"cannot listen on {host}:{port}: {reason}; choose another --port") from error
    app = create_app(workspace, host=host, token=token, chat=chat)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS, server_header=False
    )
    return uvicorn.Server(config), listening


def address(listening: socket.socket, token: str = "") -> str:
    """Where to point a browser."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


@contextmanager
def beside(workspace: Path, port: int = 8420) -> Iterator[str]:
    """Serve on loopback from a thread while the block runs; yields the address, on a free port if this is taken."""
    try:
        serving, listening = server(workspace, port=port)
    except PlaygroundError:
        serving, listening = server(workspace, port=0)
    thread = threading.Thread(target=_serve, args=(serving, listening), name="quintet-playground", daemon=True)
    thread.start()
    try:
        yield address(listening)
    finally:
        serving.should_exit = True
        thread.join(GRACE_SECONDS + 3)
        listening.close()


def _serve(serving: uvicorn.Server, listening: socket.socket) -> None:
    try:
        serving.run(sockets=[listening])
    except Exception as error:
        # Whatever it is, the run goes on.
        print(f"quintet: the playground has ended: {type(error).__name__}: {error}", file=sys.stderr)
