"""The report as a table for the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from quintet.graph.report import Counts, Final, Report, Score
    from quintet.memory.lineage import Lineage, Relative


PLOT = 60
"""Most columns of the plot's axis."""
BESIDE = 28
"""Columns beside it: round, side, decision."""
WIDE = 100
"""Columns that both tables of rounds need; in fewer, the first leaves the scores to the second."""
SCORES = ("steer", "gate: incumbent", "candidate")

COLUMNS = (
    "round",
    "levels",
    "tasks",
    "right/attempts",
    "rows",
    "steer",
    "gate: incumbent",
    "candidate",
    "p",
    "decision",
    "s",
)


def render(report: Report, width: int) -> Group:
    """The table of rounds, what the roles did, and the verdict."""
    axis = max(20, min(PLOT, width - BESIDE))
    parts: list[Table | Text] = [_rounds(report, width), _scores(report, width), *_plot(report, axis), _roles(report)]
    parts += _sources(report)
    parts += [Text(f"round {r.round}: joined roles said: {_said(r.counts)}") for r in report.rounds if _said(r.counts)]
    parts += [
        Text(f"round {r.round}: shares of {of}: {_shares(found)}")
        for r in report.rounds
        for of, found in r.shares.items()
    ]
    parts += [Text(f"round {r.round}: {r.reason}") for r in report.rounds if r.reason]
    parts += [Text(f"round {r.round}: alarm: {alarm}", style="yellow") for r in report.rounds for alarm in r.alarms]
    if report.final:
        parts += [Text(), *_verdict(report.final)]
    budget = report.budget
    took = (
        f"{budget.seconds / 60:.1f} minutes, {budget.tokens:,} tokens, peak memory {budget.peak_rss_mb / 1024:.1f} GB"
    )
    return Group(*parts, Text(took, style="dim"))


def plain(report: Report, width: int) -> str:
    """The same as text without colour."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(report, width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def percent(score: Score | None) -> str:
    """`lenient (strict) %`, or a dash."""
    if score is None or not score.n:
        return "–"
    return f"{100 * score.correct / score.n:.0f} ({100 * score.strict / score.n:.0f}) %"


def _rounds(report: Report, width: int) -> Table:
    table = Table(title=f"{report.run}: {report.status}", title_justify="left", box=None, pad_edge=False)
    shown = [name for name in COLUMNS if width >= WIDE or name not in SCORES]
    for name in shown:
        table.add_column(name, justify="left" if name in ("levels", "decision") else "right")
    for r in report.rounds:
        cells = (
            str(r.round),
            " ".join(str(level) for level in r.levels.values()),
            str(r.tasks),
            f"{r.accepted}/{r.attempts}",
            str(r.rows),
            percent(r.steer),
            percent(r.gate.incumbent if r.gate else None),
            percent(r.gate.candidate if r.gate else None),
            f"{r.p_value:.1g}" if r.gate else "–",
            r.decision,
            f"{r.seconds:.0f}",
        )
        table.add_row(*(cell for name, cell in zip(COLUMNS, cells, strict=True) if name in shown))
    return table


def _scores(report: Report, width: int) -> Table:
    title = "scores: % right (lenient), 95 % interval, items"
    gap = (0, 1) if width >= WIDE else (0, 1, 0, 0)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=gap)
    for name in ("round", "steer", "gate: incumbent", "gate: candidate", "retention: candidate"):
        table.add_column(name, justify="right")
    for r in report.rounds:
        gate = (r.gate.incumbent, r.gate.candidate) if r.gate else (None, None)
        table.add_row(str(r.round), *(_interval(score) for score in (r.steer, *gate, r.retention)))
    return table


def _interval(score: Score | None) -> str:
    if score is None or not score.n:
        return "–"
    return f"{100 * score.correct / score.n:.0f} [{100 * score.low:.0f}, {100 * score.high:.0f}] of {score.n}"


def _plot(report: Report, width: int) -> list[Text]:
    """The gate's scores as intervals on one axis, a line each: what a table of numbers hides is seen here."""
    gates = [(r, r.gate) for r in report.rounds if r.gate]
    if not gates:
        return []
    highest = max(side.high for _, gate in gates for side in (gate.incumbent, gate.candidate))
    # Up to the next ten per cent, so that the axis ends in a round number.
    top = min(1.0, math.ceil(10 * highest) / 10)
    axis = f"{'0 %':<{width - 6}}{100 * top:>5.0f} %"
    lines = [Text("gate by round, 95 % interval"), Text(f"{'':18}{axis}", style="dim")]
    for r, gate in gates:
        for name, side in (("incumbent", gate.incumbent), ("candidate", gate.candidate)):
            line = Text(f"{r.round if name == 'incumbent' else '':>5}  {name:<11}")
            style = "green" if name == "candidate" and r.decision == "promoted" else ""
            line.append(_bar(side, top, width), style=style)
            lines.append(line.append(f"  {r.decision}" if name == "candidate" else ""))
    return lines


def _bar(score: Score, top: float, width: int) -> str:
    """An interval with its estimate, on an axis from 0 to `top`."""
    low, here, high = (
        round(share / top * (width - 1))
        for share in (score.low, score.correct / score.n if score.n else 0.0, score.high)
    )
    cells = [" "] * width
    cells[low : high + 1] = ["─"] * (high + 1 - low)
    cells[low], cells[high] = "├", "┤"
    cells[here] = "●"
    return "".join(cells)


def _roles(report: Report) -> Table:
    table = Table(title="what the roles did", title_justify="left", box=None, pad_edge=False)
    for name in ("round", "invented", "refused", "rescued", "recalls", "attempts refused by reason"):
        table.add_column(name, justify="left" if name.startswith("attempts") else "right")
    for r in report.rounds:
        counts = r.counts
        reasons = ", ".join(f"{reason} {number}" for reason, number in counts.attempts_refused.items())
        table.add_row(
            str(r.round),
            str(counts.proposals_invented),
            str(sum(counts.proposals_refused.values())),
            f"{counts.rescued}/{counts.revised}",
            str(counts.recalls),
            Text(reasons),
        )
    return table


def _sources(report: Report) -> list[Table | Text]:
    """Where tasks came from, if not only from where they come by default."""
    rounds = [(r.round, r.counts.sources) for r in report.rounds]
    if not {source for _, sources in rounds for source in sources} - {"drawn", "invented"}:
        return []
    table = Table(title="where tasks came from", title_justify="left", box=None, pad_edge=False)
    for name in ("round", "source", "proposed", "accepted", "right", "rows", "reward", "refused by reason"):
        table.add_column(name, justify="left" if name in ("source", "refused by reason") else "right")
    for number, sources in rounds:
        for source, counts in sources.items():
            table.add_row(
                str(number),
                source,
                str(counts.proposed),
                str(counts.accepted),
                "" if counts.pass_rate is None else f"{100 * counts.pass_rate:.0f} %",
                str(counts.rows),
                "" if counts.reward is None else f"{counts.reward:.2f}",
                Text(", ".join(f"{reason} {count}" for reason, count in counts.refused.items())),
            )
    agreed = sum(counts.agreed for _, sources in rounds for counts in sources.values())
    note = f"{agreed} accepted tasks have no other truth than the model's agreement with itself"
    return [table, *([Text(note, style="yellow")] if agreed else [])]


def _shares(shares: Mapping[str, float]) -> str:
    """Shares by arm, the largest first."""
    largest = sorted(shares.items(), key=lambda one: -one[1])
    return ", ".join(f"{arm} {100 * share:.0f} %" for arm, share in largest)


def _said(counts: Counts) -> str:
    """How often each joined role spoke, and how often its reply was lost."""
    roles = dict.fromkeys([*counts.said, *counts.lost])
    lost = {role: f" ({number} lost)" for role, number in counts.lost.items()}
    return ", ".join(f"{role} {counts.said.get(role, 0)}{lost.get(role, '')}" for role in roles)


def _verdict(final: Final) -> list[Text]:
    def side(name: str, correct: int, strict: int) -> Text:
        shares = f"{100 * correct / final.n:.1f} % right, {100 * strict / final.n:.1f} % in the form asked for"
        return Text(f"  {name:<9}{correct:>4}/{final.n}  {shares}")

    lines = [Text(f"final suite ({final.n} items, opening {final.opening})", style="bold")]
    lines.append(side("base", final.base.correct, final.base.strict))
    if final.promoted is None:
        return [*lines, Text("  nothing was promoted: the model is the base model")]
    lines.append(side("promoted", final.promoted.correct, final.promoted.strict))
    interval = f"[{100 * final.effect_low:+.1f}, {100 * final.effect_high:+.1f}]"
    effect = f"{100 * final.effect:+.1f} points, {100 * final.confidence:g} % interval {interval}"
    return [*lines, Text(f"  effect   {effect}, p = {final.p_value:.2g}")]


def family_tree(found: Lineage) -> str:
    """A record with its ancestors above and its descendants below, the nearer ones nearer."""

    def line(relative: Relative) -> str:
        return f"{'  ' * (relative.depth - 1)}{relative.id}  {relative.preview}"

    lines = [f"run {found.run}", "came from:" if found.ancestors else "came from nothing earlier"]
    lines += [f"  {line(relative)}" for relative in found.ancestors]
    lines += [f"{found.id}  {found.preview}"]
    lines += ["came of it:" if found.descendants else "nothing came of it"]
    lines += [f"  {line(relative)}" for relative in found.descendants]
    return "\n".join([*lines, "… and more"] if found.truncated else lines)
