"""Shows a run's progress events: a live line on a terminal, a plain line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

NAMES = {
    "setup": "setting up",
    "propose": "proposer sets tasks",
    "episodes": "solver and critic at work",
    "curate": "curator selects rows",
    "train": "trainer at work",
    "evaluate": "evaluation",
    "finish": "final suite",
}

AROUND = 20
"""Columns of the live line for what is neither words nor numbers: spinner, a short bar, the clock, gaps."""


class Watcher:
    """Prints what happens to standard error; a context manager, since it may draw a live line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self._live = self.console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="dim"),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._stage = _Stage()
        self._left = _TimeLeft()

    def __enter__(self) -> Self:
        self._progress.start()
        # The model is loaded before the first event, and that takes long enough to wonder.
        self._task = self._progress.add_task(NAMES["setup"], total=None, detail="", left="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def see(self, event: dict[str, Any]) -> None:
        """Take one progress event."""
        what, stage = event.get("event"), str(event.get("stage", ""))
        name = f"round {event['round']}: {NAMES.get(stage, stage)}" if "round" in event else NAMES.get(stage, stage)
        if what == "begin":
            self._begin(f"round {event['round']} of {event['of']}: {NAMES.get(stage, stage)}", event)
        elif what == "end":
            self._end(name, event)
        elif what == "decision":
            self._say(f"round {event['round']}: {event['reason']}", "bold")
        elif what in ("said", "spent"):
            self._say(str(event["text"]), "yellow" if what == "spent" else "")
        elif self._task is not None and what != "question":
            self._stage.take(event)
            left = self._left.text()
            self._progress.update(
                self._task,
                total=self._stage.total,
                completed=self._stage.done,
                detail=self._stage.detail(self.console.width - AROUND - len(self._name) - len(left)),
                left=left,
            )

    def _begin(self, name: str, event: dict[str, Any]) -> None:
        self._clear()
        self._name, self._stage = name, _Stage()
        self._left.begin(event["round"], event["of"])
        self._task = self._progress.add_task(name, total=None, detail="", left=self._left.text())

    def _end(self, name: str, event: dict[str, Any]) -> None:
        self._clear()
        parts = [f"{name}: {event['seconds']:.1f} s", *self._stage.summary()]
        self._say(", ".join(parts), "dim")

    def _say(self, text: str, style: str) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class _Stage:
    """What is known of the stage at work."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self._wave = 0
        self._tokens, self._seconds = 0, 0.0
        self._waves: dict[int, tuple[int, float]] = {}
        self._right = self._attempts = 0
        self._loss: float | None = None

    def take(self, event: dict[str, Any]) -> None:
        """A wave, an episode that ended, or a step of training."""
        if event.get("event") == "wave":
            self._wave = event["wave"]
            self.total, self.done = event["of"], event["done"]
            self._waves[self._wave] = (event["tokens"], event["seconds"])
        elif event.get("stage") == "train":
            self.total, self.done, self._loss = event.get("steps"), event.get("step", 0), event.get("loss")
            self._waves[0] = (event.get("tokens_per_second") or 0, 1.0)
        else:
            self._right += event.get("right", 0)
            self._attempts += event.get("attempts", 0)

    def detail(self, room: int) -> str:
        """As much as fits of how far the wave is, how fast it goes and how well, in this order."""
        wave = [f"wave {self._wave}, {self.done}/{self.total}"] if self._wave else []
        parts = [*wave, *self.summary()]
        while len(", ".join(parts)) > max(room, 0):
            parts.pop()
        return ", ".join(parts)

    def summary(self) -> list[str]:
        """What is worth a line when the stage is over."""
        tokens, seconds = (sum(values) for values in zip(*self._waves.values(), strict=True)) if self._waves else (0, 0)
        return [
            *([f"loss {self._loss:.3f}"] if self._loss is not None else []),
            *([f"{tokens / seconds:,.0f} tokens/s"] if seconds and tokens else []),
            *([f"{100 * self._right / self._attempts:.0f} % of attempts right"] if self._attempts else []),
        ]


class _TimeLeft:
    """How long the rounds that are left will take, if they take as long as those so far."""

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self._rounds = 0

    def begin(self, round: int, rounds: int) -> None:
        """A stage of a round begins."""
        self._begun.setdefault(round, time.monotonic())
        self._rounds = rounds

    def text(self) -> str:
        """About how many minutes are left; nothing before a whole round was seen."""
        starts = sorted(self._begun.values())
        if len(starts) < 2:
            return ""
        each = (starts[-1] - starts[0]) / (len(starts) - 1)
        left = each * (self._rounds - max(self._begun) + 1) - (time.monotonic() - starts[-1])
        return f"about {max(left, 0) / 60:.0f} min left" if left > 30 else "nearly done"
