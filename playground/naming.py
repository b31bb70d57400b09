"""What records are called on the pages, in a few words, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quintet.memory.ledger import Event, RunLedger
from quintet.memory.lineage import preview
from quintet.memory.reading.attempts import numbers
from quintet.memory.reading.chronicle import PLAYED
from quintet.playground.rendering import points, short
from quintet.records import (
    Adapter,
    Attempt,
    Call,
    Contrast,
    Critique,
    Decision,
    Evaluation,
    Experience,
    Handover,
    Lesson,
    Opening,
    Part,
    Proposal,
    Recall,
    Record,
    Reply,
    Retirement,
    Row,
    Selection,
    Stage,
    Task,
    Verification,
)
from quintet.tasks.environment import decode

GIST = 160
"""Characters of a gist."""

NO_NUMBERS: Mapping[str, int] = {}


class Named(Part):
    """A record in a line."""

    id: str
    kind: str
    title: str
    gist: str
    role: str
    """Whose it is; empty: no role's."""
    round: int | None
    seq: int


def numbered(ledger: RunLedger, events: Iterable[Event]) -> dict[str, int]:
    """By attempt, its number in the conversation, for all attempts at tasks that attempts among these events are at."""
    tasks = {event.task for event in events if event.kind == Attempt.kind and event.task}
    return numbers(ledger, tasks) if tasks else {}


def named(event: Event, attempts: Mapping[str, int] = NO_NUMBERS) -> Named:
    """An event in a line; `attempts`: their numbers."""
    return Named(
        id=event.id,
        kind=event.kind,
        title=title(event.record, attempts.get(event.id)),
        gist=gist(event.record),
        role=speaker(event.kind, event.role),
        round=event.round,
        seq=event.seq,
    )


def speaker(kind: str, role: str | None = None) -> str:
    """The role that a record is of: the one it names, or that makes records of its kind; empty: none."""
    return role or PLAYED.get(kind, "")


def title(record: Record, number: int | None = None) -> str:  # noqa: PLR0912 - one case for each kind
    """A record's kind, and which one it is; of an attempt, its number in the conversation, else its sample."""
    match record:
        case Call():
            return f"Call by {record.role}"
        case Recall():
            return f"Recall for {record.role}"
        case Reply():
            return f"Reply of {record.role}"
        case Attempt():
            return f"Attempt {number or record.sample + 1}" + (f", turn {record.turn + 1}" if record.turn else "")
        case Critique():
            return f"Critique: {'right' if record.correct else 'wrong'}"
        case Selection():
            return f"Selection: {'chosen' if record.chosen else 'left out'}"
        case Retirement():
            return "Retirement" if record.retired else "Restoration"
        case Evaluation():
            return f"Evaluation: {record.suite}"
        case Decision():
            return f"Decision: {decided(record)}"
        case Opening():
            return f"Opening {record.number} of the final suite"
        case Adapter():
            return f"Adapter {short(record.id).partition('-')[2]}"
        case Stage():
            return f"Stage: {record.name}"
        case _:
            return record.kind.capitalize()


def decided(decision: Decision) -> str:
    """`promoted`, `rejected` or `nothing trained`."""
    return "promoted" if decision.promoted else "rejected" if decision.candidate else "nothing trained"


def gist(record: Record) -> str:
    """What a record says beside its title, in one line."""
    line = " ".join(_said(record).split())
    return line if len(line) <= GIST else line[: GIST - 1] + "…"


def _said(record: Record) -> str:  # noqa: PLR0912 - one case for each kind
    match record:
        case Task():
            said = record.question
        case Proposal():
            how = f" ({record.how})" if record.how else ""
            said = f"{record.origin}{how}, {'accepted' if record.accepted else 'dropped'}: {record.reason}"
        case Call():
            said = record.error or (record.completions[0].text if record.completions else "no reply")
        case Attempt():
            # The actions alone: that they are kept as JSON tells nobody anything.
            said = " · ".join(decode(record.text) or [record.text]) if record.transitions else record.text
        case Critique():
            said = record.error or record.feedback or f"score {record.score:g}, {record.verdict}"
        case Lesson():
            said = record.text
        case Selection() | Retirement():
            said = record.reason
        case Row() | Contrast() | Experience():
            said = record.completion
        case Handover():
            said = f"{record.role}, {record.reason}"
        case Adapter():
            rows = len(record.rows) + len(record.experiences)
            said = f"{rows:,} {'row' if rows == 1 else 'rows'}"
            said += f" against {len(record.contrasts):,} attempts" if record.contrasts else ""
            parents = " ".join(map(short, record.merged))
            said += f", merged of {parents}" if parents else f", from {short(record.start)}"
            said = f"the {record.role}'s, {said}" if record.role else said
        case Evaluation():
            said = f"{record.correct} of {record.n} right, {short(record.adapter)}"
        case Decision():
            # The reason begins with what the title says.
            said = record.reason.removeprefix(f"{decided(record)}: ")
        case Opening():
            said = f"{len(record.tasks):,} items"
        case Verification():
            said = f"{points(record.effect)} points [{points(record.effect_low)}, {points(record.effect_high)}]"
        case Stage():
            said = f"end of {record.name}"
        case _:
            said = preview(record)
    return said
