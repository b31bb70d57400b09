"""The task room's settings: who may see a question, and how long anything may take."""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quintet.records import Split


class TaskSettings(BaseModel):
    """How questions are shared out, and the limits on drawing, grounding and judging."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shares: dict[Split, float] = {
        "train": 0.40,
        "final": 0.25,
        "gate": 0.25,
        "steer": 0.05,
        "retention": 0.05,
    }
    """Share of all questions that each split owns; they sum to 1. The narrow levels hold a few hundred
    questions, and final and gate suites need new ones at every opening and round, hence their size."""
    deal: str = ""
    """Names the partition of the questions; another name deals them all out anew. Once a final suite's scores have
    steered a choice of settings, only a new deal gives questions that did not."""
    verify_seconds: float = Field(default=5.0, gt=0)
    """Seconds for grounding one proposal or judging one text; right answers take well under one."""
    draw_seconds: float = Field(default=30.0, gt=0)
    """Seconds for one draw, whatever its size; arithmetic draws thousands of questions a second."""
    start_seconds: float = Field(default=60.0, gt=0)
    """Seconds for the worker process to start; it takes about one on an idle machine."""
    memory_mb: int = Field(default=4096, ge=1024)
    """Address space of the worker process, in MiB; the hungriest family's data take about 1,000."""
    patience: int = Field(default=2000, gt=0)
    """Draws in a row that bring no new question before a level counts as used up."""
    text_characters: int = Field(default=20_000, gt=0)
    """Characters of a text that are read, from its end; more is no answer but costs the extractor's time."""

    @model_validator(mode="after")
    def _shares_are_a_partition(self) -> Self:
        missing = [split for split in Split.__args__ if split not in self.shares]  # type: ignore[attr-defined]
        if missing:
            raise ValueError(f"shares lacks {', '.join(missing)}: every split needs a share, 0 if unused")
        negative = [split for split, share in self.shares.items() if share < 0]
        if negative:
            raise ValueError(f"shares of {', '.join(negative)} is negative: a share is 0 to 1")
        total = math.fsum(self.shares.values())
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"shares sum to {total:g}: they must sum to 1")
        return self
