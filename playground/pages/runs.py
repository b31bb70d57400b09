"""The runs of the workspace: how each stands, what it gained, what it took."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quintet.graph.report import state
from quintet.memory.ledger import RunLedger
from quintet.playground.errors import NotFoundError
from quintet.playground.rendering import page
from quintet.playground.site import Site
from quintet.records import Decision, Evaluation, Part, Verification

ORDERS = ("started", "run", "rounds", "effect", "tokens", "seconds")
"""What runs can be sorted by."""


class Line(Part):
    """A run in the list."""

    run: str
    status: str
    started: float
    """Seconds since the epoch."""
    rounds: int
    """Decided so far."""
    wanted: int
    """Rounds wanted in all."""
    base: float | None = None
    """Share of the final suite that the base model has right."""
    promoted: float | None = None
    """The same for what was promoted."""
    effect: float | None = None
    """Promoted minus base."""
    low: float = 0.0
    high: float = 0.0
    tokens: int
    seconds: float


def runs(request: Request) -> Response:
    """The list, filtered by `?q=` and `?status=`, sorted by `?sort=` (`-` before it: downwards)."""
    asked = request.query_params
    site = Site.of(request)
    try:
        lines = [line(site, RunLedger(site.ledger(), info.run)) for info in site.ledger().runs()]
    except NotFoundError:
        lines = []
    statuses = sorted({line.status for line in lines})
    sort = asked.get("sort", "-started")
    shown = [
        line
        for line in lines
        if asked.get("q", "").lower() in line.run.lower() and asked.get("status", "") in ("", line.status)
    ]
    by = sort.removeprefix("-")
    if by in ORDERS:
        # A run without the value comes last either way.
        known = [line for line in shown if getattr(line, by) is not None]
        known.sort(key=lambda line: getattr(line, by), reverse=sort.startswith("-"))
        shown = known + [line for line in shown if getattr(line, by) is None]
    template = "runs_table.html" if request.headers.get("hx-request") else "runs.html"
    return page(request, template, lines=shown, of=len(lines), statuses=statuses, sort=sort, asked=asked)


def line(site: Site, ledger: RunLedger) -> Line:
    """A run in a line, from few records."""
    info, verdicts = ledger.info, ledger.find(Verification)
    found = Line(
        run=info.run,
        status=state(info, site.workspace()),
        started=info.started,
        rounds=ledger.count(Decision),
        wanted=int(info.settings.get("rounds", 0)),
        tokens=info.tokens,
        seconds=info.seconds,
    )
    if not verdicts:
        return found
    verdict = verdicts[-1]
    base, promoted = (ledger.get(id) if id else None for id in (verdict.base, verdict.promoted))
    return found.model_copy(
        update={
            "base": base.correct / base.n if isinstance(base, Evaluation) and base.n else None,
            "promoted": promoted.correct / promoted.n if isinstance(promoted, Evaluation) and promoted.n else None,
            "effect": verdict.effect,
            "low": verdict.effect_low,
            "high": verdict.effect_high,
        }
    )


routes = [Route("/", runs)]
