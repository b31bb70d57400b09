"""Runs or resumes the tiny loop in a process of its own, an event a line; tests kill it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity import Parity
from tiny import tiny_settings

from quintet import Loop


def main(workspace: str, model: str, run: str = "", database: str = "") -> None:
    """Run, or resume `run`, and print every event as JSON."""
    families = [Parity()]
    loop = (
        Loop.resume(run, workspace, tasks=families)
        if run
        else Loop(tiny_settings(Path(model), memory={"database": database}), tasks=families, workspace=workspace)
    )
    for event in loop.stream():
        print(json.dumps(event, default=str), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
