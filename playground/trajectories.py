"""A trajectory as it is read: what the model said, what it did by that, what the environment answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quintet.memory.events import Event
from quintet.records import Attempt, Call, Completion, Evaluation, Part, Recall, Transition
from quintet.tasks.environment import decode


class Acted(Part):
    """One action, with all that belongs to it."""

    action: str
    """As the environment took it."""
    observation: str | None
    """What it answered; `None` where that is not on record."""
    call: Event | None = None
    """In which the action was chosen."""
    words: Completion | None = None
    """What the model said there."""
    event: Event | None = None
    """The transition; an evaluation records none."""
    recalls: tuple[Event, ...] = ()
    """What was remembered for it."""

    @property
    def wordy(self) -> bool:
        """Whether the model said more than what it did."""
        return self.words is not None and self.words.text.strip() != self.action

    @property
    def step(self) -> Transition | None:
        """The transition's record."""
        return self.event.record if self.event and isinstance(self.event.record, Transition) else None


def trajectory(
    attempt: Attempt, transitions: Mapping[str, Event], calls: Mapping[str, Event], recalls: Sequence[Event]
) -> tuple[Acted, ...]:
    """The actions of an attempt in an environment, in order; empty for any other attempt.

    Args:
        attempt: The attempt.
        transitions: Events by id.
        calls: Events by id.
        recalls: Those of its round that have no place yet; what a search of this attempt found is among them.
    """
    found, left = [], list(recalls)
    for id in attempt.transitions:
        event = transitions.get(id)
        if event is None or not isinstance(event.record, Transition):
            continue
        step = event.record
        mine = [one for one in left if isinstance(one.record, Recall) and _of(one.record, step)]
        left = [one for one in left if one not in mine]
        call = calls.get(step.call)
        found.append(
            Acted(
                action=step.action,
                observation=step.observation,
                call=call,
                words=_said(call, step.sample),
                event=event,
                recalls=tuple(mine),
            )
        )
    return tuple(found)


def answered(evaluation: Evaluation, text: str, calls: Sequence[Event]) -> tuple[Acted, ...]:
    """The actions that an evaluation's answer stands for, each with its call; empty where it was said at once.

    Args:
        evaluation: The evaluation.
        text: The answer's.
        calls: An evaluation's calls about the task that belong to no other answer.
    """
    actions = decode(text)
    chain: list[Event] = []
    for _ in actions or ():
        following = (event for event in calls if event not in chain and _follows(event, chain, evaluation))
        if (event := next(following, None)) is None:
            return ()
        chain.append(event)
    if len(chain) == 1 and (words := _said(chain[0], 0)) and words.text == text:
        # A plain answer that happens to be a list.
        return ()
    shown = []
    for place, (action, event) in enumerate(zip(actions or (), chain, strict=True)):
        # What the environment said is what the model was told next; after the last action nobody was told.
        later = chain[place + 1].record if place + 1 < len(chain) else None
        observation = later.messages[-1].content if isinstance(later, Call) else None
        shown.append(Acted(action=action, observation=observation, call=event, words=_said(event, 0)))
    return tuple(shown)


def _of(recall: Recall, step: Transition) -> bool:
    """Whether a search is that of a step: its query is in the action, or the action in it."""
    return recall.query in step.action or (bool(step.action) and step.action in recall.query)


def _follows(event: Event, chain: Sequence[Event], evaluation: Evaluation) -> bool:
    """Whether a call goes on where the last one of a chain ended, or begins one."""
    call, last = event.record, chain[-1].record if chain else None
    if not isinstance(call, Call) or call.adapter != evaluation.adapter or len(call.completions) != 1:
        return False
    if not isinstance(last, Call):
        return not any(message.role == "assistant" for message in call.messages)
    said = last.completions[0].text
    before = [(message.role, message.content) for message in last.messages]
    return [(m.role, m.content) for m in call.messages[:-1]] == [*before, ("assistant", said)]


def _said(call: Event | None, sample: int) -> Completion | None:
    completions = call.record.completions if call and isinstance(call.record, Call) else ()
    return completions[sample] if sample < len(completions) else None
