"""The adapters of a run: what each was made of, how it did on every suite, and what became of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.evaluation.evaluate import Score, score
from quintet.graph.adapters import Standing, standing
from quintet.memory.ledger import RunLedger
from quintet.playground.asking import number
from quintet.playground.drawing import Drawing, Edge, Node, draw
from quintet.playground.pairs import settings_of
from quintet.playground.rendering import page, short
from quintet.playground.site import Site
from quintet.records import BASE, GREEDY, Adapter, Decision, Evaluation, Part, Rollback
from quintet.training.errors import RegistryError
from quintet.training.registry import WEIGHTS, Registry

AT_ONCE = 25
"""Adapters shown at once, the newest first."""

DRAWN = 60
"""Adapters of which the family tree is still drawn."""

MAIN = ("objective", "rank", "learning_rate", "epochs")
"""What a recipe is known by; the rest is a click away."""


class Measured(Part):
    """An adapter on a suite."""

    id: str
    """The evaluation's."""
    suite: str
    round: int
    """0 where a user asked for it beside the rounds."""
    strategy: str
    """Empty where greedy."""
    score: Score


class Kept(Part):
    """An adapter with what became of it."""

    adapter: Adapter
    status: str
    """`candidate`, `promoted`, `rejected` or `rolled back`."""
    incumbent: bool
    """Whether the next round would start from it."""
    decisions: tuple[Decision, ...]
    rollbacks: tuple[Rollback, ...]
    """Those that took it back."""
    measured: tuple[Measured, ...]
    size: int | None
    """Bytes of its weights on the disk; `None` where they are not there."""
    commands: tuple[tuple[str, str], ...]
    """What one can do with it, and how."""


def adapters(request: Request) -> Response:
    """The page, or with `?before=` the adapters of earlier rounds alone."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    now, made = standing(ledger), ledger.find(Adapter)
    before = number(request.query_params.get("before"))
    earlier = [one for one in made if before is None or one.round < before]
    shown = earlier[-AT_ONCE:][::-1]
    context: dict[str, Any] = {
        **site.of_run(ledger, "Adapters"),
        "kept": kept_of(ledger, site.path, shown, now),
        "more": shown[-1].round if len(earlier) > len(shown) else None,
        "main": MAIN,
    }
    if before is not None and request.headers.get("hx-request"):
        return page(request, "adapters_list.html", **context)
    tree = tree_of(made, now) if 0 < len(made) <= DRAWN else None
    return page(request, "adapters.html", **context, now=now, tree=tree, of=len(made))


def kept_of(ledger: RunLedger, workspace: Path, shown: Sequence[Adapter], now: Standing) -> list[Kept]:
    """Adapters as adapters_list.html shows them."""
    decisions, rollbacks = ledger.find(Decision), ledger.find(Rollback)
    registry, confidence = Registry(workspace / "adapters"), settings_of(ledger).confidence
    return [
        Kept(
            adapter=adapter,
            status=now.status.get(adapter.id, "candidate"),
            incumbent=adapter.id == now.incumbent,
            decisions=tuple(one for one in decisions if one.candidate == adapter.id),
            rollbacks=tuple(one for one in rollbacks if adapter.id in one.retired),
            measured=tuple(
                Measured(
                    id=one.id,
                    suite=one.suite,
                    round=one.round,
                    strategy="" if one.strategy == GREEDY else one.strategy,
                    score=score(one, confidence),
                )
                for one in ledger.find(Evaluation, adapter=adapter.id)
            ),
            size=_size(registry, adapter.id),
            commands=_commands(ledger.run, workspace, adapter.id),
        )
        for adapter in shown
    ]


def _size(registry: Registry, adapter: str) -> int | None:
    """Bytes of the weights. Whether they are whole is not asked here: that reads them all."""
    try:
        return (registry.path(adapter) / WEIGHTS).stat().st_size
    except (OSError, RegistryError):
        return None


def _commands(run: str, workspace: Path, adapter: str) -> tuple[tuple[str, str], ...]:
    where = "" if workspace == Path("runs") else f" --workspace {shlex.quote(str(workspace))}"
    return (
        ("talk to it beside the base model", f"quintet chat --run {run} --adapter base --adapter {adapter}{where}"),
        ("take it, as PEFT reads it", f"quintet adapters export {adapter} FOLDER{where}"),
    )


def tree_of(made: Sequence[Adapter], now: Standing) -> Drawing:
    """Which adapter was trained from which, the base model on the left."""
    depth = {BASE: 0}
    nodes = [Node(id=BASE, label=BASE, layer=0, classes="chosen" if now.incumbent == BASE else "")]
    for adapter in made:
        depth[adapter.id] = depth.get(adapter.start or BASE, 0) + 1
        status = now.status.get(adapter.id, "candidate")
        nodes.append(
            Node(
                id=adapter.id,
                label=short(adapter.id),
                detail=f"round {adapter.round}, {'incumbent' if adapter.id == now.incumbent else status}",
                layer=depth[adapter.id],
                href=f"#{adapter.id}",
                classes=f"is-{status.replace(' ', '-')}" + " chosen" * (adapter.id == now.incumbent),
            )
        )
    return draw(nodes, [Edge(source=adapter.start or BASE, target=adapter.id) for adapter in made])


routes = [Route("/runs/{run}/adapters", adapters)]
