"""An environment that does what the action says, misdeeds included, and one that a random model wins now and then."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from quintet.tasks.environment import Environment, EnvironmentFamily, Outcome
from quintet.tasks.family import Draft

CANARY = "canary-91ab"
"""Stands in every ground truth; it must never be seen in a prompt or a row."""


class Obedient(Environment):
    def reset(self) -> str:
        return "Say what is to happen."

    def step(self, action: str) -> Outcome:
        match action:
            case "hang":
                time.sleep(1000)
            case "exit":
                os._exit(3)
            case "raise":
                raise RuntimeError("as told")
            case "nothing":
                return None  # type: ignore[return-value]
            case "number":
                return Outcome.model_construct(observation=7)  # type: ignore[arg-type]
            case "long":
                return Outcome(observation="x" * 4001)
            case "nan":
                return Outcome.model_construct(observation="", reward=float("nan"))
            case "two":
                return Outcome.model_construct(observation="", reward=2.0)
            case "surrogate":
                return Outcome.model_construct(observation="\ud800")
            case "chance":
                return Outcome(observation=os.urandom(8).hex())
            case "luck":
                return Outcome(observation="", reward=os.urandom(1)[0] / 255, done=True)
            case "refuse":
                return Outcome(observation="No.", refused=True)
            case "search":
                return Outcome(observation="Found:", search="doors and treasures")
            case "win":
                return Outcome(observation="You win.", reward=1.0, done=True)
        return Outcome(observation=f"You said {action}.")


class Wild(EnvironmentFamily):
    """Obeys."""

    name = "wild"
    turns = 4

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        source = random.Random(seed)
        while True:
            number = source.randrange(10_000)
            yield Draft(question=f"Game {number}. What is to happen?", canonical=f"wild {number}", truth={})

    def begin(self, truth: dict[str, Any]) -> Environment:
        return Obedient()


class Coins(Environment):
    """Heads twice is a win; what a coin shows follows from the action's words."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.salt, self.heads = truth["salt"], 0

    def reset(self) -> str:
        return f"Toss coin {self.salt}."

    def step(self, action: str) -> Outcome:
        if len(action) % 5 == 1:
            return Outcome(observation="Say something else.", refused=True)
        head = hashlib.sha256((action + self.salt).encode()).digest()[0] % 3 > 0
        self.heads += head
        won = self.heads == 2
        wish = f"a coin and {action}" if head else ""
        return Outcome(observation="Heads." if head else "Tails.", reward=float(won), done=won, search=wish)


class Tosses(EnvironmentFamily):
    """Two heads within four tosses."""

    name = "tosses"
    levels = 2
    turns = 4
    searches = True

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        source = random.Random(seed)
        while True:
            salt = str(source.randrange(10_000))
            yield self.drafted(f"tosses {salt}", {"salt": salt, "canary": CANARY}, level)

    def begin(self, truth: dict[str, Any]) -> Environment:
        return Coins(truth)
