"""Lineage: where any record came from, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.kin import children, kind_of, parents
from quintet.records import (
    Adapter,
    Allocation,
    Attempt,
    Baseline,
    Call,
    Contrast,
    Critique,
    Curation,
    Curriculum,
    Decision,
    Evaluation,
    Experience,
    Handover,
    Lesson,
    Monitors,
    Opening,
    Part,
    Persona,
    Proposal,
    Recall,
    Record,
    Reply,
    Rescore,
    Retirement,
    Reward,
    Row,
    Selection,
    Skill,
    Stage,
    Task,
    Transition,
    Verification,
)

WIDTH = 100
"""Characters of a preview."""

LIMIT = 2000
"""Relatives in each direction; a base model's task can have very many."""


Following = Callable[[RunLedger, Collection[str]], dict[str, list[str]]]
"""Finds by record the ids of its parents, or of its children."""


class Relative(Part):
    """A record on the way to or from another."""

    id: str
    kind: str
    depth: int
    """Links between the two; 1 for a parent or child."""
    round: int | None
    preview: str
    """One line of what it says."""
    via: str
    """The id of the nearer record by which it was reached."""


class Lineage(Part):
    """A record's ancestors and descendants, each breadth-first: the nearest come first."""

    run: str
    id: str
    kind: str
    preview: str
    ancestors: tuple[Relative, ...]
    descendants: tuple[Relative, ...]
    truncated: bool = False
    """Whether there were more relatives than are listed."""


def lineage(ledger: RunLedger, id: str, limit: int = LIMIT) -> Lineage:
    """Follow the links of a record both ways.

    Args:
        ledger: The run that holds it.
        id: A record's full id.
        limit: Relatives listed in each direction, at most.

    Raises:
        LedgerError: The run holds no such record.
    """
    record = ledger.get(id)
    if record is None:
        raise LedgerError(f"run {ledger.run!r} holds no record with the id {id!r}")
    ancestors, more_ancestors = _walk(ledger, id, parents, limit)
    descendants, more_descendants = _walk(ledger, id, children, limit)
    return Lineage(
        run=ledger.run,
        id=id,
        kind=record.kind,
        preview=preview(record),
        ancestors=ancestors,
        descendants=descendants,
        truncated=more_ancestors or more_descendants,
    )


def _walk(ledger: RunLedger, start: str, following: Following, limit: int) -> tuple[tuple[Relative, ...], bool]:
    """The relatives in one direction, a generation at a time, and whether there are more."""
    seen, found, nearest = {start}, list[Relative](), [start]
    depth, more = 0, False
    while nearest and not more:
        depth += 1
        near = following(ledger, nearest)
        reached: dict[str, str] = {}
        for id, via in ((id, nearer) for nearer in nearest for id in near.get(nearer, ())):
            if id in seen:
                continue
            if more := len(found) + len(reached) == limit:
                break
            seen.add(id)
            reached[id] = via
        records = ledger.get_many(reached)
        found += [_relative(id, records.get(id), depth, via) for id, via in reached.items()]
        nearest = list(reached)
    return tuple(found), more


def _relative(id: str, record: Record | None, depth: int, via: str) -> Relative:
    return Relative(
        id=id,
        kind=record.kind if record else kind_of(id),
        depth=depth,
        round=getattr(record, "round", None),
        preview=preview(record) if record else "(in another run)",
        via=via,
    )


def preview(record: Record) -> str:
    """What a record says, in one line of at most `WIDTH` characters."""
    line = " ".join(_said(record).split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _said(record: Record) -> str:  # noqa: PLR0912 - one line for each kind
    match record:
        case Task():
            return f"{record.family} level {record.level}: {record.question}"
        case Proposal():
            how = f" ({record.how})" if record.how else ""
            outcome = "accepted" if record.accepted else "dropped"
            return f"{record.origin}{how} {record.family}: {outcome}, {record.reason}"
        case Call():
            said = record.error or (record.completions[0].text if record.completions else "")
            return f"{record.role} ×{len(record.completions)}: {said}"
        case Recall():
            return f"{record.role} recalled {len(record.items)}: {record.query}"
        case Attempt():
            return f"actions: {record.text}" if record.transitions else f"answer {record.answer}: {record.text}"
        case Critique():
            verdict = f"{record.verdict}, {'right' if record.correct else 'wrong'} ({record.score:g})"
            return f"{verdict}: {record.error or record.feedback}" if record.error or record.feedback else verdict
        case Reply():
            return f"{record.role}: {record.verdict or ''} {record.error or record.content}"
        case Lesson():
            return record.text
        case Retirement():
            return f"{'retired' if record.retired else 'restored'}: {record.reason}"
        case Selection():
            return f"{'chosen' if record.chosen else 'left out'}: {record.reason}"
        case Row():
            return f"weight {record.weight:g}: {record.completion}"
        case Contrast():
            return f"reward {record.reward:g}: {record.completion}"
        case Experience():
            against = "" if record.baseline is None else f" against {record.baseline:g}"
            return f"{record.role} earned {record.reward:g}{against}: {record.completion}"
        case Baseline():
            return f"{record.role} in {record.family}: {record.value:g}, {record.mean:g} over {record.rewards} new ones"
        case Transition():
            end = ", the end" if record.done else ""
            return f"{record.action} → {record.error or record.observation} (reward {record.reward:g}{end})"
        case Reward():
            return f"{record.role} earned {record.value:g}: {record.reason}"
        case Curation():
            return f"{record.family}: kept {record.kept} of {record.read} rows"
        case Allocation():
            shares = ", ".join(f"{arm} {share:.0%}" for arm, share in record.shares.items())
            return f"{shares}: {record.reason}"
        case Skill():
            return f"{record.name}: {record.about}"
        case Persona():
            return f"{'kept' if record.kept else 'dropped'} for {record.role}, {record.reason}: {record.text}"
        case Rescore():
            scores = ", ".join(f"{name} {score:g}" for name, score in record.scores.items())
            return f"under {record.adapter}: {scores}"
        case Adapter():
            what = f"{len(record.rows)} rows"
            if record.experiences:
                what += f" and {len(record.experiences)} experiences"
            whose = f"{record.role}'s: " if record.role else ""
            return f"{whose}{what} from {record.start}, weights {record.weights[:12]}"
        case Handover():
            return f"{record.role} from {record.before} to {record.adapter}: {record.reason}"
        case Evaluation():
            return f"{record.adapter} on {record.suite}: {record.correct} of {record.n} right ({record.strict} strict)"
        case Decision():
            return f"{'promoted' if record.promoted else 'kept the incumbent'}: {record.reason}"
        case Curriculum():
            return f"{record.levels}: {record.reason}"
        case Monitors():
            return "; ".join(record.alarms) or "no alarms"
        case Opening():
            return f"final suite, opening {record.number}: {len(record.tasks)} items"
        case Verification():
            return f"effect {record.effect:+.3f} [{record.effect_low:+.3f}, {record.effect_high:+.3f}]"
        case Stage():
            return record.name
        case _:
            return record.model_dump_json()
