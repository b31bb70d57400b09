"""The command that writes a run to a file, in the form that somebody else reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from quintet.cli.completion import runs_named
from quintet.cli.frame import guarded, json_option, out, workspace_option

TASKS = 200


@click.command()
@click.argument("run", shell_complete=runs_named)
@click.argument("form", type=click.Choice(["jsonl", "preferences", "otlp", "html"]))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tasks", type=click.IntRange(0), help=f"Most conversations in the page (html; default: {TASKS}).")
@workspace_option
@json_option
@guarded
def export(run: str, form: str, file: Path, tasks: int | None, workspace: Path, as_json: bool) -> None:
    """Write RUN to FILE, as rows, traces or a page. `-` is standard output.

    jsonl holds the training rows, as TRL reads them; preferences holds besides what they were held against, each with a
    label whether it is right. otlp holds the traces, as a collector of OpenTelemetry reads them,
    in JSON lines, or in protobuf where FILE ends in .pb. html is one page that needs nothing else: overview, adapters,
    conversations, rows.
    """
    if as_json and str(file) == "-":
        raise click.UsageError("--json and - both want standard output: name a file")
    if tasks is not None and form != "html":
        raise click.UsageError(f"--tasks is for html, and this is {form}")
    with _told(form) as tell:
        count, what = _write(run, form, file, TASKS if tasks is None else tasks, workspace, tell)
    size = {} if str(file) == "-" else {"bytes": file.stat().st_size}
    if as_json:
        out({"run": run, "form": form, "file": str(file), what: count, **size})
    else:
        where = f" in {file} ({_size(size['bytes'])})" if size else ""
        click.echo(f"{count:,} {what}{where}", err=True)


def _write(
    run: str, form: str, file: Path, tasks: int, workspace: Path, tell: Callable[[int, int], None]
) -> tuple[int, str]:
    """How many of what were written."""
    if form in ("jsonl", "preferences"):
        from quintet.graph.exporting import export_rows

        return export_rows(workspace, run, file, labelled=form == "preferences"), "rows"
    if form == "otlp":
        from quintet.playground.exports.otlp import export_traces

        return export_traces(workspace, run, file, tell), "spans"
    from quintet.playground.exports.onepage import export_page

    return export_page(workspace, run, file, tasks, tell), "conversations"


@contextmanager
def _told(form: str) -> Iterator[Callable[[int, int], None]]:
    """What shows how far it is, on a terminal; elsewhere nothing does."""
    if form not in ("otlp", "html") or not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("exporting", total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 100_000 else f"{number / 1e3:.1f} kB"
