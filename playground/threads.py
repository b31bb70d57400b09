"""A task's records in the order in which one reads them: rounds, turns, and what was said about what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quintet.memory.events import Event
from quintet.memory.reading.conversation import Conversation
from quintet.playground.trajectories import Acted, trajectory
from quintet.playground.trajectories import answered as acted
from quintet.records import (
    Answer,
    Attempt,
    Call,
    Critique,
    Evaluation,
    Lesson,
    Part,
    Proposal,
    Recall,
    Record,
    Reply,
    Row,
    Selection,
    Skill,
    Transition,
)


class Asked(Part):
    """What a model was told: the calls with the same messages, which differ in their replies only."""

    calls: tuple[Event, ...]

    @property
    def first(self) -> Call:
        """The call that stands for all of them."""
        return _call(self.calls[0])

    @property
    def replies(self) -> int:
        """Over all calls."""
        return sum(len(_call(event).completions) for event in self.calls)

    @property
    def seconds(self) -> float | None:
        """The longest of them: they may have been answered together."""
        known = [event.seconds for event in self.calls if event.seconds is not None]
        return max(known) if known else None


class Said(Part):
    """A record, with what its speaker was told."""

    event: Event
    asked: Asked | None = None


class Quote(Part):
    """What an attempt was revised for: said in the turn before."""

    id: str
    role: str
    text: str


class Try(Part):
    """An attempt and the verdicts on it."""

    event: Event
    number: int
    """From 1, over the round."""
    tokens: int | None = None
    """Of its own completion."""
    finish: str = "stop"
    seconds: float | None = None
    """Of its call."""
    critiques: tuple[Said, ...] = ()
    lessons: tuple[Event, ...] = ()
    skills: tuple[Event, ...] = ()
    """What it was kept as."""
    revises: int | None = None
    """The number of the attempt that it revises."""
    revised_by: tuple[str, ...] = ()
    """Ids of its revisions."""
    quotes: tuple[Quote, ...] = ()
    steps: tuple[Acted, ...] = ()
    """In an environment: what was done there."""

    @property
    def heard(self) -> bool:
        """Whether somebody told what to mend."""
        return any(isinstance(said.event.record, Critique) and said.event.record.feedback for said in self.critiques)

    @property
    def correct(self) -> bool | None:
        """As it was judged last; `None` if it was not."""
        return self.critiques[-1].event.record.correct if self.critiques else None  # type: ignore[attr-defined]


class Asking(Part):
    """What the solver was told, and its attempts."""

    asked: Asked | None
    tries: tuple[Try, ...]


class Turn(Part):
    """A turn of a round's conversation."""

    number: int
    """From 0."""
    recalls: tuple[Event, ...] = ()
    askings: tuple[Asking, ...] = ()
    said: tuple[Said, ...] = ()
    """Joined roles' replies, and whatever else was said: calls that led to nothing, lessons of other roles."""

    @property
    def tried(self) -> int:
        """Attempts."""
        return sum(len(asking.tries) for asking in self.askings)

    @property
    def right(self) -> int:
        """Those that the verifier accepts."""
        return sum(one.correct is True for asking in self.askings for one in asking.tries)


class Talk(Part):
    """What was said about the task in one round."""

    round: int
    """0 is beside the rounds: what a user asked."""
    proposals: tuple[Said, ...]
    turns: tuple[Turn, ...]
    choices: tuple[Said, ...]
    """The curator's selections."""
    numbers: dict[str, int]
    """By attempt, its number."""
    rows: tuple[Event, ...]
    began: float
    """Seconds since the epoch."""


class Answered(Part):
    """An evaluation's answer to the task, and the call that gave it."""

    evaluation: Evaluation
    place: int
    """Among the evaluation's answers."""
    asked: Asked | None
    steps: tuple[Acted, ...] = ()
    """In an environment: what was done there."""

    @property
    def answer(self) -> Answer:
        """What was answered."""
        return self.evaluation.answers[self.place]


class Thread(Part):
    """A conversation as it is shown."""

    talks: tuple[Talk, ...]
    answers: tuple[Answered, ...]

    @property
    def origins(self) -> dict[str, list[int]]:
        """How the task came, and in which rounds."""
        found: dict[str, list[int]] = {}
        for talk in self.talks:
            for origin in dict.fromkeys(said.event.record.origin for said in talk.proposals):  # type: ignore[attr-defined]
                found.setdefault(origin, []).append(talk.round)
        return found


def thread(found: Conversation) -> Thread:
    """Arrange a conversation; each record of it is in one place."""
    calls = {event.id: event for event in (*found.inventions, *found.events) if event.kind == Call.kind}
    answers = _answers(found, calls)
    taken = {event.id for answer in answers if answer.asked for event in answer.asked.calls}
    taken |= {step.call.id for answer in answers for step in answer.steps if step.call}
    by_round: dict[int, list[Event]] = {}
    for event in found.events:
        # What a text's score was asked for stands in a selection or a rescore.
        scored = isinstance(event.record, Call) and event.record.scored
        if event.id not in taken and not scored:
            by_round.setdefault(event.round or 0, []).append(event)
    return Thread(
        talks=tuple(_Reading(events, calls).talk(number) for number, events in sorted(by_round.items())),
        answers=tuple(answers),
    )


class _Reading:
    """One round's records while they are being arranged."""

    def __init__(self, events: Sequence[Event], calls: dict[str, Event]) -> None:
        self.events, self.calls = events, calls
        self.placed: set[str] = set()
        """Ids of what has its place; a call has it with the first record that came of it."""
        self.critiques = self._of(Critique)
        self.attempts = self._of(Attempt)
        self.transitions = self._of(Transition)
        self.numbers = {event.id: number for number, event in enumerate(self.attempts, 1)}

    def talk(self, round: int) -> Talk:
        """Arrange them."""
        askings = self._askings()
        proposals, choices, replies = (tuple(self._said(Proposal)), tuple(self._said(Selection)), self._said(Reply))
        recalls, rows = [event for event in self._of(Recall) if event.id not in self.placed], self._of(Row)
        self.placed |= {event.id for event in (*recalls, *rows)}
        others = [
            Said(event=event, asked=Asked(calls=(event,)) if event.kind == Call.kind else None)
            for event in self.events
            if event.id not in self.placed
        ]
        rest = sorted([*replies, *others], key=lambda said: said.event.seq)
        numbers = {_turn(asking.tries[0].event) for asking in askings}
        numbers |= {_turn(event) for event in (*recalls, *(said.event for said in rest))}
        return Talk(
            round=round,
            proposals=proposals,
            turns=tuple(
                Turn(
                    number=number,
                    recalls=tuple(event for event in recalls if _turn(event) == number),
                    askings=tuple(asking for asking in askings if _turn(asking.tries[0].event) == number),
                    said=tuple(said for said in rest if _turn(said.event) == number),
                )
                for number in sorted(numbers)
            ),
            choices=choices,
            numbers=self.numbers,
            rows=tuple(rows),
            began=min(event.time - (event.seconds or 0.0) for event in self.events),
        )

    def _of(self, *kinds: type[Record]) -> list[Event]:
        names = [kind.kind for kind in kinds]
        return [event for event in self.events if event.kind in names]

    def _said(self, kind: type[Record]) -> list[Said]:
        found = [self._with_call(event) for event in self._of(kind)]
        self.placed |= {said.event.id for said in found}
        return found

    def _with_call(self, event: Event) -> Said:
        call = self.calls.get(getattr(event.record, "call", None) or "")
        if call is None or call.id in self.placed:
            return Said(event=event)
        self.placed.add(call.id)
        return Said(event=event, asked=Asked(calls=(call,)))

    def _askings(self) -> list[Asking]:
        """The attempts by turn and by what the solver was told for them, in the order of the first of each."""
        groups: dict[tuple[int, str], list[Event]] = {}
        for event in self.attempts:
            attempt = _attempt(event)
            call = self._first_call(attempt)
            told = str(_call(call).messages) if call else attempt.call
            groups.setdefault((attempt.turn, told), []).append(event)
        found = []
        for events in groups.values():
            first = {call.id: call for event in events if (call := self._first_call(_attempt(event)))}
            calls = tuple(first.values())
            self.placed |= {*(event.id for event in events), *(call.id for call in calls)}
            asked = Asked(calls=calls) if calls else None
            found.append(Asking(asked=asked, tries=tuple(self._try(event) for event in events)))
        return found

    def _first_call(self, attempt: Attempt) -> Event | None:
        """The call in which an attempt was made, or its first action chosen."""
        first = next((event for event in self.transitions if event.id in attempt.transitions[:1]), None)
        return self.calls.get(first.record.call if first and isinstance(first.record, Transition) else attempt.call)

    def _steps(self, attempt: Attempt) -> tuple[Acted, ...]:
        """What was done in an environment; each action, its call and what it recalled have their place there."""
        if not attempt.transitions:
            return ()
        recalls = [event for event in self._of(Recall) if event.id not in self.placed]
        steps = trajectory(attempt, {event.id: event for event in self.transitions}, self.calls, recalls)
        for step in steps:
            self.placed |= {one.id for one in (step.event, step.call, *step.recalls) if one}
        return steps

    def _try(self, event: Event) -> Try:
        attempt, call = _attempt(event), self.calls.get(_attempt(event).call)
        completions = _call(call).completions if call else ()
        completion = completions[attempt.sample] if attempt.sample < len(completions) else None
        steps = self._steps(attempt)
        words = [step.words for step in steps if step.words] or ([completion] if completion else [])
        critiques = [self._with_call(one) for one in self.critiques if getattr(one.record, "attempt", "") == event.id]
        lessons = [one for one in self._of(Lesson) if getattr(one.record, "attempt", "") == event.id]
        skills = [one for one in self._of(Skill) if getattr(one.record, "attempt", "") == event.id]
        self.placed |= {*(said.event.id for said in critiques), *(one.id for one in (*lessons, *skills))}
        return Try(
            event=event,
            number=self.numbers[event.id],
            tokens=sum(len(one.tokens) for one in words) or None,
            finish=completion.finish if completion else "stop",
            seconds=call.seconds if call else None,
            critiques=tuple(critiques),
            lessons=tuple(lessons),
            skills=tuple(skills),
            revises=self.numbers.get(attempt.revises or ""),
            revised_by=tuple(one.id for one in self.attempts if _attempt(one).revises == event.id),
            quotes=tuple(self._quotes(attempt)) if attempt.revises else (),
            steps=steps,
        )

    def _quotes(self, revision: Attempt) -> Iterator[Quote]:
        for event in self.critiques:
            critique = event.record
            if isinstance(critique, Critique) and critique.attempt == revision.revises and critique.feedback:
                yield Quote(id=event.id, role="critic", text=critique.feedback)
        for event in self._of(Reply):
            reply = event.record
            if isinstance(reply, Reply) and reply.turn == revision.turn - 1 and reply.content:
                words = [word for word in reply.content.values() if isinstance(word, str)] or [str(reply.content)]
                yield Quote(id=event.id, role=reply.role, text=" ".join(words))


def _answers(found: Conversation, calls: dict[str, Event]) -> list[Answered]:
    """Each evaluation's answer, with the call that said it under the same adapter."""
    answers, taken = list[Answered](), set[str]()
    for evaluation in found.evaluations:
        for place, answer in enumerate(evaluation.answers):
            if answer.task != found.task.id:
                continue
            giving = (
                event
                for event in calls.values()
                if event.id not in taken
                and _call(event).adapter == evaluation.adapter
                and [one.text for one in _call(event).completions] == [answer.text]
            )
            call = next(giving, None)
            steps = () if call else acted(evaluation, answer.text, [c for c in calls.values() if c.id not in taken])
            taken |= {call.id} if call else {step.call.id for step in steps if step.call}
            asked = Asked(calls=(call,)) if call else None
            answers.append(Answered(evaluation=evaluation, place=place, asked=asked, steps=steps))
    return answers


def _call(event: Event) -> Call:
    if not isinstance(event.record, Call):
        raise TypeError(f"{event.id} is no call")
    return event.record


def _attempt(event: Event) -> Attempt:
    if not isinstance(event.record, Attempt):
        raise TypeError(f"{event.id} is no attempt")
    return event.record


def _turn(event: Event) -> int:
    turn: int = getattr(event.record, "turn", 0)
    return turn
