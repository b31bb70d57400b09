"""Commands on runs: begin, resume, list, show, trace."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quintet.cli.completion import runs_named
from quintet.cli.frame import STOPPED, guarded, json_option, out, show_table, workspace_option
from quintet.cli.playground import beside, page_options

if TYPE_CHECKING:
    from quintet.graph.loop import Loop

WIDTH = 118
"""Columns of a report that nobody watches on a terminal."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--rounds", type=click.IntRange(1), help="Rounds, instead of the config's.")
@click.option("--seed", type=click.IntRange(0), help="Seed, instead of the config's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Another setting; may be repeated.")
@click.option("--approve", is_flag=True, help="Ask before each training.")
@click.option("--role", "roles", multiple=True, metavar="FILE.py:CLASS", help="A role that joins; may be repeated.")
@click.option("--task", "tasks", multiple=True, metavar="FILE.py:CLASS", help="A task family; may be repeated.")
@page_options
@workspace_option
@json_option
@guarded
def run(
    config: Path,
    rounds: int | None,
    seed: int | None,
    overrides: tuple[str, ...],
    approve: bool,
    roles: tuple[str, ...],
    tasks: tuple[str, ...],
    page: bool,
    port: int | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Run the loop that CONFIG describes."""
    from quintet.graph.loop import Loop
    from quintet.graph.settings import Settings

    given = [f"rounds={rounds}"] * (rounds is not None) + [f"seed={seed}"] * (seed is not None)
    settings = Settings.load(config, [*overrides, *given, *["approve=true"] * approve])
    settings = settings.model_copy(update={"join": (*settings.join, *roles, *tasks)})
    loop = Loop(settings, workspace=workspace)
    with beside(workspace, page, port):
        _conduct(loop, None, as_json)


@click.command()
@click.argument("run", required=False, shell_complete=runs_named)
@click.option("--rounds", type=click.IntRange(1), help="Rounds wanted in all; more than before adds rounds.")
@click.option("--tokens", type=click.IntRange(0), help="Another budget of tokens, over the whole run; 0 is no limit.")
@click.option("--seconds", type=click.FloatRange(0), help="Another budget of seconds, over the whole run; 0: no limit.")
@page_options
@workspace_option
@json_option
@guarded
def resume(
    run: str | None,
    rounds: int | None,
    tokens: int | None,
    seconds: float | None,
    page: bool,
    port: int | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Go on with RUN (default: the newest), or add rounds to it."""
    from quintet.graph.loop import Loop

    budget = {name: value for name, value in (("tokens", tokens), ("seconds", seconds)) if value is not None}
    loop = Loop.resume(run, workspace, budget)
    with beside(workspace, page, port):
        _conduct(loop, rounds, as_json)


@click.command()
@click.argument("run", required=False, shell_complete=runs_named)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another setting; may be repeated.")
@workspace_option
@json_option
@guarded
def replay(run: str | None, changes: tuple[str, ...], workspace: Path, as_json: bool) -> None:
    """Run RUN (default: the newest) again from its recorded model calls, and say what is decided otherwise.

    The replay is a run of its own. The model is asked only where a change makes it necessary, such as for the answers
    of another candidate.
    """
    from quintet.graph.replaying import held_against
    from quintet.graph.replaying import replay as begin

    loop = begin(workspace, run, changes)
    _watched(loop, None)
    found = held_against(workspace, str(loop.run_name))
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.text())


def _conduct(loop: Loop, rounds: int | None, as_json: bool) -> None:
    from quintet.graph.hints import hints

    _watched(loop, rounds)
    result = loop.result()
    if as_json:
        out(result.model_dump(mode="json"))
    else:
        click.echo(result.table(_columns()))
        for hint in hints(result, loop.workspace):
            click.echo(hint, err=True)


def _watched(loop: Loop, rounds: int | None) -> None:
    """Run a loop to its end, its progress on standard error, its questions asked."""
    from quintet.graph.watching import Watcher

    try:
        while True:
            question: dict[str, Any] | None = None
            with Watcher() as watcher:
                for event in loop.stream(rounds):
                    question = event if event.get("event") == "question" else question
                    watcher.see(event)
            if question is None:
                break
            loop.answer = click.confirm(f"Train on {question['rows']} rows?", default=True, err=True)
    except (KeyboardInterrupt, click.Abort):
        if loop.run_name:
            given = [f"--workspace {loop.workspace}"] * (loop.workspace != Path("runs"))
            line = " ".join(["quintet resume", loop.run_name, *given])
            click.echo(f"\nquintet: stopped; go on with: {line}", err=True)
        sys.exit(STOPPED)


def _columns() -> int:
    """Columns of a report: what the terminal has, up to a width that reads well."""
    return min(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH


@click.command()
@workspace_option
@json_option
@guarded
def runs(workspace: Path, as_json: bool) -> None:
    """The runs of the workspace, newest first."""
    from quintet.graph.report import overview

    found = overview(workspace)
    if not found:
        click.echo(f"no runs in {workspace}: begin one with quintet run CONFIG", err=True)
    if as_json:
        out([item.model_dump(mode="json") for item in found])
        return
    rows = [
        [
            r.run,
            r.status,
            _minute(r.started),
            str(r.rounds),
            "–" if r.effect is None else f"{100 * r.effect:+.1f} points",
        ]
        for r in found
    ]
    show_table(["run", "status", "started", "rounds", "effect"], rows)


def _minute(moment: str) -> str:
    """A moment of ISO 8601 in local time, to the minute."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


@click.command()
@click.argument("run", required=False, shell_complete=runs_named)
@workspace_option
@json_option
@guarded
def show(run: str | None, workspace: Path, as_json: bool) -> None:
    """What became of RUN. Rounds, scores with intervals, decisions, budget; by default of the newest run."""
    from quintet.graph.report import report
    from quintet.memory.workspace import Workspace

    place = Workspace.existing(workspace)
    with place.ledger() as ledger:
        found = report(ledger.run(run), place)
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.table(_columns()))


@click.command()
@click.argument("id")
@workspace_option
@json_option
@guarded
def lineage(id: str, workspace: Path, as_json: bool) -> None:
    """Where the record ID came from, and what came of it."""
    from quintet.graph.rendering import family_tree
    from quintet.memory.lineage import lineage as trace
    from quintet.memory.workspace import Workspace

    with Workspace.existing(workspace).ledger() as ledger:
        found = trace(ledger.holder(id), ledger.resolve(id))
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(family_tree(found))
