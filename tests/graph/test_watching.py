"""What a run tells while it goes on: plain lines where nobody watches, a live line on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from quintet.graph import watching
from quintet.graph.watching import Watcher


def wave(number: int, done: int, of: int, tokens: int, seconds: float) -> dict[str, Any]:
    return {"event": "wave", "wave": number, "done": done, "of": of, "tokens": tokens, "seconds": seconds}


ROUND: list[dict[str, Any]] = [
    {"event": "begin", "stage": "episodes", "round": 1, "of": 3},
    wave(1, 4, 8, 300, 1.0),
    wave(1, 8, 8, 800, 2.0),
    wave(2, 8, 8, 200, 0.5),
    {"event": "progress", "stage": "episodes", "done": 1, "of": 2, "attempts": 4, "right": 1},
    {"event": "progress", "stage": "episodes", "done": 2, "of": 2, "attempts": 4, "right": 3},
]
END = {"event": "end", "stage": "episodes", "round": 1, "seconds": 3.25}


def seen(events: list[dict[str, Any]], terminal: bool, width: int = 140) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    with Watcher(console) as watcher:
        for event in events:
            watcher.see(event)
        watcher._progress.refresh()
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_stage_that_ends_says_how_fast_and_how_well_it_went() -> None:
    assert seen([*ROUND, END], terminal=False) == (
        "round 1: solver and critic at work: 3.2 s, 400 tokens/s, 50 % of attempts right\n"
    )


def test_the_live_line_shows_round_wave_speed_and_share() -> None:
    line = seen(ROUND, terminal=True)
    assert "round 1 of 3: solver and critic at work" in line
    assert "wave 2, 8/8, 400 tokens/s, 50 % of attempts right" in line


def test_before_the_first_event_a_terminal_is_told_that_the_run_is_set_up() -> None:
    assert "setting up" in seen([], terminal=True)
    assert seen([], terminal=False) == ""


def test_a_narrow_terminal_loses_figures_and_not_the_clock() -> None:
    line = [line for line in seen(ROUND, terminal=True, width=80).split("\r") if "solver and critic" in line][-1]
    assert "wave 2, 8/8 0:00:0" in line
    assert "tokens/s" not in line
    assert "…" not in line


def test_training_shows_its_loss() -> None:
    begin = {"event": "begin", "stage": "train", "round": 1, "of": 1}
    step = {"event": "step", "stage": "train", "step": 3, "steps": 9, "loss": 1.25, "tokens_per_second": 700.0}
    end = {"event": "end", "stage": "train", "round": 1, "seconds": 9.0}
    assert seen([begin, step, end], terminal=False) == "round 1: trainer at work: 9.0 s, loss 1.250, 700 tokens/s\n"


def test_the_time_left_is_told_once_a_round_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    left = watching._TimeLeft()
    left.begin(1, 4)
    assert left.text() == ""
    now[0] = 120.0
    left.begin(2, 4)
    assert left.text() == "about 6 min left"
    now[0] = 180.0
    assert left.text() == "about 5 min left"
