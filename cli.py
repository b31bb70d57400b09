"""The command line: thin commands over the rooms; results on standard output, progress on standard error."""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quintet import __version__

if TYPE_CHECKING:
    from quintet.graph.loop import Loop

F = TypeVar("F", bound=Callable[..., Any])

WRONG_INPUT, STOPPED = 2, 130


def guarded(command: F) -> F:
    """Turn what a user can mend into one line and exit code 2, and Ctrl-C into a hint how to go on."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except click.ClickException:
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("\nquintet: stopped", err=True)
            sys.exit(STOPPED)
        except Exception as caught:
            chain = list(_chain(caught))
            if any(_is_full_disk(error) for error in chain):
                where = f" ({kwargs['workspace']})" if "workspace" in kwargs else ""
                click.echo(
                    f"quintet: the disk is full{where}; what is recorded is whole; free space, then quintet resume",
                    err=True,
                )
                sys.exit(1)
            told = next((error for error in chain if type(error).__module__.startswith("quintet.")), None)
            if told is None or told is not chain[0]:
                raise
            click.echo(f"quintet: {' '.join(str(told).split())}", err=True)
            # A disk that fails is not the user's input.
            sys.exit(1 if getattr(told, "disk", False) else WRONG_INPUT)

    return run  # type: ignore[return-value]


FULL_CODES = ("SQLITE_FULL", "53100")
"""What SQLite and Postgres say of a full disk."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from; of a group (episodes run together), each that failed."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _chain(one)
        return
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "disk is full" in str(error)
    return getattr(error, "code", "") in FULL_CODES


def workspace_option(command: F) -> F:
    """The option that every command about runs takes."""
    return click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        envvar="QUINTET_WORKSPACE",
        show_default="./runs",
        help="Folder of ledger, memory, adapters and checkpoints.",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


def out(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a plain table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=False).print(table, highlight=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="quintet")
def main() -> None:
    """Language models that improve themselves, and can prove it."""


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--rounds", type=click.IntRange(1), help="Rounds, instead of the config's.")
@click.option("--seed", type=click.IntRange(0), help="Seed, instead of the config's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Another setting; may be repeated.")
@click.option("--approve", is_flag=True, help="Ask before each training.")
@click.option("--role", "roles", multiple=True, metavar="FILE.py:CLASS", help="A role that joins; may be repeated.")
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
    workspace: Path,
    as_json: bool,
) -> None:
    """Run the loop that CONFIG describes."""
    from quintet.agents.roles import load_role
    from quintet.graph.loop import Loop
    from quintet.graph.settings import Settings

    given = [f"rounds={rounds}"] * (rounds is not None) + [f"seed={seed}"] * (seed is not None)
    settings = Settings.load(config, [*overrides, *given, *["approve=true"] * approve])
    _conduct(Loop(settings, roles=[load_role(role) for role in roles], workspace=workspace), None, as_json, roles)


@main.command()
@click.argument("run", required=False)
@click.option("--rounds", type=click.IntRange(1), help="Rounds wanted in all; more than before adds rounds.")
@click.option("--role", "roles", multiple=True, metavar="FILE.py:CLASS", help="A role that joined when it began.")
@workspace_option
@json_option
@guarded
def resume(run: str | None, rounds: int | None, roles: tuple[str, ...], workspace: Path, as_json: bool) -> None:
    """Go on with RUN (default: the newest), or add rounds to it."""
    from quintet.agents.roles import load_role
    from quintet.graph.loop import Loop

    loop = Loop.resume(run, workspace, roles=[load_role(role) for role in roles])
    _conduct(loop, rounds, as_json, roles)


def _conduct(loop: Loop, rounds: int | None, as_json: bool, roles: Sequence[str]) -> None:
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
            given = [f"--role {role}" for role in roles]
            given += [f"--workspace {loop.workspace}"] * (loop.workspace != Path("runs"))
            line = " ".join(["quintet resume", loop.run_name, *given])
            click.echo(f"\nquintet: stopped; go on with: {line}", err=True)
        sys.exit(STOPPED)
    result = loop.result()
    if as_json:
        out(result.model_dump(mode="json"))
    else:
        click.echo(result.table())
        click.echo(f"more: quintet show {result.run} · quintet lineage ID · quintet adapters", err=True)


@main.command()
@workspace_option
@json_option
@guarded
def runs(workspace: Path, as_json: bool) -> None:
    """The runs of the workspace, newest first."""
    from quintet.graph.report import overview

    found = overview(workspace)
    if as_json:
        out([item.model_dump(mode="json") for item in found])
        return
    rows = [
        [r.run, r.status, r.started, str(r.rounds), "–" if r.effect is None else f"{100 * r.effect:+.1f} points"]
        for r in found
    ]
    show_table(["run", "status", "started", "rounds", "effect"], rows)


@main.command()
@click.argument("run", required=False)
@workspace_option
@json_option
@guarded
def show(run: str | None, workspace: Path, as_json: bool) -> None:
    """One RUN (default: the newest): rounds, scores with intervals, decisions, budget."""
    from quintet.graph.report import report
    from quintet.memory.workspace import Workspace

    place = Workspace.existing(workspace)
    with place.ledger() as ledger:
        found = report(ledger.run(run), place)
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.table())


@main.command()
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


@main.command()
@click.option("--suite", required=True, type=click.Choice(["steer", "gate", "retention", "final"]), help="Which suite.")
@click.option("--adapter", "adapters", multiple=True, metavar="ID|base", help="Adapter; two are compared, paired.")
@click.option("--run", help="Whose suites and model (default: the newest run).")
@click.option("--round", "number", type=click.IntRange(1), default=1, show_default=True, help="Round, for the gate.")
@workspace_option
@json_option
@guarded
def eval(suite: str, adapters: tuple[str, ...], run: str | None, number: int, workspace: Path, as_json: bool) -> None:
    """Evaluate one adapter on a suite, or compare two on the same items."""
    from quintet.graph.comparing import compare_adapters

    if len(adapters) > 2:
        raise click.UsageError("--adapter: one or two, not more")
    found = compare_adapters(workspace, run, suite, list(adapters) or ["base"], number)  # type: ignore[arg-type]
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.text())


@main.command()
@click.option("--run", help="Of this run only.")
@workspace_option
@json_option
@guarded
def adapters(run: str | None, workspace: Path, as_json: bool) -> None:
    """The registry: every adapter with its parent, rows, scores and status."""
    from quintet.graph.adapters import registered

    found = registered(workspace, run)
    if as_json:
        out([item.model_dump(mode="json") for item in found])
        return
    rows = [[a.id, a.run, str(a.round), a.start, str(a.rows), a.gate, a.status] for a in found]
    show_table(["adapter", "run", "round", "from", "rows", "gate", "status"], rows)


@main.command()
@json_option
@guarded
def roles(as_json: bool) -> None:
    """Who sits at the table, in speaking order."""
    from quintet.agents.players import at_the_table

    found = at_the_table()
    if as_json:
        out([seat.model_dump(mode="json") for seat in found])
        return
    show_table(
        ["role", "speaks", "after", "from", "what it does"],
        [[s.role, s.rhythm, s.after, s.source, s.purpose] for s in found],
    )


@main.command()
@json_option
@guarded
def tasks(as_json: bool) -> None:
    """What can be asked: the task families and their levels."""
    from quintet.tasks.families import catalogue

    found = catalogue()
    if as_json:
        out([family.model_dump(mode="json") for family in found])
        return
    rows = [[f.family, str(f.levels), "yes" if f.proposable else "", f.source] for f in found]
    show_table(["family", "levels", "can be proposed", "from"], rows)


@main.command()
@json_option
@guarded
def doctor(as_json: bool) -> None:
    """What works on this machine, and the command that mends what does not."""
    from quintet.graph.doctor import examine

    found = examine()
    if as_json:
        out([finding.model_dump(mode="json") for finding in found])
    else:
        show_table(
            ["", "what", "found", "to mend it"],
            [["ok" if f.ok else "no" if f.needed else "–", f.what, f.found, f.mend] for f in found],
        )
    if not all(finding.ok for finding in found if finding.needed):
        sys.exit(1)


if __name__ == "__main__":
    main()
