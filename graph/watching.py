"""Shows a run's progress events: a live line on a terminal, a plain line a stage elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

NAMES = {
    "setup": "setting up",
    "propose": "proposer sets tasks",
    "episodes": "solver and critic at work",
    "curate": "curator selects rows",
    "train": "trainer at work",
    "evaluate": "evaluation",
    "finish": "final suite",
}


class Watcher:
    """Prints what happens to standard error; a context manager, since it may draw a live line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self._live = self.console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
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
            self._begin(name)
        elif what == "end":
            self._clear()
            self.console.print(f"{name}: {event['seconds']:.1f} s", style="dim", highlight=False, soft_wrap=True)
        elif what == "decision":
            self.console.print(
                f"round {event['round']}: {event['reason']}", style="bold", highlight=False, soft_wrap=True
            )
        elif what == "said":
            self.console.print(str(event["text"]), highlight=False, soft_wrap=True)
        elif self._task is not None:
            total = event.get("of") or event.get("steps")
            done = event.get("done", event.get("step"))
            self._progress.update(self._task, total=total, completed=done, detail=_detail(event))

    def _begin(self, name: str) -> None:
        self._clear()
        self._task = self._progress.add_task(name, total=None, detail="")

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _detail(event: dict[str, Any]) -> str:
    parts = []
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.3f}")
    if event.get("tokens_per_second"):
        parts.append(f"{event['tokens_per_second']:.0f} tokens/s")
    return " ".join(parts)
