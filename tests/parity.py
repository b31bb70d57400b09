"""A task family that a random model solves half of the time, so that the whole loop runs on a tiny one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from quintet.tasks.errors import Ungrounded
from quintet.tasks.family import Draft, TaskFamily

CANARY = "canary-7c1e"
"""Stands in every ground truth; it must never be seen in a prompt or a row."""


class Number(BaseModel):
    """A proposal."""

    number: int = Field(ge=0, le=9999)


class Parity(TaskFamily):
    """Right is every answer whose hash is even."""

    levels = 3
    proposal = Number

    def __init__(self, name: str = "parity") -> None:
        self.name = name

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        source = random.Random(seed)
        while True:
            yield self._draft(source.randrange(10_000), level)

    def ground(self, proposal: BaseModel) -> Draft:
        assert isinstance(proposal, Number)
        if proposal.number < 10:
            raise Ungrounded("trivial", canonical=f"{self.name} {proposal.number}")
        return self._draft(proposal.number, 0)

    def score(self, truth: dict[str, Any], answer: str) -> float:
        return float(hashlib.sha256((answer + truth["salt"]).encode()).digest()[0] % 2 == 0)

    def _draft(self, number: int, level: int) -> Draft:
        return Draft(
            question=f"Say something about {number}.",
            canonical=f"{self.name} {number}",
            truth={"salt": str(number), "canary": CANARY},
            level=level,
        )
