"""Merges adapters of a run into a new one, which then stands beside them to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from quintet.graph.adapters import known
from quintet.graph.errors import LoopError
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Adapter
from quintet.training.merging import METHODS, Method, merge
from quintet.training.registry import Registry


class Merged(BaseModel):
    """A merged adapter."""

    run: str
    adapter: str
    of: list[str]
    weights: list[float]
    method: str


def merged(
    workspace: Path,
    run: str | None,
    given: Sequence[str],
    weights: Sequence[float],
    method: Method,
    density: float,
) -> Merged:
    """Merge adapters of a run; the new one is no candidate of any round, and nothing promotes it.

    Args:
        workspace: Where the run lies.
        run: Its name; the newest if `None`.
        given: Ids, or their beginnings.
        weights: One for each, or none: then all weigh the same and sum to 1.
        method: How.
        density: Share of the entries kept; `cat` and `linear` keep all.

    Raises:
        LoopError: They are too few, one is named twice, or weights and adapters differ in number.
        RegistryError: They are of different shapes, or damaged.
    """
    from quintet.graph.settings import Settings
    from quintet.models.catalogue import locate

    if method not in METHODS:
        raise LoopError(f"there is no way {method!r} to merge: there are {', '.join(METHODS)}")
    if weights and len(weights) != len(given):
        raise LoopError(f"{len(given)} adapters and {len(weights)} weights: give each its own, or none any")
    place = Workspace.existing(workspace)
    registry = Registry(place.adapters)
    with place.ledger() as ledgers:
        ledger = ledgers.run(run)
        ids = [known(ledger, one) for one in given]
        if BASE in ids or len(set(ids)) < max(2, len(ids)):
            raise LoopError("name two adapters or more, each once; the base model has no weights of its own to merge")
        with place.claim(ledger.run):
            found = [one for id in ids if isinstance(one := ledger.get(id), Adapter)]
            for id in ids:
                registry.check(id)
            settings = Settings.of_run(ledger.info.settings)
            files = locate(settings.model.name, settings.model.network, settings.model.chat_template)
            shares = list(weights) or [1 / len(ids)] * len(ids)
            plan = Adapter(
                round=max(one.round for one in found),
                rows=tuple(dict.fromkeys(row for one in found for row in one.rows)),
                merged=tuple(ids),
                recipe={"merge": method, "weights": shares, "density": density},
                weights="",
            )
            manifest = merge(
                [registry.path(id) for id in ids],
                shares,
                method,
                density,
                files,
                registry.path(plan.id),
                ledger.info.seed,
            )
            ledger.add(plan.with_(weights=manifest.weights))
    return Merged(run=ledger.run, adapter=plan.id, of=ids, weights=shares, method=method)
