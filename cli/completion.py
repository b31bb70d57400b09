"""Completion in the shell: the script that switches it on, and the names that it offers."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from quintet.cli.frame import guarded


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@guarded
def completion(shell: str) -> None:
    """Print what switches on completion in SHELL. In bash: eval "$(quintet completion bash)"."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(click.get_current_context().find_root().command, {}, "quintet", "_QUINTET_COMPLETE").source())


def runs_named(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of runs in the workspace."""
    from quintet.memory.errors import LedgerError
    from quintet.memory.workspace import Workspace

    workspace = context.params.get("workspace") or os.environ.get("QUINTET_WORKSPACE", "runs")
    try:
        with Workspace.existing(Path(workspace)).ledger() as ledger:
            names = [info.run for info in ledger.runs()]
    except LedgerError:
        # A half-typed line is no place to say what is wrong with the workspace.
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def plugged(group: str) -> click.ParamType[str]:
    """A parameter whose names are those of an entry-point group; which are right is checked where they are used."""

    class Named(click.ParamType[str]):
        name = "name"

        def shell_complete(
            self, context: click.Context, parameter: click.Parameter, incomplete: str
        ) -> list[CompletionItem]:
            """Names in the group."""
            from quintet.plugins import names

            return [CompletionItem(name) for name in names(group) if name.startswith(incomplete)]

    return Named()
