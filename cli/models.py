"""Commands on the model: evaluate it, and list its adapters."""

from __future__ import annotations

from pathlib import Path

import click

from quintet.cli.frame import guarded, json_option, out, show_table, workspace_option


@click.command()
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


@click.command()
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
