"""The adapters of a workspace: how each stands, which is the incumbent, rollback, export."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from quintet.graph.errors import LoopError
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Adapter, Decision, Evaluation, Handover, Rollback
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
    """What it was trained on: rows, and what other roles than the solver earned."""
    weights: str
    """SHA-256 of the weights file."""
    role: str
    """The one role that speaks under it; empty for that of all others."""
    status: str
    """`candidate`, `promoted`, `rejected`, `rolled back`, `merged`, or `damaged` with the reason; one role's own is
    `kept` or `dropped`."""
    incumbent: bool
    """Whether the run's next round would start from it."""
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
            now = standing(one)
            found += [_registered(one, adapter, registry, now) for adapter in one.find(Adapter)]
        return found


class Standing(BaseModel):
    """What became of a run's adapters."""

    incumbent: str
    status: dict[str, str]
    """By adapter: `candidate`, `promoted`, `rejected`, `rolled back` or `merged`; one role's own is `kept` or
    `dropped`."""
    promoted: list[str]
    """Adapters that were promoted and still stand, oldest first."""


def standing(ledger: RunLedger) -> Standing:
    """Who is the incumbent, and what the gate and rollbacks made of each adapter."""
    status: dict[str, str] = {}
    promoted: list[str] = []
    for event in ledger.events(limit=1_000_000, kinds=[Adapter, Decision, Handover, Rollback]):
        match event.record:
            case Adapter(id=id, merged=of):
                status.setdefault(id, "merged" if of else "candidate")
            case Decision(candidate=str(id), promoted=passed):
                status[id] = "promoted" if passed else "rejected"
                promoted += [id] if passed else []
            case Handover(dropped=True, before=str(id)):
                status[id] = "dropped"
            case Handover(adapter=str(id)):
                status[id] = "kept"
            case Rollback(retired=retired):
                status.update(dict.fromkeys(retired, "rolled back"))
                promoted = [id for id in promoted if id not in retired]
    return Standing(incumbent=promoted[-1] if promoted else BASE, status=status, promoted=promoted)


def known(ledger: RunLedger, given: str) -> str:
    """The adapter that an id, the beginning of one, or `base` stands for.

    Raises:
        LoopError: The run has no such adapter, or several.
    """
    if given == BASE:
        return BASE
    ids = [adapter.id for adapter in ledger.find(Adapter)]
    found = [id for id in ids if id == given] or [id for id in ids if given and id.startswith(given)]
    if len(found) != 1:
        what = f"several adapters that begin with {given!r}" if found else f"no adapter {given!r}"
        raise LoopError(f"run {ledger.run} has {what}; there are {', '.join([BASE, *sorted(ids)])}")
    return found[0]


class RolledBack(BaseModel):
    """What a rollback did."""

    run: str
    incumbent: str
    retired: list[str]
    """Adapters taken back."""
    memories: int
    """Memories made under them that are not recalled any more."""


async def roll_back(workspace: Path, run: str | None, given: str, reason: str) -> RolledBack:
    """Make an adapter that was promoted earlier, or the base, the incumbent again.

    The adapters promoted since retire, with what was remembered under them, except facts that a verifier confirmed.

    Raises:
        LoopError: The run is not finished, or the adapter was not promoted in it or is the incumbent.
        LedgerError: There is no such run, or the workspace is in use.
    """
    from quintet.graph.settings import Settings
    from quintet.memory.index import Index
    from quintet.memory.memory import Memory

    place = Workspace.existing(workspace)
    with place.ledger() as ledgers:
        ledger = ledgers.run(run)
        with place.claim(ledger.run):
            if ledger.info.status != "finished":
                raise LoopError(f"run {ledger.run} is not finished: let it end first, with quintet resume {ledger.run}")
            adapter, now = known(ledger, given), standing(ledger)
            if adapter == now.incumbent:
                raise LoopError(f"{adapter} is the incumbent of {ledger.run} already")
            if adapter not in (BASE, *now.promoted):
                there = ", ".join(one for one in (BASE, *now.promoted) if one != now.incumbent) or "nothing else"
                raise LoopError(f"{adapter} is {now.status[adapter]}; {ledger.run} can be rolled back to {there}")
            retired = now.promoted[now.promoted.index(adapter) + 1 :] if adapter != BASE else now.promoted
            settings = Settings.of_run(ledger.info.settings)
            memory = Memory(ledger, Index(place.chroma, settings.memory), settings.memory)
            try:
                # First, since doing it twice changes nothing: a rollback that is on record is complete.
                memories = await memory.retire(memory.made_under(retired), f"rolled back to {adapter}")
            finally:
                memory.close()
            number = ledger.count(Rollback) + 1
            last = max(decision.round for decision in ledger.find(Decision))
            ledger.add(Rollback(round=last, adapter=adapter, retired=tuple(retired), reason=reason, number=number))
    return RolledBack(run=ledger.run, incumbent=adapter, retired=retired, memories=len(memories))


def export(workspace: Path, given: str, out: Path, merged: bool = False) -> Path:
    """Write an adapter as a PEFT folder, or folded into its base model as a model folder.

    Args:
        workspace: Where it was made.
        given: Its id, or the beginning of it.
        out: A folder that does not exist yet.
        merged: Whether to fold it into the model's weights.

    Raises:
        LoopError: The folder is there already.
        LedgerError: No record has this id.
        RegistryError: The adapter is damaged.
        ModelError: The base model is not at hand.
    """
    from quintet.graph.card import card
    from quintet.graph.settings import Settings
    from quintet.models.catalogue import locate
    from quintet.training.exporting import export_merged, export_peft

    place = Workspace.existing(workspace)
    if given == BASE:
        raise LoopError("the base model is no adapter: name one that quintet adapters lists")
    if out.exists():
        raise LoopError(f"{out} is there already: name a folder that is not")
    with place.ledger() as ledgers:
        ledger = ledgers.holder(given)
        adapter = known(ledger, given)
        settings = Settings.of_run(ledger.info.settings)
        registry = Registry(place.adapters)
        registry.check(adapter)
        files = locate(settings.model.name, settings.model.network, settings.model.chat_template)
        record = ledger.get(adapter)
        about = card(ledger, place, record, files, merged) if isinstance(record, Adapter) else ""
    write = export_merged if merged else export_peft
    write(registry.path(adapter), files, out, about)
    return out


def _registered(ledger: RunLedger, adapter: Adapter, registry: Registry, standings: Standing) -> Registered:
    try:
        registry.check(adapter.id)
        status = standings.status[adapter.id]
    except RegistryError as error:
        status = f"damaged: {error}"
    gates = [e for e in ledger.find(Evaluation, adapter=adapter.id) if e.suite == "gate"]
    return Registered(
        id=adapter.id,
        run=ledger.run,
        round=adapter.round,
        start=adapter.start or "base",
        rows=len(adapter.rows) + len(adapter.experiences),
        weights=adapter.weights,
        role=adapter.role or "",
        status=status,
        incumbent=adapter.id == standings.incumbent,
        gate=f"{gates[0].correct}/{gates[0].n}" if gates else "–",
        path=str(registry.path(adapter.id)),
    )
