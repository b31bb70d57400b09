"""Checkpoints of a training: whole or not there, and of this very training."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

SEEN = "seen.json"
"""Written last: a checkpoint with it is whole."""


class Checkpoints:
    """A folder of checkpoints, as `transformers.Trainer` writes them.

    Args:
        folder: Made when the first is written.
        spec: Digest of what is trained; checkpoints of anything else count for nothing.
    """

    def __init__(self, folder: Path, spec: str) -> None:
        self.folder, self.spec = folder, spec

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest whole checkpoint and what was seen until then; nothing where there is none."""
        if not self.folder.is_dir():
            return None
        found = []
        for path in self.folder.iterdir():
            try:
                seen = json.loads((path / SEEN).read_bytes())
            except (OSError, ValueError):
                # Killed while it was written.
                continue
            if seen.get("spec") == self.spec:
                found.append((seen["step"], path, seen))
        return max(found, key=lambda one: one[0])[1:] if found else None

    def seal(self, checkpoint: Path, step: int, seen: dict[str, Any]) -> None:
        """Make a checkpoint whole, with what was seen until then."""
        aside = checkpoint / f"{SEEN}.part"
        aside.write_text(json.dumps({"spec": self.spec, "step": step, **seen}))
        os.replace(aside, checkpoint / SEEN)

    def clear(self) -> None:
        """Delete them all."""
        shutil.rmtree(self.folder, ignore_errors=True)
