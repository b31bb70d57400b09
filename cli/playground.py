"""The playground's command, and the page beside a run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from quintet.cli.frame import F, guarded, json_option, out, workspace_option

PORT = 8420


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others demand a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 is any free one.")
@click.option("--token", envvar="QUINTET_TOKEN", show_envvar=True, default="", help="What a visitor must know.")
@click.option("--chat", is_flag=True, help="Offer a chat with the adapters; it loads the model.")
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@workspace_option
@json_option
@guarded
def playground(host: str, port: int, token: str, chat: bool, opens: bool, workspace: Path, as_json: bool) -> None:
    """Serve the page on the runs of the workspace, finished or running, until Ctrl-C."""
    from quintet.playground.serving import address, server

    serving, listening = server(workspace, host, port, token, chat=chat)
    url = address(listening, token)
    if _empty(workspace):
        click.echo(f"quintet: no runs in {workspace} yet; they are shown once quintet run has begun one", err=True)
    if as_json:
        out({"address": url, "workspace": str(workspace)})
    else:
        click.echo(f"playground: {url} (Ctrl-C ends it)")
    if opens:
        _open(url)
    # Ctrl-C is how a server is ended, and nothing was cut short by it: exit code 0.
    try:
        serving.run(sockets=[listening])
    except KeyboardInterrupt:
        click.echo(err=True)


def _empty(workspace: Path) -> bool:
    """Whether there is nothing to show; what cannot be read has a page that says so."""
    from quintet.memory.errors import LedgerError
    from quintet.playground.site import Site

    site = Site(workspace)
    try:
        return site.empty
    except LedgerError:
        return False
    finally:
        site.close()


def _open(url: str) -> None:
    import webbrowser

    # Not in this thread: a browser of the terminal returns when it is left.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def page_options(command: F) -> F:
    """The options of a run that is watched in the browser."""
    page = click.option("--playground", "page", is_flag=True, help="Serve the playground beside it.")
    port = click.option(
        "--port", type=click.IntRange(0, 65535), help=f"The playground's (default: {PORT}, or a free one)."
    )
    return page(port(command))


@contextmanager
def beside(workspace: Path, page: bool, port: int | None) -> Iterator[None]:
    """If a page is wanted, the playground while the block runs; at a terminal, until Ctrl-C after it."""
    if not page:
        if port is not None:
            raise click.UsageError("--port is the playground's: add --playground")
        yield
        return
    from quintet.playground.serving import beside as served

    with served(workspace, PORT if port is None else port) as url:
        click.echo(f"playground: {url}", err=True)
        yield
        # Somebody reads on at a terminal only; what a script waits for is the end of the run.
        if sys.stdout.isatty():
            click.echo(f"the page stays at {url} until Ctrl-C", err=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
