"""Runs or resumes the tiny loop on an environment in a process of its own, an event a line; tests kill it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import tiny_settings
from wild import Tosses

from quintet import Loop
from quintet.graph.settings import Settings


def settings(model: Path, family: str = "tosses", **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "proposer": {"families": [family], "tasks": 6, "invented": 2},
        "solver": {"samples": 3, "max_tokens": 8, "turns": 2, "revise_below": 1.0},
        "curator": {"longest": 200, "rows_per_task": 2},
        "evaluation": {"families": {family: [0]}, "gate_items": 12, "retention_items": 0},
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return tiny_settings(model, **values)


def main(workspace: str, model: str, run: str | None = None) -> None:
    """Run, or resume `run`, and print every event as JSON."""
    families = [Tosses()]
    loop = (
        Loop.resume(run, workspace, tasks=families)
        if run
        else Loop(settings(Path(model)), tasks=families, workspace=workspace)
    )
    for event in loop.stream():
        print(json.dumps(event, default=str), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
