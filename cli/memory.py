"""Commands on the shared memory: search it, count it, retire and restore, make its index anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quintet.cli.frame import guarded, json_option, out, workspace_option

if TYPE_CHECKING:
    from quintet.memory.views import Turned

KINDS = ("task", "lesson", "row", "skill")
"""What is recalled; named here since the records take long to import."""

run_option = click.option("--run", help="Whose memory (default: the newest run's).")
held_option = click.option("--run", help="Whose memory (default: for each ID, the newest run that holds it).")


@click.group()
def memory() -> None:
    """The shared memory of lessons, rows, skills and tasks, by meaning."""


@memory.command()
@click.argument("text")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="May be repeated.")
@click.option("--family", help="Of tasks of this family.")
@click.option("--level", "levels", multiple=True, type=click.IntRange(0), help="Of this level; may be repeated.")
@click.option("--since", type=click.IntRange(0), metavar="ROUND", help="Made in this round or later.")
@click.option("--before", type=click.IntRange(0), metavar="ROUND", help="Made in earlier rounds.")
@click.option("--adapter", metavar="ID|base", help="Made under this adapter; no task is.")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many at most.")
@click.option("--retired", is_flag=True, help="What is retired, instead of what is not.")
@run_option
@workspace_option
@json_option
@guarded
def search(
    text: str,
    kinds: tuple[str, ...],
    family: str | None,
    levels: tuple[int, ...],
    since: int | None,
    before: int | None,
    adapter: str | None,
    count: int,
    retired: bool,
    run: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """The memories nearest in meaning to TEXT. Each is shown with its cosine distance."""
    from quintet.memory.browsing import search as find
    from quintet.memory.views import Asked

    asked = Asked(
        text=text,
        kinds=kinds or KINDS,
        family=family,
        levels=levels,
        since=since,
        before=before,
        adapter=adapter,
        count=count,
        retired=retired,
    )
    found = find(workspace, asked, run)
    if found.note:
        click.echo(found.note, err=True)
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.table())


@memory.command()
@run_option
@workspace_option
@json_option
@guarded
def stats(run: str | None, workspace: Path, as_json: bool) -> None:
    """How much is remembered, and whether the index keeps up."""
    from quintet.memory.browsing import stats as count

    found = count(workspace, run)
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.table())


@memory.command()
@run_option
@workspace_option
@json_option
@guarded
def rebuild(run: str | None, workspace: Path, as_json: bool) -> None:
    """Make the Chroma index anew from the ledger. Other runs' memories follow when they are next used."""
    from quintet.memory.browsing import rebuild as make_anew

    found = make_anew(workspace, run)
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(f"index {found.index}: {found.indexed:,} memories of {found.run}")


@memory.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; it is recorded.")
@held_option
@workspace_option
@json_option
@guarded
def retire(ids: tuple[str, ...], reason: str, run: str | None, workspace: Path, as_json: bool) -> None:
    """Take memories out of recall; they stay in the ledger. A run in progress heeds it from its next recall on."""
    from quintet.memory.browsing import retire as take_out

    _show(take_out(workspace, ids, reason, run), as_json)


@memory.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", default="restored by hand", show_default=True, help="Why; it is recorded.")
@held_option
@workspace_option
@json_option
@guarded
def restore(ids: tuple[str, ...], reason: str, run: str | None, workspace: Path, as_json: bool) -> None:
    """Put retired memories back into recall."""
    from quintet.memory.browsing import restore as put_back

    _show(put_back(workspace, ids, reason, run), as_json)


def _show(turned: list[Turned], as_json: bool) -> None:
    if as_json:
        out([one.model_dump(mode="json") for one in turned])
        return
    for one in turned:
        done = "retired" if one.retired else "restored"
        for id in one.ids:
            click.echo(f"{id}  {done} in {one.run}")
        for id in one.unchanged:
            click.echo(f"{id}  was {done} already in {one.run}")
