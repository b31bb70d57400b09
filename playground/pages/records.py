"""Any record: what it says, where it came from, what came of it, and its JSON."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import Event, RunLedger
from quintet.memory.reading.kin import by_kind, children, events_of, kind_of, parents
from quintet.memory.reading.trainset import choice_of, fates_of
from quintet.playground.asking import number
from quintet.playground.errors import NotFoundError
from quintet.playground.fields import fields
from quintet.playground.naming import Named, named, numbered, speaker
from quintet.playground.rendering import page, url
from quintet.playground.site import Site
from quintet.records import (
    Adapter,
    Allocation,
    Answer,
    Attempt,
    Call,
    Completion,
    Contrast,
    Decision,
    Evaluation,
    Part,
    Recall,
    Record,
    Row,
    Selection,
    Task,
)

RELATIVES = 12
"""Parents, and children, listed beside a record; the rest are in the list of events."""

SIDES = ("gate, incumbent", "gate, candidate", "retention, incumbent", "retention, candidate")
"""What the evaluations of a decision are, in their order."""

ITEMS = 50
"""Items of an evaluation shown at once."""

NUMBERS = re.compile(r"\[\n([-+.\deE,\s]+)\]")
"""A list of numbers in indented JSON, over many lines; inside a string no line ends."""


class Relatives(Part):
    """Parents or children."""

    listed: tuple[Named | str, ...]
    """The first; an id where the run lacks the record."""
    kinds: dict[str, int]
    """How many there are, by kind."""
    total: int
    all: str
    """Where all are listed."""


class Said(Part):
    """A completion, and the attempt that it became."""

    completion: Completion
    place: int
    attempt: str | None
    logprob: float | None
    """Mean log-probability of its tokens under the raw model."""


class Item(Part):
    """An item of an evaluation with its answer."""

    place: int
    """From 0."""
    answer: Answer
    task: Task | None


class Judged(Part):
    """An evaluation in a line."""

    id: str
    name: str = ""
    """What it is to a decision."""
    evaluation: Evaluation


def find(request: Request) -> Response:
    """To the newest run that holds a record with this id, or with one that begins so."""
    ledger = Site.of(request).ledger()
    try:
        id = ledger.resolve(request.path_params["id"])
        run = ledger.holder(id).run
    except LedgerError as error:
        if error.fault:
            raise
        raise NotFoundError(str(error)) from error
    return RedirectResponse(f"/runs/{url(run)}/records/{url(id)}", 307)


def record(request: Request) -> Response:
    """The record; of an evaluation, with `?items=`, the items from there on."""
    site, ledger, event = _asked(request)
    found, about = event.record, named(event, numbered(ledger, [event]))
    context: dict[str, Any] = {
        "event": event,
        "record": found,
        "title": about.title,
        "about": about,
        "role": speaker(event.kind, event.role),
        "conversation": _conversation(event),
    }
    if isinstance(found, Evaluation):
        context |= _items(request, ledger, found)
        if request.headers.get("hx-request") and "items" in request.query_params:
            return page(request, "record_items.html", run=ledger.run, **context)
    came = children(ledger, [event.id]).get(event.id, [])
    return page(
        request,
        "record.html",
        run=ledger.run,
        **site.of_run(ledger),
        **context,
        **_special(ledger, event, found, came),
        parents=_relatives(ledger, event, parents(ledger, [event.id]).get(event.id, []), "led-to"),
        children=_relatives(ledger, event, came, "came-of"),
    )


def raw(request: Request) -> Response:
    """The record as JSON: to be shown, or as a file with `?download`."""
    _, _, event = _asked(request)
    text = json.dumps(json.loads(event.body), indent=2, ensure_ascii=False)
    if "download" in request.query_params:
        name = f'attachment; filename="{event.id}.json"'
        return Response(text, media_type="application/json", headers={"content-disposition": name})
    lines = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    return page(request, "record_raw.html", text=lines)


def text(request: Request) -> Response:
    """The whole text at `?path=` in the record's JSON, such as `completions.0.text`."""
    _, ledger, event = _asked(request)
    path = request.query_params.get("path", "")
    found = _at(json.loads(event.body), path)
    if not isinstance(found, str):
        raise NotFoundError(f"record {event.id} of run {ledger.run!r} has no text at {path!r}")
    return page(request, "record_text.html", text=found)


def _at(found: Any, path: str) -> Any:
    """What stands at a path in JSON; `None` where nothing does."""
    if isinstance(found, dict) and path in found:
        # A key may hold a dot itself.
        return found[path]
    step, dot, rest = path.partition(".")
    if dot and isinstance(found, dict) and step in found:
        return _at(found[step], rest)
    if isinstance(found, list) and (place := number(step)) is not None and place < len(found):
        return _at(found[place], rest) if dot else found[place]
    return None


def _asked(request: Request) -> tuple[Site, RunLedger, Event]:
    site = Site.of(request)
    ledger, id = site.run(request.path_params["run"]), request.path_params["id"]
    site.record(ledger, id)
    return site, ledger, events_of(ledger, [id])[id]


def _conversation(event: Event) -> str | None:
    """The task whose conversation it stands in."""
    return event.id if event.kind == Task.kind else event.task


def _relatives(ledger: RunLedger, event: Event, ids: list[str], asked: str) -> Relatives:
    kinds = by_kind(ids)
    # All kinds that are few before one that is many.
    some = ids if len(ids) <= RELATIVES else sorted(ids, key=lambda id: kinds[kind_of(id)])[:RELATIVES]
    known = events_of(ledger, some)
    numbers = numbered(ledger, known.values())
    return Relatives(
        listed=tuple(named(known[id], numbers) if id in known else id for id in some),
        kinds=kinds,
        total=len(ids),
        all=f"/runs/{url(ledger.run)}/events?{urlencode({asked: event.id})}",
    )


def _special(ledger: RunLedger, event: Event, record: Record, came: list[str]) -> dict[str, Any]:
    """What records of a kind show beside their fields, and which of these are then left out; `came`: the children."""
    match record:
        case Call():
            shown = fields(record, ("messages", "completions", "error"))
            return {"fields": shown, "said": _said(ledger, record, came)}
        case Evaluation():
            return {"fields": ()}
        case Adapter():
            known = ledger.get_many([id for id in came if kind_of(id) == Evaluation.kind])
            judged = [Judged(id=id, evaluation=one) for id in came if isinstance(one := known.get(id), Evaluation)]
            fate = fates_of(ledger, [event.id])[event.id]
            return {"fields": fields(record, ("rows",)), "fate": fate, "judged": judged}
        case Decision():
            known = ledger.get_many(record.evaluations)
            judged = [
                Judged(id=id, name=name, evaluation=one)
                for name, id in zip(SIDES, record.evaluations, strict=False)
                if isinstance(one := known.get(id), Evaluation)
            ]
            return {"fields": fields(record, ("evaluations", "reason")), "judged": judged}
        case Recall():
            return {"fields": fields(record, ("sources",))}
        case Row() | Contrast() | Selection() | Attempt():
            return {"fields": fields(record), "choice": choice_of(ledger, event.id)}
        case Allocation():
            # A row for each arm: its share beside what the choice rests on.
            evidence = {arm: {"share": share, **record.evidence.get(arm, {})} for arm, share in record.shares.items()}
            return {"fields": fields(record.model_copy(update={"evidence": evidence}), ("shares",))}
        case _:
            return {"fields": fields(record)}


def _said(ledger: RunLedger, call: Call, came: list[str]) -> list[Said]:
    known = ledger.get_many([child for child in came if kind_of(child) == Attempt.kind])
    became = {one.sample: attempt for attempt, one in known.items() if isinstance(one, Attempt)}
    return [
        Said(
            completion=completion,
            place=place,
            attempt=became.get(place),
            logprob=sum(completion.logprobs) / len(completion.logprobs) if completion.logprobs else None,
        )
        for place, completion in enumerate(call.completions)
    ]


def _items(request: Request, ledger: RunLedger, evaluation: Evaluation) -> dict[str, Any]:
    """A page of an evaluation's items; `?show=` says which: `right` or `wrong`."""
    show, first = request.query_params.get("show", ""), number(request.query_params.get("items")) or 0
    fitting = [
        (place, answer)
        for place, answer in enumerate(evaluation.answers)
        if show not in ("right", "wrong") or answer.correct == (show == "right")
    ]
    some = fitting[first : first + ITEMS]
    tasks = ledger.get_many([answer.task for _, answer in some])
    return {
        "show": show,
        "items": [
            Item(place=place, answer=answer, task=task if isinstance(task := tasks.get(answer.task), Task) else None)
            for place, answer in some
        ],
        "following": first + ITEMS if first + ITEMS < len(fitting) else None,
        "left": len(fitting) - first - ITEMS,
    }


routes = [
    Route("/records/{id}", find),
    Route("/runs/{run}/records/{id}", record),
    Route("/runs/{run}/records/{id}/raw", raw),
    Route("/runs/{run}/records/{id}/text", text),
]
