"""A run at a glance: whether the model got better and where, where the loop stands, what each round measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.graph.adapters import Standing, standing
from quintet.graph.hints import hints
from quintet.graph.report import Report, report
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import preview
from quintet.memory.reading.chronicle import PLAYED, Wanted, told
from quintet.memory.reading.counting import count_rounds, count_tried
from quintet.memory.reading.sourcing import in_all
from quintet.playground.charts import charts_of
from quintet.playground.differing import settings as differing
from quintet.playground.lifecycle import Lifecycle, lifecycle_of
from quintet.playground.rendering import page
from quintet.playground.site import Site
from quintet.playground.verdict import verdict_of
from quintet.records import Adapter, Allocation, Curation, Curriculum, Decision, Evaluation, Part, Rollback

LATEST = 30
"""Lines of the feed of a running run."""

COMMAND = re.compile(r"(?P<command>quintet .*?)(?: \((?P<remark>.*)\))?")
"""A hint's command, and what stands in parentheses behind it."""

OVER = 286
"""The status with which htmx is told that it need not ask again."""

BESIDE_SETTINGS = ("joined", "data")
"""What stands among a run's settings and is none: a note of who joined, and of what the data sets held."""


class Round(Part):
    """What was decided in a round."""

    round: int
    decisions: tuple[Decision, ...]
    alarms: tuple[str, ...]
    """Of the monitors."""
    curriculum: Curriculum | None
    moved: bool
    """Whether a training level changes with it."""
    allocations: tuple[Allocation, ...]
    """How the round was shared out, where a bandit did that."""
    rollbacks: tuple[Rollback, ...]


class News(Part):
    """A line of the feed."""

    id: str
    kind: str
    round: int | None
    role: str
    preview: str


def run(request: Request) -> Response:
    """The whole page."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    about = site.of_run(ledger, "Overview")
    live = about["status"] == "running"
    return page(
        request,
        "run.html",
        **about,
        **result_of(ledger),
        **now_of(ledger, about),
        **rounds_of(site, ledger, about),
        live=live,
        latest_lines=LATEST,
        played=PLAYED,
        latest=_latest(ledger, about["newest"]) if live else (),
        settings=settings_of(about["info"].settings),
    )


def result(request: Request) -> Response:
    """Whether the model got better, alone."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    return page(request, "run_result.html", **site.of_run(ledger), **result_of(ledger))


def now(request: Request) -> Response:
    """Where the loop stands and what the run has taken, alone."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    about = site.of_run(ledger)
    return page(
        request, "run_now.html", 200 if about["status"] == "running" else OVER, **about, **now_of(ledger, about)
    )


def rounds(request: Request) -> Response:
    """Decisions and charts, alone."""
    site = Site.of(request)
    ledger = site.run(request.path_params["run"])
    about = site.of_run(ledger)
    return page(request, "run_rounds.html", **about, **rounds_of(site, ledger, about))


def result_of(ledger: RunLedger) -> dict[str, Any]:
    """What run_result.html shows."""
    return {"verdict": verdict_of(ledger, standing(ledger))}


def now_of(ledger: RunLedger, about: dict[str, Any]) -> dict[str, Any]:
    """What run_life.html and run_meter.html show."""
    life: Lifecycle = lifecycle_of(ledger, about["info"], about["status"])
    talking = life.running and life.at == "episodes"
    return {
        "life": life,
        "promoted": len(standing(ledger).promoted),
        "decided": len({decision.round for decision in ledger.find(Decision)}),
        "tried": count_tried(ledger, life.round) if talking else None,
        "joined": [str(name) for name in about["info"].settings.get("joined", ())],
    }


def rounds_of(site: Site, ledger: RunLedger, about: dict[str, Any]) -> dict[str, Any]:
    """What run_rounds.html shows."""
    counted = count_rounds(ledger)
    found = report(ledger, site.workspace(), counted)
    decisions = ledger.find(Decision)
    gates = {
        decision.round: (pair[0], pair[1])
        for decision in decisions
        if len(pair := _evaluations(ledger, decision.evaluations[:2])) == 2
    }
    return {
        "rounds": _decided(ledger, found, decisions),
        "sources": in_all({number: counts.sources for number, counts in counted.items()}),
        "curations": ledger.find(Curation),
        "groups": charts_of(found, counted, ledger.find(Adapter), ledger.role_tokens(), gates),
        "next": [] if about["status"] == "running" else _commands(found, site.path, standing(ledger)),
    }


def _decided(ledger: RunLedger, found: Report, decisions: list[Decision]) -> tuple[Round, ...]:
    """The rounds in which something was decided, the newest first."""
    curricula = {one.round: one for one in ledger.find(Curriculum)}
    rollbacks = ledger.find(Rollback)
    numbers = {*curricula, *(one.round for one in decisions), *(one.round for one in rollbacks)}
    known = {one.round: one for one in found.rounds}
    return tuple(
        Round(
            round=number,
            decisions=tuple(one for one in decisions if one.round == number),
            alarms=known[number].alarms if number in known else (),
            curriculum=curricula.get(number),
            moved=number in curricula and number in known and curricula[number].levels != known[number].levels,
            allocations=tuple(ledger.find(Allocation, round=number)),
            rollbacks=tuple(one for one in rollbacks if one.round == number),
        )
        for number in sorted(numbers, reverse=True)
    )


def _evaluations(ledger: RunLedger, ids: tuple[str, ...]) -> list[Evaluation]:
    return [found for id in ids if isinstance(found := ledger.get(id), Evaluation)]


def _commands(found: Report, workspace: Path, now: Standing) -> list[tuple[str, list[tuple[str, str]]]]:
    """What to do next, and the commands that do it, each with a remark or none."""
    listed = []
    for hint in hints(found, workspace):
        what, _, said = hint.partition(":")
        if any(id in said for id, status in now.status.items() if status == "rolled back"):
            # Said of what the last round promoted, whatever came later.
            continue
        commands = [COMMAND.fullmatch(one.strip()) for one in said.split(" · ")]
        listed.append((what, [(one["command"], one["remark"] or "") for one in commands if one]))
    return [(what, commands) for what, commands in listed if commands]


def _latest(ledger: RunLedger, newest: int) -> tuple[News, ...]:
    return tuple(
        News(
            id=event.id,
            kind=event.kind,
            round=event.round,
            role=event.role or PLAYED.get(event.kind, ""),
            preview=preview(event.record),
        )
        for event in told(ledger, Wanted(), before=newest + 1, limit=LATEST)
    )


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """What a run's settings differ in from the defaults, by section, and all of them."""
    own = {name: value for name, value in given.items() if name not in BESIDE_SETTINGS}
    found = differing(Settings().model_dump(mode="json"), own)
    # What only the defaults have was replaced by something else, which is listed.
    differ = {section: [one for one in settings if one.right is not None] for section, settings in found.items()}
    return {"differ": differ, "number": sum(map(len, differ.values())), "all": own}


routes = [
    Route("/runs/{run}", run),
    Route("/runs/{run}/overview/result", result),
    Route("/runs/{run}/overview/now", now),
    Route("/runs/{run}/overview/rounds", rounds),
]
