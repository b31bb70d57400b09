"""Commands on the model: evaluate it, ask it, talk to it, manage its adapters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quintet.cli.completion import plugged, runs_named
from quintet.cli.frame import guarded, json_option, out, show_table, workspace_option

if TYPE_CHECKING:
    from quintet.records import Message

run_option = click.option(
    "--run", shell_complete=runs_named, help="Whose model, adapters and memory (default: the newest run)."
)
adapter_option = click.option(
    "--adapter", "adapters", multiple=True, metavar="ID|base", help="Adapter (default: the incumbent); may be repeated."
)
model_option = click.option("--model", metavar="NAME", help="A model as it is, instead of a run's.")
strategy = plugged("quintet.strategies")
strategy_option = click.option("--strategy", type=strategy, default="greedy", show_default=True, help="How to answer.")
samples_option = click.option(
    "--samples", type=click.IntRange(1), default=8, show_default=True, help="Replies of a strategy that takes several."
)
tokens_option = click.option(
    "--tokens", type=click.IntRange(1), help="Tokens that may be generated for a question, instead of --samples."
)


@click.command()
@click.option("--suite", required=True, type=click.Choice(["steer", "gate", "retention", "final"]), help="Which suite.")
@adapter_option
@click.option("--strategy", "named", multiple=True, type=strategy, help="Strategy (default: greedy); may be repeated.")
@samples_option
@tokens_option
@click.option("--items", type=click.IntRange(1), help="Only so many of the suite's items, spread over it.")
@run_option
@click.option("--round", "number", type=click.IntRange(1), default=1, show_default=True, help="Round, for the gate.")
@workspace_option
@json_option
@guarded
def eval(
    suite: str,
    adapters: tuple[str, ...],
    named: tuple[str, ...],
    samples: int,
    tokens: int | None,
    items: int | None,
    run: str | None,
    number: int,
    workspace: Path,
    as_json: bool,
) -> None:
    """Evaluate on a suite. Several adapters or strategies are compared with the first, on the same items."""
    from quintet.graph.comparing import compare_on

    found = compare_on(workspace, run, suite, adapters, named, samples, number, tokens, items)  # type: ignore[arg-type]
    if as_json:
        out(found.model_dump(mode="json"))
    else:
        click.echo(found.text())


@click.command()
@click.argument("question")
@strategy_option
@samples_option
@tokens_option
@adapter_option
@click.option("--family", default="", help="Task family by which it is put and its answers are read.")
@run_option
@model_option
@workspace_option
@json_option
@guarded
def solve(
    question: str,
    strategy: str,
    samples: int,
    tokens: int | None,
    adapters: tuple[str, ...],
    family: str,
    run: str | None,
    model: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Put one QUESTION to the solver, through a refinement strategy."""
    if not question.strip():
        raise click.UsageError("QUESTION is empty")
    from quintet.graph.solving import Solved, beside, way
    from quintet.graph.solving import solve as put

    # An unknown one is refused before a model is loaded.
    way(strategy, samples)

    async def ask() -> list[Solved]:
        async with beside(workspace, run, adapters, model, family) as side:
            return await put(side, question, strategy, samples, family, tokens)

    found = asyncio.run(ask())
    if as_json:
        out([solved.model_dump(mode="json") for solved in found])
        return
    for solved in found:
        for step in solved.solution.steps:
            click.secho(f"{step.what}: {step.text}", dim=True, err=True)
        if len(found) > 1:
            click.secho(solved.adapter, bold=True)
        click.echo(solved.solution.text)
        click.echo(f"answer: {solved.solution.answer or 'none'}")
        click.secho(f"{solved.tokens} tokens, {solved.prompt_tokens} of prompts", dim=True, err=True)


@click.command()
@adapter_option
@click.option("--system", default="", help="A system message.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--max-tokens", type=click.IntRange(1), default=200, show_default=True, help="Longest reply.")
@run_option
@model_option
@workspace_option
@json_option
@guarded
def chat(
    adapters: tuple[str, ...],
    system: str,
    temperature: float,
    max_tokens: int,
    run: str | None,
    model: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Talk to the model; with two adapters, to both, side by side. Ends with an empty line or Ctrl-D."""
    from quintet.cli.talking import Talk
    from quintet.graph.solving import beside, reply
    from quintet.records import Message

    async def converse() -> list[dict[str, Any]]:
        async with beside(workspace, run, adapters, model) as side:
            talk = Talk(side.adapters, quiet=as_json)
            talk.greet(side.run or str(model))
            opening = [Message(role="system", content=system)] if system else []
            said: dict[str, list[Message]] = {adapter: list(opening) for adapter in side.adapters}
            turns: list[dict[str, Any]] = []
            while question := await talk.listen():
                replies = {}
                with talk.speaking():
                    for adapter, history in said.items():
                        history.append(Message(role="user", content=question))
                        heard = talk.hears(adapter)
                        text = await reply(side, adapter, history, temperature, max_tokens, heard)
                        heard(text)
                        history.append(Message(role="assistant", content=text))
                        replies[adapter] = text
                turns.append({"question": question, "replies": replies})
            return turns

    turns = asyncio.run(converse())
    if as_json:
        out(turns)


@click.group(invoke_without_command=True)
@run_option
@workspace_option
@json_option
@click.pass_context
@guarded
def adapters(context: click.Context, run: str | None, workspace: Path, as_json: bool) -> None:
    """The registry of adapters: parent, rows, scores, status."""
    if context.invoked_subcommand:
        # What was said to the group holds for its commands.
        given: dict[str, Any] = {"workspace": workspace, "as_json": as_json, **({"run": run} if run else {})}
        context.default_map = {context.invoked_subcommand: given}
        return
    from quintet.graph.adapters import registered

    found = registered(workspace, run)
    if as_json:
        out([item.model_dump(mode="json") for item in found])
        return
    rows = [
        [
            a.id,
            a.run,
            str(a.round),
            a.start,
            str(a.rows),
            a.gate,
            a.status + " (incumbent)" * a.incumbent + (f" ({a.role})" if a.role else ""),
        ]
        for a in found
    ]
    show_table(["adapter", "run", "round", "from", "rows", "gate", "status"], rows)


@adapters.command()
@click.argument("id")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the record.")
@run_option
@workspace_option
@json_option
@guarded
def rollback(id: str, reason: str, run: str | None, workspace: Path, as_json: bool) -> None:
    """Make ID the incumbent again. It was promoted earlier, or is `base`; what was promoted since retires."""
    from quintet.graph.adapters import roll_back

    done = asyncio.run(roll_back(workspace, run, id, reason))
    if as_json:
        out(done.model_dump(mode="json"))
        return
    click.echo(f"{done.run}: {done.incumbent} is the incumbent again; rolled back: {', '.join(done.retired)}")
    click.echo(f"{done.memories} memories made under them are not recalled any more", err=True)
    click.echo(f"go on from it: quintet resume {done.run} --rounds N", err=True)


@adapters.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID ID...")
@click.option("--method", default="cat", show_default=True, help="cat, linear, ties, dare_linear or dare_ties.")
@click.option("--weight", "weights", type=float, multiple=True, help="One for each (default: equal, summing to 1).")
@click.option(
    "--density",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the entries kept; cat and linear keep all.",
)
@run_option
@workspace_option
@json_option
@guarded
def merge(
    ids: tuple[str, ...],
    method: str,
    weights: tuple[float, ...],
    density: float,
    run: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Merge adapters into a new one, by PEFT. Nothing promotes it: evaluate it against them.

    cat is the weighted sum of their changes, exactly. The others work on the two factors of each change apart: linear
    sums them, ties trims and elects signs (arXiv 2306.01708), dare_linear and dare_ties drop entries at random (arXiv
    2311.03099); these need adapters of one rank.
    """
    from quintet.graph.merging import merged

    made = merged(workspace, run, ids, weights, method, density)  # type: ignore[arg-type]
    if as_json:
        out(made.model_dump(mode="json"))
        return
    click.echo(made.adapter)
    against = f"quintet eval --suite steer --adapter {made.of[0]} --adapter {made.adapter}"
    click.echo(f"compare it: {against} --run {made.run}", err=True)


@adapters.command()
@click.argument("id")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--merged", is_flag=True, help="Fold it into the model's weights, and write the whole model.")
@workspace_option
@json_option
@guarded
def export(id: str, folder: Path, merged: bool, workspace: Path, as_json: bool) -> None:
    """Write the adapter ID to FOLDER, as PEFT reads it."""
    from quintet.graph.adapters import export as write

    path = write(workspace, id, folder, merged)
    if as_json:
        out({"folder": str(path), "files": sorted(file.name for file in path.iterdir())})
        return
    click.echo(path)
    loader = "AutoModelForCausalLM" if merged else "peft.AutoPeftModelForCausalLM"
    click.echo(f"read it with: {loader}.from_pretrained({str(path)!r})", err=True)
