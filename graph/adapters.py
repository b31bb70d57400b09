"""The registry as a reader sees it: files from the adapters folder, status and scores from the ledger."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Decision, Evaluation
from quintet.training.errors import RegistryError
from quintet.training.registry import Registry


class Registered(BaseModel):
    """One adapter."""

    id: str
    run: str
    round: int
    start: str
    """Where its training began: `base` or an adapter."""
    rows: int
    weights: str
    """SHA-256 of the weights file."""
    status: str
    """`candidate`, `promoted`, `rejected`, or `damaged` with the reason."""
    gate: str
    """Items right on its gate suite."""
    path: str


def registered(workspace: Path, run: str | None = None) -> list[Registered]:
    """All adapters of a workspace, or of one run, newest run first.

    Raises:
        LedgerError: There is no such run or workspace.
    """
    place = Workspace.existing(workspace)
    registry = Registry(place.adapters)
    with place.ledger() as ledger:
        names = [run] if run else [info.run for info in ledger.runs()]
        found = []
        for name in names:
            one = ledger.run(name)
            found += [_registered(one, adapter, registry) for adapter in one.find(Adapter)]
        return found


def status_of(ledger: RunLedger, adapter: str) -> str:
    """What the gate made of an adapter."""
    decisions = [decision for decision in ledger.find(Decision) if decision.candidate == adapter]
    if not decisions:
        return "candidate"
    return "promoted" if decisions[-1].promoted else "rejected"


def _registered(ledger: RunLedger, adapter: Adapter, registry: Registry) -> Registered:
    try:
        registry.check(adapter.id)
        status = status_of(ledger, adapter.id)
    except RegistryError as error:
        status = f"damaged: {error}"
    gates = [e for e in ledger.find(Evaluation, adapter=adapter.id) if e.suite == "gate"]
    return Registered(
        id=adapter.id,
        run=ledger.run,
        round=adapter.round,
        start=adapter.start or "base",
        rows=len(adapter.rows),
        weights=adapter.weights,
        status=status,
        gate=f"{gates[0].correct}/{gates[0].n}" if gates else "–",
        path=str(registry.path(adapter.id)),
    )
