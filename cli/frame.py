"""What all commands share: the options, the output, the exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from quintet.errors import QuintetError

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG_INPUT, STOPPED = 1, 2, 130


def guarded(command: F) -> F:
    """Turn what a user can mend into one line and exit code 2, a failure into one line and 1, and Ctrl-C into 130."""

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
                sys.exit(FAILED)
            told = chain[0]
            if not isinstance(told, QuintetError):
                raise
            click.echo(f"quintet: {' '.join(str(told).split())}", err=True)
            sys.exit(FAILED if told.fault else WRONG_INPUT)

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


WIDE = 240
"""Columns of a table that goes to a file or a pipe."""

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


def out(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a plain table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        # Names and ids stay whole, to be copied.
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        # As text: a name in brackets is no style.
        table.add_row(*map(Text, row))
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        # Nobody's window: lines are left whole for whatever reads them.
        console.width = WIDE
    console.print(table, highlight=False)
