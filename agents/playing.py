"""Plays environments: the model acts, the environment answers, and the trajectory is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from quintet.agents.errors import NoAnswerError
from quintet.agents.roles import Answered
from quintet.agents.table import Table
from quintet.memory.entries import AFTER_ALL
from quintet.records import Lesson, Message, Recall, Recalled, Record, Row, Task, Transition
from quintet.tasks.environment import EnvironmentFamily, Outcome, encode

NEAREST = 1
"""Memories of each kind that a search shows."""

SHOWN = 240
"""Characters of a memory that a search shows."""

NOTHING = "Nothing was found."


@dataclass
class Trajectory:
    """One episode while it is played."""

    number: int
    """Among those of its task, from 0."""
    words: str
    """What the model is told next, before the solver's template."""
    history: list[Message] = field(default_factory=list)
    """The conversation before that, without the system message."""
    actions: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    """As the environment gave them: what a search found is not in them."""
    transitions: list[Transition] = field(default_factory=list)
    recalls: list[Recall] = field(default_factory=list)
    over: bool = False
    failure: NoAnswerError | None = None
    """Why it ended without an action of the model's."""

    @property
    def text(self) -> str:
        """What is judged: the actions."""
        return encode(self.actions)


Ask = Callable[[Trajectory], Awaitable[Answered]]
"""Asks the model for a trajectory's next action, in a call that is recorded."""


@dataclass(frozen=True)
class Player:
    """Plays the trajectories of one task, in step, so that what is asked at once depends on no timing.

    Attributes:
        table: Where examiner and memory are.
        family: The task's.
        task: What is to be done.
        round: The round; 0 beside the rounds. A search finds what was remembered before it.
        role: Who searches, for the record.
        say: The user message with these words, as the solver's template puts them.
    """

    table: Table
    family: EnvironmentFamily
    task: Task
    round: int
    role: str
    say: Callable[[str], str]

    async def play(self, count: int, ask: Ask) -> list[Trajectory]:
        """Play so many episodes of the task to their ends, or to the family's limit of actions.

        Raises:
            NoAnswerError: The model gave no answer to any of them.
        """
        played = [Trajectory(number, self.family.ask(self.task.question)) for number in range(count)]
        for _ in range(self.family.turns):
            going = [one for one in played if not one.over]
            # All ask before any environment is asked: a wave holds one action of each.
            replies = await asyncio.gather(*(_answer(ask, one) for one in going))
            for one, reply in zip(going, replies, strict=True):
                if isinstance(reply, NoAnswerError):
                    one.over, one.failure = True, reply
                else:
                    await self._step(one, reply)
        failures = [one.failure for one in played if one.failure and not one.actions]
        if failures and len(failures) == len(played):
            raise failures[0]
        return [one for one in played if one.actions]

    async def _step(self, one: Trajectory, reply: Answered) -> None:
        """Do what the model said, and put on record what came of it."""
        said, asked = reply.completions[0].text, Message(role="user", content=self.say(one.words))
        read = await self.table.examiner.tell(self.task.family, "action", said)
        error = read.error
        one.actions.append(said if error else read.text)
        outcome = Outcome(observation="")
        if error is None:
            found = await self.table.examiner.step(self.task, one.actions, one.outcomes)
            outcome, error = found.outcome or outcome, found.error
        observation = outcome.observation
        if outcome.search:
            observation = "\n".join(filter(None, [observation, await self._look_up(one, outcome.search)]))
        if error is None and not outcome.done:
            invited = await self.table.examiner.tell(self.task.family, "invite", observation)
            one.words, error = invited.text, invited.error
        transition = Transition(
            round=self.round,
            task=self.task.id,
            number=len(one.transitions),
            before=one.transitions[-1].id if one.transitions else None,
            call=reply.call,
            sample=reply.samples[0],
            action=one.actions[-1],
            observation=observation,
            reward=outcome.reward,
            done=outcome.done,
            error=error,
            refused=outcome.refused,
        )
        one.transitions.append(transition)
        one.outcomes.append(outcome)
        one.history += [asked, Message(role="assistant", content=said)]
        one.over = outcome.done or error is not None

    async def _look_up(self, one: Trajectory, query: str) -> str:
        """The memories nearest to a query, a line each: what was learnt before this round, and of other tasks."""
        found: list[tuple[Record, float]] = []
        # What a user asks beside the rounds may find whatever is remembered by now.
        before = self.round or AFTER_ALL
        for kind in (Row, Lesson, Task):
            # Evaluation items are in no recall; the task's own rows and lessons would show its answer.
            found += await self.table.memory.recall(query, kind, before=before, count=NEAREST, exclude=[self.task.id])
        if not found:
            return NOTHING
        recall = Recall(
            round=self.round,
            role=self.role,
            task=self.task.id,
            query=query,
            items=tuple(Recalled(id=memory.id, distance=round(distance, 6)) for memory, distance in found),
            sources=tuple(memory.id for memory, _ in found),
        )
        one.recalls.append(recall)
        lines = [" ".join(self._told(memory).split())[:SHOWN] for memory, _ in found]
        return "\n".join(dict.fromkeys(filter(None, lines))) or NOTHING

    def _told(self, memory: Record) -> str:
        match memory:
            case Row():
                task = self.table.ledger.get(memory.task)
                return f"{task.question} {memory.completion}" if isinstance(task, Task) else memory.completion
            case Lesson():
                return memory.text
            case Task():
                return memory.question
        return ""


async def _answer(ask: Ask, one: Trajectory) -> Answered | NoAnswerError:
    try:
        reply = await ask(one)
    except NoAnswerError as error:
        return error
    if reply.completions[0].finish == "error":
        # Such as a conversation that has grown too long; the call is on record with the reason.
        return NoAnswerError("the model gave no answer")
    return reply


def environment(table: Table, task: Task) -> EnvironmentFamily | None:
    """The family of a task that is acted out; `None` where it is answered at once."""
    family = table.examiner.families[task.family]
    return family if isinstance(family, EnvironmentFamily) else None


def records(played: Sequence[Trajectory]) -> list[Record]:
    """What trajectories put on record besides their calls."""
    return [record for one in played for record in (*one.recalls, *one.transitions)]
