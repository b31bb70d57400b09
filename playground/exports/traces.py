"""A run as traces: what its agents did, as spans of the conventions for generative AI.

A trace is one conversation about a task in one round, or one evaluation of an adapter on a suite, or a round with its
stages. A trace for all of a run or round would be as true, but viewers list traces, show one at a time, and are of no
use from some thousand spans on; so the unit is what a person wants to read, and links lead from it to its round and to
what it came from.

    round        invoke_workflow round > invoke_workflow STAGE > invoke_agent ROLE > chat MODEL
                                                               > row, invoke_agent trainer, decide, verify
    episode      invoke_workflow episode > invoke_agent ROLE > search_memory, chat MODEL
    evaluation   invoke_workflow evaluation > chat MODEL

A judgement is an event of the call that it is about: the verifier's, and the curator's. So is what an environment
answered to the action that a call chose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from quintet.memory.events import Event
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import preview
from quintet.memory.reading.episodes import episodes, of_round, rounds
from quintet.playground.exports import conventions as c
from quintet.playground.exports.spans import (
    Attributes,
    Extent,
    Spot,
    Value,
    error_type,
    event,
    judged,
    link,
    nanoseconds,
    span,
)
from quintet.playground.exports.turns import Places, chat, messages, turn
from quintet.records import (
    EVALUATION,
    Adapter,
    Answer,
    Attempt,
    Call,
    Contrast,
    Critique,
    Decision,
    Evaluation,
    Lesson,
    Proposal,
    Recall,
    Record,
    Reply,
    Row,
    Selection,
    Skill,
    Stage,
    Task,
    Transition,
    Verification,
)
from quintet.tasks.environment import decode

R = TypeVar("R", bound=Record)

SPOKEN = (Call, Recall, Reply)
"""Of what a role's turn is made."""

SPANNED = (*SPOKEN, Adapter, Decision, Evaluation, Proposal, Stage, Verification)
"""Records about no task that have spans, or stand in one; the others are events of their round."""


def traces(ledger: RunLedger) -> Iterator[tuple[list[Span], int]]:
    """A run's spans, a few at a time, each time with the number of events that they stand for."""
    places = Places(ledger)
    for number in rounds(ledger):
        yield from _Round(places, number).spans()


class _Stage:
    """A stage of a round, while its spans are gathered."""

    def __init__(self, places: Places, ended: Event, stage: Stage) -> None:
        self.name, self.id, self.at = stage.name, stage.id, places.of_round(stage.round, stage.id)
        self.end = nanoseconds(ended.time)
        self.start = self.end - nanoseconds(ended.seconds or 0.0)
        self.extent = Extent()
        self.extent.cover(self.start, self.end)


class _Round:
    """A round; 0 is what a user asked beside the run."""

    def __init__(self, places: Places, number: int) -> None:
        self.places, self.number, self.at = places, number, places.of_round(number)
        self.beside = of_round(places.ledger, number)
        self.stages = [_Stage(places, ended, stage) for ended, stage in _of(self.beside, Stage)]
        self.extent = Extent()
        self.asked: dict[tuple[str, str | None], Extent] = {}
        """When the items of each evaluation were asked, by suite and adapter."""
        self.invented: dict[str, list[tuple[Event, Proposal]]] = {}
        """What became of what the proposer invented, by call."""
        self.answers: dict[tuple[str | None, str], Answer] = {
            (made.adapter, answer.task): answer for _, made in _of(self.beside, Evaluation) for answer in made.answers
        }

    def spans(self) -> Iterator[tuple[list[Span], int]]:
        """All of it; what is around the others comes last."""
        for task, events in episodes(self.places.ledger, self.number):
            found = [*self._episode(task, events), *self._items(task, events), *self._rows(events)]
            self.extent.take(*found)
            yield found, len(events)
        for said, proposal in _of(self.beside, Proposal):
            self._invented(said, proposal)
        found = [*self._evaluations(), *self._spoken(), *self._trained(), *self._decided()]
        self.extent.take(*found)
        yield [*found, *self._frame()], len(self.beside)

    # --- a conversation --------------------------------------------------------------------------------------

    def _episode(self, task: Task, events: Sequence[Event]) -> list[Span]:
        at, found, calls = self.places.of_episode(self.number, task.id), list[Span](), dict[str, Span]()
        for number, role, spoken in _turns(one for one in events if one.role != EVALUATION):
            made = turn(self.places, spoken, at, self.places.of_episode(self.number, task.id, "agent", role, number))
            found += made.spans
            calls |= made.calls
        attempts = {said.id: (said, attempt) for said, attempt in _of(events, Attempt)}
        extent = Extent()
        extent.take(*found)
        for said, _ in attempts.values():
            # Of its own: its call may have been answered from the log.
            extent.cover(nanoseconds(said.time), nanoseconds(said.time))
        if extent.start is None:
            return []
        right = {critique.attempt for _, critique in _of(events, Critique) if critique.correct}
        texts = [attempt.text for id, (_, attempt) in attempts.items() if id in right]
        texts = texts or [attempt.text for _, attempt in list(attempts.values())[-1:]]
        root = span(
            f"{c.INVOKE_WORKFLOW} episode",
            at,
            None,
            *extent.times,
            {
                **self.places.named(c.INVOKE_WORKFLOW, "episode", self.number, task.id),
                c.TASK: task.id,
                c.FAMILY: task.family,
                c.LEVEL: task.level,
                c.SPLIT: task.split,
                c.ATTEMPTS: len(attempts),
                c.RIGHT: len(right),
                c.INPUT_MESSAGES: messages([("user", task.question)]),
                c.OUTPUT_MESSAGES: messages([("assistant", texts[0])]) if texts else None,
            },
        )
        self._belongs(root, "episodes")
        for said, proposal in _of(events, Proposal):
            event(root, "quintet.proposal", said.time, {c.RECORD: said.id, c.TEXT: preview(proposal)})
            self._linked(root, proposal.call, "invented by")
            self._invented(said, proposal)
        by_id = {id: attempt for id, (_, attempt) in attempts.items()}
        _acted(root, events, by_id, calls)
        _judge(root, events, by_id, calls)
        for attempt in {(a.call, a.revises): a for _, a in attempts.values() if a.revises and a.call in calls}.values():
            self._linked(calls[attempt.call], attempt.revises, "revises")
        return [root, *found]

    def _rows(self, events: Sequence[Event]) -> list[Span]:
        """The rows, which are spans of the round's trace."""
        found = []
        for said, row in _of(events, Row):
            found.append(self._moment("row", said, {c.TASK: row.task, c.ATTEMPT: row.attempt}))
            self._linked(found[-1], row.attempt, "made of")
        for said, contrast in _of(events, Contrast):
            found.append(self._moment("contrast", said, {c.TASK: contrast.task, c.ATTEMPT: contrast.attempt}))
            self._linked(found[-1], contrast.attempt, "made of")
        return found

    # --- an evaluation ---------------------------------------------------------------------------------------

    def _items(self, task: Task, events: Sequence[Event]) -> list[Span]:
        found = []
        asked = [(said, call) for said, call in _of(events, Call) if call.role == EVALUATION]
        # In an environment an answer is what was done in a chain of calls; its last one ends it.
        last = {call.adapter: call.id for _, call in asked}
        for said, call in asked:
            made = chat(self.places, said, self.places.of_evaluation(self.number, task.split, call.adapter))
            answer = self.answers.get((call.adapter, task.id))
            ends = answer is not None and decode(answer.text) is not None and last[call.adapter] == call.id
            if answer and (ends or any(completion.text == answer.text for completion in call.completions)):
                known: Attributes = {c.ANSWER: answer.answer, c.STRICT: answer.strict, c.RESPONSE_ID: call.id}
                judged(made, "verifier", said.time, answer.score, _correct(answer.correct), None, known)
            self.asked.setdefault((task.split, call.adapter), Extent()).take(made)
            found.append(made)
        return found

    def _evaluations(self) -> list[Span]:
        """The first span of each evaluation."""
        results: dict[tuple[str, str | None], list[tuple[Event, Evaluation]]] = {key: [] for key in self.asked}
        for said, made in _of(self.beside, Evaluation):
            results.setdefault((made.suite, made.adapter), []).append((said, made))
        found = []
        for (suite, adapter), ended in results.items():
            extent = self.asked.get((suite, adapter), Extent())
            if extent.start is None:
                # Answered from the log, all of it.
                extent.cover(nanoseconds(ended[0][0].time), nanoseconds(ended[0][0].time))
            at, named = self.places.of_evaluation(self.number, suite, adapter), {c.SPLIT: suite, c.ADAPTER: adapter}
            words: Attributes = {**self.places.named(c.INVOKE_WORKFLOW, EVALUATION, self.number), **named}
            root = span(f"{c.INVOKE_WORKFLOW} {EVALUATION}", at, None, *extent.times, words)
            self._belongs(root, "finish" if suite == "final" else "evaluate")
            for said, made in ended:
                known: Attributes = {
                    c.RECORD: made.id,
                    c.RIGHT: made.correct,
                    c.ITEMS: made.n,
                    c.STRATEGY: made.strategy,
                }
                share = made.correct / made.n if made.n else None
                judged(root, suite, said.time, share, None, preview(made), known)
            found.append(root)
        return found

    # --- the round itself ------------------------------------------------------------------------------------

    def _spoken(self) -> list[Span]:
        """What the proposer and round roles said about no task."""
        found = list[Span]()
        by_stage = sorted((one for one in self.beside if isinstance(one.record, SPOKEN)), key=self._stage_of)
        for stage, here in groupby(by_stage, key=self._stage_of):
            for number, role, spoken in _turns(here):
                at = self.places.of_round(self.number, "agent", stage, role, number)
                made = turn(self.places, spoken, self._around(stage), at)
                self._widen(stage, made.agent)
                found += made.spans
                for id, call in made.calls.items():
                    for seen, proposal in self.invented.get(id, ()):
                        label = "accepted" if proposal.accepted else "dropped"
                        judged(call, "proposal", seen.time, None, label, proposal.reason, {c.RECORD: seen.id})
        return found

    def _invented(self, said: Event, proposal: Proposal) -> None:
        if proposal.call:
            self.invented.setdefault(proposal.call, []).append((said, proposal))

    def _trained(self) -> list[Span]:
        found = []
        for said, adapter in _of(self.beside, Adapter):
            stage, end = self._stage_of(said), nanoseconds(said.time)
            start = self.stages[stage].start if stage >= 0 and self.stages[stage].name == "train" else end
            words: dict[str, Value] = {c.RECORD: adapter.id, c.ADAPTER: adapter.id, c.ROWS: len(adapter.rows)}
            words |= {f"{c.MEASURED}{name}": value for name, value in adapter.metrics.items()}
            named = self.places.named(c.INVOKE_AGENT, "trainer", self.number)
            at, around = self.places.of_round(self.number, adapter.id), self._around(stage)
            made = span(f"{c.INVOKE_AGENT} trainer", at, around, start, end, {**named, **words})
            self._linked(made, adapter.start, "starts from")
            for row in adapter.rows:
                self._linked(made, row, "made of")
            found.append(made)
        return found

    def _decided(self) -> list[Span]:
        found = []
        for said, decision in _of(self.beside, Decision):
            label = "promoted" if decision.promoted else "rejected" if decision.candidate else "nothing trained"
            made = self._moment("decide", said, {c.ADAPTER: decision.candidate})
            judged(made, "gate", said.time, decision.effect, label, decision.reason)
            for id in (decision.candidate, *decision.evaluations):
                self._linked(made, id, "rests on")
            found.append(made)
        for said, verdict in _of(self.beside, Verification):
            made = self._moment("verify", said, {})
            judged(made, "final", said.time, verdict.effect, None, preview(verdict))
            for id in (verdict.base, verdict.promoted):
                self._linked(made, id, "rests on")
            found.append(made)
        return found

    def _frame(self) -> list[Span]:
        """The stages and the round, whose extents are known by now."""
        found = []
        for stage in self.stages:
            named = self.places.named(c.INVOKE_WORKFLOW, stage.name, self.number)
            words = {**named, c.RECORD: stage.id}
            found.append(span(f"{c.INVOKE_WORKFLOW} {stage.name}", stage.at, self.at, *stage.extent.times, words))
        self.extent.take(*found)
        others = [one for one in self.beside if not isinstance(one.record, SPANNED)]
        for one in others:
            self.extent.cover(nanoseconds(one.time), nanoseconds(one.time))
        if self.extent.start is None:
            # A round that has only just begun to propose.
            return found
        name = "round" if self.number else "beside"
        named = self.places.named(c.INVOKE_WORKFLOW, name, self.number)
        root = span(f"{c.INVOKE_WORKFLOW} {name}", self.at, None, *self.extent.times, named)
        for one in others:
            event(root, f"quintet.{one.kind}", one.time, {c.RECORD: one.id, c.TEXT: preview(one.record)})
        return [*found, root]

    def _moment(self, name: str, said: Event, words: Attributes) -> Span:
        """A span without length, for what was done in an instant."""
        time, at = nanoseconds(said.time), self.places.of_round(self.number, said.id)
        named: Attributes = {c.RUN: self.places.run, c.ROUND: self.number, c.RECORD: said.id, **words}
        return span(name, at, self._around(self._stage_of(said)), time, time, named)

    def _stage_of(self, said: Event) -> int:
        """The place of the stage that a record was written in; -1 if in none that has ended."""
        time = nanoseconds(said.time)
        return next((at for at, stage in enumerate(self.stages) if stage.start <= time <= stage.end), -1)

    def _around(self, stage: int) -> Spot:
        return self.at if stage < 0 else self.stages[stage].at

    def _widen(self, stage: int, by: Span) -> None:
        # A stage's seconds and a call's are measured each for itself, and differ by the time of writing them down.
        if stage >= 0:
            self.stages[stage].extent.take(by)

    def _belongs(self, root: Span, stage: str) -> None:
        """Point from a trace of its own to the stage that it is part of."""
        link(root, next((one.at for one in self.stages if one.name == stage), self.at), "part of")

    def _linked(self, made: Span, id: str | None, why: str) -> None:
        if to := self.places.of(id):
            link(made, to, why)


def _judge(root: Span, events: Iterable[Event], attempts: dict[str, Attempt], calls: dict[str, Span]) -> None:
    """What verifier, critic and curator say of the attempts, at the calls that made these."""

    def about(id: str) -> tuple[Span, dict[str, Value]]:
        if (attempt := attempts.get(id)) is None:
            return root, {c.ATTEMPT: id}
        known: dict[str, Value] = {c.ATTEMPT: id, c.SAMPLE: attempt.sample, c.RESPONSE_ID: attempt.call}
        return calls.get(attempt.call, root), known

    for said in events:
        match said.record:
            case Critique() as critique:
                where, known = about(critique.attempt)
                attempt = attempts.get(critique.attempt)
                known |= {c.RECORD: said.id, c.VERDICT: critique.verdict, c.STRICT: critique.strict}
                known |= {c.ANSWER: attempt.answer if attempt else None}
                # Its class alone: the words of what went wrong may quote what only the verifier knows.
                known |= {c.ERROR_TYPE: error_type(critique.error) if critique.error else None}
                label = _correct(critique.correct)
                judged(where, "verifier", said.time, critique.score, label, critique.feedback, known)
            case Selection() as selection:
                where, known = about(selection.attempt)
                label = "chosen" if selection.chosen else "left out"
                judged(where, "curator", said.time, None, label, selection.reason, {**known, c.RECORD: said.id})
            case Lesson() as lesson:
                event(root, "quintet.lesson", said.time, {c.RECORD: said.id, c.TEXT: lesson.text})
            case Skill() as skill:
                where, known = about(skill.attempt)
                event(where, "quintet.skill", said.time, {**known, c.RECORD: said.id, c.TEXT: preview(skill)})


def _acted(root: Span, events: Iterable[Event], attempts: dict[str, Attempt], calls: dict[str, Span]) -> None:
    """What was done in an environment and what it answered, at the calls that chose the actions."""
    whose = {step: id for id, attempt in attempts.items() for step in attempt.transitions}
    for said, step in _of(events, Transition):
        known: Attributes = {
            c.RECORD: said.id,
            c.ATTEMPT: whose.get(said.id),
            c.SAMPLE: step.sample,
            c.RESPONSE_ID: step.call,
            c.ACTION: step.action,
            c.OBSERVATION: step.observation,
            c.REWARD: step.reward,
            c.DONE: step.done,
            c.REFUSED: step.refused,
            # Its class alone, as of a verifier's.
            c.ERROR_TYPE: error_type(step.error) if step.error else None,
        }
        event(calls.get(step.call, root), "quintet.transition", said.time, known)


def _correct(right: bool) -> str:
    return "correct" if right else "incorrect"


def _of(events: Iterable[Event], kind: type[R]) -> Iterator[tuple[Event, R]]:
    for said in events:
        if said.kind == kind.kind and isinstance(record := said.record, kind):
            yield said, record


def _turns(events: Iterable[Event]) -> Iterator[tuple[int, str, list[Event]]]:
    """What was spoken, by turn and role, in the order in which each began."""
    found: dict[tuple[int, str], list[Event]] = {}
    for said in events:
        if isinstance(record := said.record, SPOKEN):
            found.setdefault((record.turn, record.role), []).append(said)
    for (number, role), spoken in found.items():
        yield number, role, spoken
