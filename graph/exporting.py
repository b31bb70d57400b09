"""A run's training rows as JSON lines, in the conversational formats that TRL and others read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from quintet.graph.errors import LoopError
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Contrast, Row, Task


def export_rows(workspace: Path, run: str | None, out: Path, labelled: bool = False) -> int:
    """Write every training row of a run, an object a line: `prompt` and `completion` as messages, and where it is from.

    The messages are what the model was trained on; ground truth is in none. `trained` names the adapters made of it.

    Args:
        workspace: Where the run lies.
        run: The newest if `None`.
        out: A file, replaced if it is there; `-` is standard output.
        labelled: Write what rows were held against too, and with each a `label`, whether it is right, and its `reward`:
            TRL's unpaired preferences.

    Returns:
        How many rows there are.

    Raises:
        LedgerError: There is no such run.
        LoopError: The file cannot be written.
    """
    with Workspace.existing(workspace).ledger() as ledgers:
        ledger = ledgers.run(run)
        trained: dict[str, list[str]] = {}
        for adapter in ledger.find(Adapter):
            for id in (*adapter.rows, *adapter.contrasts):
                trained.setdefault(id, []).append(adapter.id)
        lines = []
        for row in (*ledger.find(Row), *(ledger.find(Contrast) if labelled else ())):
            task = ledger.get(row.task)
            about = {"family": task.family, "level": task.level} if isinstance(task, Task) else {}
            if labelled:
                reward = row.reward if isinstance(row, Contrast) else 1.0
                about |= {"label": reward == 1, "reward": reward}
            lines.append(json.dumps({**_row(row), **about, "trained": trained.get(row.id, [])}, ensure_ascii=False))
    with replacing(out) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    return len(lines)


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `out` once all of it is there; `-` is standard output.

    Raises:
        LoopError: It cannot be written; what was there is as it was.
    """
    if str(out) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if out.is_dir() or not out.name:
        raise LoopError(f"{out} is a folder: name a file")
    aside = out.with_name(f".{out.name}.part")
    try:
        with aside.open("wb") as file:
            yield file
        os.replace(aside, out)
    except OSError as error:
        raise LoopError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _row(row: Row | Contrast) -> dict[str, Any]:
    return {
        "prompt": [dict(message) for message in row.prompt],
        "completion": [{"role": "assistant", "content": row.completion}],
        "id": row.id,
        "round": row.round,
        "task": row.task,
        "attempt": row.attempt,
    }
