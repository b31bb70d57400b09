"""The command that reads data sets through their filters and says what they leave out."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quintet.cli.frame import guarded, json_option, out, show_table, workspace_option

if TYPE_CHECKING:
    from quintet.tasks.curation.curate import Progress

EVERY = 5.0
"""Seconds between two lines of progress, where nobody watches a terminal."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Another setting; may be repeated.")
@workspace_option
@json_option
@guarded
def curate(config: Path, name: str | None, overrides: tuple[str, ...], workspace: Path, as_json: bool) -> None:
    """Read the data set NAME of CONFIG (default: all) through its filters, and say what they leave out.

    A run of the same config in the same workspace takes what was done here.
    """
    from quintet.graph.curating import curate_all
    from quintet.graph.settings import Settings

    settings = Settings.load(config, overrides)
    progress = _Progress()
    try:
        found = asyncio.run(curate_all(settings, workspace, name, progress))
    finally:
        progress.end()
    if as_json:
        out([{**one.model_dump(mode="json"), "file": str(file)} for one, file in found])
        return
    for one, file in found:
        click.echo(f"{one.name}: {one.read:,} rows read, {one.kept:,} kept ({one.kept / max(one.read, 1):.1%})")
        if one.qualities:
            least, low, median, high, most = one.qualities
            said = f"{least:.2f} to {most:.2f}, median {median:.2f}, middle half {low:.2f} to {high:.2f}"
            click.echo(f"quality, nats a token: {said}")
        if one.rejected:
            rows = [[why, f"{number:,}", one.examples.get(why, "")[:100]] for why, number in one.rejected.items()]
            show_table(["left out", "rows", "such as"], rows)
            click.echo(f"all of them, with reasons: {file}", err=True)


class _Progress:
    """How far curation is, on standard error: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not self._live and now - self._last < EVERY:
            return
        self._last = now
        rate = f", {progress.rows / progress.seconds:,.0f} rows/s" if progress.seconds else ""
        line = f"{progress.name}: {progress.doing}, {progress.share:.0%}, {progress.rows:,} rows{rate}"
        click.echo(f"\r\x1b[K{line}" if self._live else line, nl=not self._live, err=True)

    def end(self) -> None:
        """Clear the line."""
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)
