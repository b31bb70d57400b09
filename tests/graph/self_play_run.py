"""Runs or resumes a tiny run in which proposer and solver learn, in a process of its own; tests kill it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.graph.settings import Settings

BOTH = ["solver", "proposer"]


def settings(model: Path, **play: Any) -> Settings:
    """A run of three rounds, in which the model sets most of its tasks itself."""
    return tiny_settings(
        model,
        rounds=3,
        proposer={
            "sources": ["drawn", "challenger"],
            "tasks": 2,
            "mix": {"challenger": 8},
            "options": {"challenger": {"band": [0.0, 1.0], "samples": 0}},
            "max_tokens": 24,
        },
        solver={"turns": 1, "samples": 4},
        training={"objective": "grpo", "learning_rate": 1e-3, "epochs": 1},
        trainer={"least_rows": 2},
        tasks={"shares": {"train": 0.7, "steer": 0.0, "retention": 0.0, "gate": 0.2, "final": 0.1}},
        evaluation={"steer_items": 0, "monitors": {"least": 4}},
        self_play={"roles": BOTH, **play},
    )


def main(workspace: str, model: str, run: str | None = None) -> None:
    """Run, or resume `run`, and print every event as JSON."""
    families = [Parity()]
    loop = (
        Loop.resume(run, workspace, tasks=families)
        if run
        else Loop(settings(Path(model), adapters="each"), tasks=families, workspace=workspace)
    )
    for event in loop.stream():
        print(json.dumps(event, default=str), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
