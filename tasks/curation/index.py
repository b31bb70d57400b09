"""What curation keeps of a data set on disk: where the kept rows stand, what was left out, and a summary of both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from quintet.records import Part
from quintet.tasks.errors import TaskError

ROWS, REJECTED, SUMMARY = "rows.npy", "rejected.jsonl", "summary.json"

FIELDS = [("offset", "<u8"), ("size", "<u8"), ("number", "<u8"), ("question", "<u8"), ("level", "<u2")]
"""What is known of a kept row: its spot, the hash of its canonical question, its level."""

SHOWN = 200
"""Characters shown of a row that was left out."""


REASON = 80
"""Characters of a reason."""

REASONS, OTHER = 100, "other reasons"
"""Reasons that are counted each by itself; what a filter says beyond that is counted together."""


class Summary(Part):
    """A data set read through its filters."""

    name: str
    """The family's name."""
    source: str
    """Hash of all that the data set held."""
    stamp: tuple[int, ...]
    """Size and time of the last change, by which a change is noticed."""
    read: int
    kept: int
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rows left out, by reason."""
    examples: dict[str, str] = Field(default_factory=dict)
    """By reason, where one such row stands and how it begins."""
    levels: int = 1
    answers: int | None = None
    """How many different answers there are, where they are few and recur."""
    fingerprint: str = ""
    """What the kept questions, answers and levels are, in whatever order."""
    items: int = 0
    """Evaluation items of other families that rows were compared with."""
    qualities: tuple[float, ...] = ()
    """Least, lower quartile, median, upper quartile and most of the qualities that the model gave."""

    def text(self) -> str:
        """One line."""
        left = ", ".join(f"{number:,} {reason}" for reason, number in self.rejected.items())
        return f"{self.name}: {self.read:,} rows read, {self.kept:,} kept" + (f"; left out: {left}" if left else "")


class Rejections:
    """Writes down every row that is left out, and counts them.

    Args:
        path: JSON lines with `place`, `reason`, `detail` and the beginning of the `text`.
    """

    def __init__(self, path: Path) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, str] = {}
        self.failures: list[str] = []
        """Of each filter that raised: its first row, and what it raised there."""
        self._file = path.open("w", encoding="utf-8", errors="replace")

    def add(self, place: str, reason: str, detail: str, text: str, raised: bool = False) -> None:
        """Take down one row; where a filter raised, the example tells what, which the row's words do not."""
        reason = reason[:REASON]
        if reason not in self.counts and len(self.counts) >= REASONS:
            reason, detail = OTHER, f"{reason}: {detail}"
        self.counts[reason] = self.counts.get(reason, 0) + 1
        line = {"place": place, "reason": reason, "detail": detail, "text": text[:SHOWN]}
        if reason not in self.examples:
            if raised:
                self.failures.append(f"{reason} at {place}: {detail}")
            told = f"{detail}, at {place}: {text}" if raised else f"{place}: {text or detail}"
            said = " ".join(told.replace("\0", "\N{REPLACEMENT CHARACTER}").split())[:SHOWN]
            self.examples[reason] = said.encode("utf-8", "replace").decode()
        # As ASCII: half a surrogate pair is no UTF-8.
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Have it on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A folder to write in, which takes this folder's place when all went well, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    working = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir()
    try:
        yield working
        if folder.exists() and load(folder) is None:
            shutil.rmtree(folder)
        # Another process may have done the same work meanwhile.
        with suppress(OSError):
            working.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def load(folder: Path) -> Summary | None:
    """What was curated there, if it was and all of it is there still."""
    try:
        found = Summary.model_validate_json((folder / SUMMARY).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if (folder / ROWS).is_file() and (folder / REJECTED).is_file() else None


def rows(folder: Path) -> Any:
    """The kept rows, mapped into memory: a structured array of `FIELDS`.

    Raises:
        TaskError: They are not there any more.
    """
    import numpy as np

    try:
        return np.load(folder / ROWS, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise TaskError(f"{folder}: what was curated cannot be read: {error}") from error


def _sweep(parent: Path) -> None:
    """Remove what killed processes left behind."""
    for left in parent.glob("*.part-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdigit() and int(pid) != os.getpid() and not _lives(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
