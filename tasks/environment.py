"""The port for environments: tasks of several turns, where each action is answered by an observation."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from quintet.records import Part
from quintet.tasks.errors import TaskError
from quintet.tasks.extraction import Extracted
from quintet.tasks.family import Draft, TaskFamily

OBSERVATION_CHARACTERS = 4000
"""Longest observation that is passed on; an environment that says more answers nonsense."""


class Outcome(Part):
    """What an environment answers to an action."""

    observation: str
    """What the model is shown next."""
    reward: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    """What the episode is worth if it ends here, 0 to 1; that of the last action is its score."""
    done: bool = False
    """Whether the episode ends with this action."""
    refused: bool = False
    """Whether the action was none that could be done here: the episode goes on, but nobody learns to say that."""
    search: str = ""
    """What the environment wants looked up in the shared memory: what is found is shown after the observation. The
    environment itself never learns what that was, so that replay needs no memory."""


class Environment(ABC):
    """One episode: a deterministic function of what it was made from and of the actions."""

    @abstractmethod
    def reset(self) -> str:
        """Begin; the first observation, which is the task's question."""

    @abstractmethod
    def step(self, action: str) -> Outcome:
        """Do something, whatever a model wrote; what cannot be done is said in the observation."""


class EnvironmentFamily(TaskFamily):
    """Tasks that are acted out: act, observe, keep the trajectory (AgentGym, Xi et al. 2024, arXiv 2406.04151).

    The actions are the model's own words, and the environment's feedback stands in the conversation, as in ReAct (Yao
    et al. 2022, arXiv 2210.03629), WebGPT (Nakano et al. 2021, arXiv 2112.09332) and RLEF (Gehring et al. 2024,
    arXiv 2410.02089).
    """

    paper: ClassVar[str] = "Xi et al. 2024, arXiv 2406.04151"

    turns: int = 6
    """Most actions of an episode; it is then over, worth what its last action was."""

    searches: bool = False
    """Whether its environments look things up in the shared memory (`Outcome.search`)."""

    @abstractmethod
    def begin(self, truth: dict[str, Any]) -> Environment:
        """A new episode of the task with this truth; `reset` has not been called yet."""

    def action(self, text: str) -> str:
        """The action in a reply, leniently; by default its last line that is not empty."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def ask(self, question: str) -> str:
        """The user message that poses the task and asks for the first action."""
        return question

    def invite(self, observation: str) -> str:
        """The user message that holds an observation and asks for the next action."""
        return observation

    def drafted(self, canonical: str, truth: dict[str, Any], level: int) -> Draft:
        """The draft of a task, whose question is what its environment says first."""
        return Draft(question=self.begin(truth).reset(), canonical=canonical, truth=truth, level=level)

    def extract(self, text: str) -> Extracted:
        """The actions in an attempt's text; leniently, one a line where it is no JSON list."""
        actions = decode(text)
        lines = encode([line.strip() for line in text.splitlines() if line.strip()]) if text.strip() else None
        found = None if actions is None else encode(actions)
        return Extracted(lenient=found or lines, strict=found)

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """What the actions earn: they are done again, from the beginning.

        Raises:
            TaskError: They are no actions, or the environment answers nonsense.
        """
        actions = decode(answer)
        if actions is None:
            raise TaskError("not a JSON list of actions")
        outcomes = self.play(truth, actions[: self.turns])
        return outcomes[-1].reward if outcomes else 0.0

    def play(self, truth: dict[str, Any], actions: Sequence[str]) -> list[Outcome]:
        """What a new episode answers to each action, up to the one that ends it.

        Raises:
            TaskError: It answers nonsense.
        """
        episode = self.begin(truth)
        observed(episode.reset())
        outcomes: list[Outcome] = []
        for action in actions:
            outcomes.append(checked(episode.step(action)))
            if outcomes[-1].done:
                break
        return outcomes


def encode(actions: Sequence[str]) -> str:
    """The text of an attempt: its actions as a JSON list, which no action can break."""
    return json.dumps(list(actions), ensure_ascii=False)


def decode(text: str) -> list[str] | None:
    """The actions in the text of an attempt; `None` where it holds no JSON list of texts."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def checked(outcome: object) -> Outcome:
    """An environment's answer, if it is one.

    Raises:
        TaskError: It is none; the message says what is wrong.
    """
    if not isinstance(outcome, Outcome):
        raise TaskError(f"the environment answered a {type(outcome).__name__}, not an Outcome")
    observed(outcome.observation)
    if not sayable(outcome.search):
        raise TaskError("the environment's search is no text")
    try:
        # Even a frozen model may have been made without validation.
        return Outcome.model_validate({name: getattr(outcome, name, None) for name in Outcome.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TaskError(f"the environment's {where} is {first['input']!r:.40}: {first['msg']}") from error


def observed(observation: object) -> str:
    """An observation, if it is one.

    Raises:
        TaskError: It is no text, or far too long.
    """
    if not isinstance(observation, str):
        raise TaskError(f"the environment's observation is a {type(observation).__name__}, not text")
    if not sayable(observation):
        raise TaskError(f"the environment's observation is no Unicode text: {observation!r:.40}")
    if len(observation) > OBSERVATION_CHARACTERS:
        raise TaskError(
            f"the environment's observation has {len(observation)} characters: "
            f"{OBSERVATION_CHARACTERS} are the most that is passed on"
        )
    return observation


def sayable(text: object) -> bool:
    """Whether it is text that can be written down: half a surrogate pair cannot."""
    return isinstance(text, str) and not any("\ud800" <= character <= "\udfff" for character in text)
