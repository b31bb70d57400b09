"""The command that evolves a role's persona."""

from __future__ import annotations

from pathlib import Path

import click

from quintet.cli.completion import runs_named
from quintet.cli.frame import guarded, json_option, out, workspace_option


@click.command()
@click.option("--run", shell_complete=runs_named, help="Whose model and suites (default: the newest run).")
@click.option("--role", default="solver", show_default=True, help="Whose persona.")
@click.option("--candidates", type=click.IntRange(1, 64), default=4, show_default=True, help="Proposals a round.")
@click.option("--rounds", type=click.IntRange(1, 64), default=2, show_default=True, help="Rounds of proposals.")
@workspace_option
@json_option
@guarded
def evolve(run: str | None, role: str, candidates: int, rounds: int, workspace: Path, as_json: bool) -> None:
    """Let the model propose personas for a role; the best is kept if a paired test supports it."""
    from quintet.graph.evolving import evolve as attempt

    found = attempt(workspace, run, role, candidates, rounds, lambda said: click.echo(said, err=True))
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.text())
