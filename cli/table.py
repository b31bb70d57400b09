"""Commands on what is at hand: roles, task families, the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quintet.cli.frame import FAILED, guarded, json_option, out, show_table

if TYPE_CHECKING:
    from quintet.graph.joining import Joined

config_argument = click.argument("config", required=False, type=click.Path(path_type=Path))


def _joined(config: Path | None) -> Joined:
    from quintet.graph.joining import joining
    from quintet.graph.settings import Settings

    return joining(Settings.load(config) if config else Settings())


@click.command()
@config_argument
@json_option
@guarded
def roles(config: Path | None, as_json: bool) -> None:
    """Who sits at the table, in speaking order. Those whom CONFIG lets join are among them."""
    from quintet.agents.players import at_the_table

    found = at_the_table(_joined(config).roles)
    if as_json:
        out([seat.model_dump(mode="json") for seat in found])
        return
    show_table(
        ["role", "speaks", "where", "from", "what it does"],
        [[s.role, s.rhythm, s.beside, s.source, s.purpose] for s in found],
    )


@click.command()
@config_argument
@json_option
@guarded
def tasks(config: Path | None, as_json: bool) -> None:
    """What can be asked: the task families and their levels. Those of CONFIG, and its data sets, are among them."""
    from quintet.tasks.families import catalogue

    joined = _joined(config)
    found = catalogue(joined.tasks, joined.settings.tasks.datasets)
    if as_json:
        out([family.model_dump(mode="json") for family in found])
        return
    rows = [[f.family, str(f.levels), "yes" if f.proposable else "", f.source] for f in found]
    show_table(["family", "levels", "can be proposed", "from"], rows)


@click.command()
@json_option
@guarded
def methods(as_json: bool) -> None:
    """Every way to acquire, select, optimise and refine, and how to have it. With --json, its paper too."""
    from quintet.graph.methods import methods as all_methods

    found = all_methods()
    if as_json:
        out([method.model_dump(mode="json") for method in found])
        return
    for place, process in enumerate(dict.fromkeys(method.process for method in found)):
        click.echo(f"\n{process}" if place else process)
        show_table(
            ["name", "method", "what it does", "how to have it"],
            [
                [
                    m.name,
                    m.method,
                    f"{m.what} Measured: {m.measured}" if m.measured else m.what or m.error,
                    m.use.replace("`", ""),
                ]
                for m in found
                if m.process == process
            ],
        )


@click.command()
@json_option
@guarded
def doctor(as_json: bool) -> None:
    """What works on this machine, and what mends what does not."""
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
        sys.exit(FAILED)
