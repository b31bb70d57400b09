"""What to do next with a run, in commands to copy."""

from __future__ import annotations

from pathlib import Path

from quintet.graph.report import Report


def hints(report: Report, workspace: Path) -> list[str]:
    """Commands that fit how the run ended, each with what it does.

    Args:
        report: Of the run.
        workspace: Where it lies; named in the commands if it is not the usual place.
    """
    where = f" --workspace {workspace}" if workspace != Path("runs") else ""
    done = sum(r.decision != "" for r in report.rounds)
    if report.status in ("interrupted", "stopped", "failed", "waiting"):
        return [f"go on:      quintet resume {report.run}{where}"]
    if report.status == "out of budget":
        given = report.settings.get("budget", {})
        larger = [f"--{name} {2 * limit:g}" for name in ("tokens", "seconds") if (limit := given.get(name))]
        return [f"go on:      quintet resume {report.run} {' '.join(larger)}{where}"]
    promoted = [r.adapter for r in report.rounds if r.decision == "promoted" and r.adapter]
    found = []
    if promoted:
        best = promoted[-1]
        found += [
            f"talk to it: quintet chat --adapter base --adapter {best}{where}",
            f"take it:    quintet adapters export {best} FOLDER{where}",
        ]
    trained = [r.adapter for r in report.rounds if r.adapter]
    if not any(r.accepted for r in report.rounds):
        found.append("no attempt was right: begin easier (proposer.start_level), or sample more (solver.samples)")
    found += [
        f"more rounds: quintet resume {report.run} --rounds {done + 2}{where} (if the suites have questions left)",
        f"look closer: quintet show {report.run}{where} · quintet lineage {trained[-1] if trained else 'ID'}{where}",
    ]
    return found
