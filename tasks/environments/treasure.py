"""A text game: find the way to the treasure through rooms whose notes say which door leads on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from quintet.tasks.environment import Environment, EnvironmentFamily, Outcome
from quintet.tasks.family import Draft
from quintet.tasks.gym import stream_seed

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "orange")


@dataclass(frozen=True)
class Layout:
    """What the rooms of a level are like.

    Attributes:
        rooms: Rooms before the treasure's.
        doors: Doors of each room, one of which leads on.
        hidden: Whether the note must be read by a command of its own.
    """

    rooms: int
    doors: int
    hidden: bool = False

    @property
    def actions(self) -> int:
        """Actions allowed: one more than is needed, so that a mistake can be made good."""
        return self.rooms * (1 + self.hidden) + 1


LAYOUTS = (
    Layout(1, 2),
    Layout(2, 2),
    Layout(2, 3),
    Layout(3, 3),
    Layout(1, 3, hidden=True),
    Layout(2, 3, hidden=True),
)


class Treasure(EnvironmentFamily):
    """A text game: open the coloured doors that notes name (AgentGym, Xi et al. 2024, arXiv 2406.04151)."""

    name = "treasure"
    levels = len(LAYOUTS)
    turns = max(layout.actions for layout in LAYOUTS)

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Games with doors drawn at random."""
        random, layout = Random(stream_seed(self.name, level, seed)), LAYOUTS[level]
        while True:
            rooms = []
            for _ in range(layout.rooms):
                doors = random.sample(COLOURS, layout.doors)
                rooms.append({"doors": doors, "right": random.choice(doors)})
            truth = {"rooms": rooms, "hidden": layout.hidden, "actions": layout.actions}
            yield self.drafted(canonical(truth), truth, level)

    def begin(self, truth: dict[str, Any]) -> Environment:
        """A game that stands at its first room."""
        return Game(truth)


def canonical(truth: dict[str, Any]) -> str:
    """A game's meaning: its doors, whatever their order on the wall, and which of them lead on."""
    rooms = ["/".join(sorted(room["doors"])) + f">{room['right']}" for room in truth["rooms"]]
    return f"treasure{' hidden' if truth['hidden'] else ''} " + " ".join(rooms)


class Game(Environment):
    """One game.

    Args:
        truth: Its `rooms` (`doors`, `right`), whether notes are `hidden`, and how many `actions` it lasts.
    """

    def __init__(self, truth: dict[str, Any]) -> None:
        self.rooms, self.hidden, self.left = truth["rooms"], truth["hidden"], truth["actions"]
        self.place = 0

    def reset(self) -> str:
        """The first room."""
        return f"You look for a treasure. {self._room()}"

    def step(self, action: str) -> Outcome:
        """Open a door, or read the note."""
        self.left -= 1
        words = re.findall(r"[a-z]+", action.lower())
        room = self.rooms[self.place]
        doors = [door for door in room["doors"] if door in words]
        if self.hidden and "note" in words and not doors:
            return self._goes_on(f"The note says: {self._clue()}")
        if len(doors) != 1:
            return self._goes_on("That cannot be done.", refused=True)
        if doors[0] != room["right"]:
            return self._goes_on(f"Behind the {doors[0]} door is a wall. You go back.")
        self.place += 1
        if self.place == len(self.rooms):
            return Outcome(observation="You found the treasure!", reward=1.0, done=True)
        return self._goes_on("You go through the door.")

    def _goes_on(self, said: str, refused: bool = False) -> Outcome:
        if self.left <= 0:
            return Outcome(observation=f"{said} Your lamp goes out. The game is over.", done=True, refused=refused)
        return Outcome(observation=f"{said} {self._room()}", refused=refused)

    def _room(self) -> str:
        doors = self.rooms[self.place]["doors"]
        note = "A note lies on the floor." if self.hidden else f"A note says: {self._clue()}"
        commands = [*(["read the note"] if self.hidden else []), *(f"open the {door} door" for door in doors)]
        return f"{note}\nWrite one of these commands: {', '.join(commands)}."

    def _clue(self) -> str:
        return f"The {self.rooms[self.place]['right']} door leads on."
