"""Families that misbehave, in a module of their own so that the worker process can import them."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from quintet.tasks.family import Draft, Extracted, TaskFamily


class Wish(BaseModel):
    what: str


class Hostile(TaskFamily):
    """Does what the answer says."""

    name = "hostile"
    levels = 3
    proposal = Wish

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        if level == 1:
            time.sleep(1000)
        if level == 2:
            raise AssertionError("no such level today")
        for number in itertools.count():
            yield Draft(question=f"question {number}", canonical=str(number), truth={"answer": "yes"})

    def ground(self, proposal: BaseModel) -> Draft:
        assert isinstance(proposal, Wish)
        self.obey(proposal.what)
        return Draft(question=proposal.what, canonical=proposal.what, truth={"answer": "yes"})

    def score(self, truth: dict[str, Any], answer: str) -> float:
        self.obey(answer)
        return float(answer == truth["answer"])

    def obey(self, order: str) -> None:
        match order:
            case "hang":
                while True:
                    time.sleep(1)
            case "spin":
                while True:
                    pass
            case "exit":
                os._exit(3)
            case "raise":
                raise RuntimeError("as told")
            case "print":
                print("not a reply")
                sys.stdout.flush()
                os.write(1, b"nor is this\n")
            case "recurse":
                self.obey(order)


class Overflowing(TaskFamily):
    """Scores outside 0 to 1."""

    name = "overflowing"

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        yield Draft(question="q", canonical="q", truth={})

    def score(self, truth: dict[str, Any], answer: str) -> float:
        return float(answer)


class Unreadable(Hostile):
    """Reads answers for ever, or not at all."""

    name = "unreadable"

    def extract(self, text: str) -> Extracted:
        if "hang" in text:
            time.sleep(60)
        if "raise" in text:
            raise ValueError("as told")
        return super().extract(text)


class Unpicklable(Hostile):
    """Holds what cannot travel to another process."""

    name = "unpicklable"

    def __init__(self) -> None:
        self.secret = lambda: None
