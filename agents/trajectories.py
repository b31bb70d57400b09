"""What is made of a trajectory once it has been played: the conversation that it was, and rows to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quintet.records import Attempt, Call, Completion, Message, Row, Selection, Task, Transition
from quintet.tasks.environment import EnvironmentFamily

if TYPE_CHECKING:
    from quintet.memory.ledger import RunLedger
    from quintet.tasks.examiner import Judgement

TOLERANCE = 1e-9
"""By how much a reward may differ when the same actions are done again."""


@dataclass(frozen=True)
class Move:
    """One action of a trajectory with the model's own words."""

    transition: Transition
    words: Completion
    """As generated, with its tokens; the action was read in them."""

    @property
    def learnable(self) -> bool:
        """Whether it may be learnt from: it was done, and it was said to its end."""
        return not self.transition.refused and self.transition.error is None and self.words.finish == "stop"


def moves(ledger: RunLedger, attempt: Attempt) -> list[Move]:
    """The actions of an attempt in an environment, in order; empty for any other attempt."""
    found = []
    for id in attempt.transitions:
        transition = ledger.get(id)
        if not isinstance(transition, Transition):
            raise LookupError(f"{attempt.id} names {id}, which is not in the ledger")
        call = ledger.get(transition.call)
        known = isinstance(call, Call) and transition.sample < len(call.completions)
        words = call.completions[transition.sample] if known else None  # type: ignore[union-attr]
        found.append(Move(transition, words or Completion(text=transition.action, finish="error")))
    return found


def confirmed(ledger: RunLedger, attempt: Attempt, judgement: Judgement) -> Judgement:
    """A verifier's judgement of an attempt; of a trajectory, only if its replay earned what playing it did.

    Args:
        ledger: Where the trajectory's actions are.
        attempt: What was judged; one without actions stands as it was judged.
        judgement: What the verifier found when it did the actions again.
    """
    last = ledger.get(attempt.transitions[-1]) if attempt.transitions else None
    if not isinstance(last, Transition):
        return judgement
    error = last.error or judgement.error
    if error is None and abs(last.reward - judgement.score) > TOLERANCE:
        error = f"played, its actions earned {last.reward:g}, and {judgement.score:g} when they were done again"
    if error is None:
        return judgement
    return judgement.model_copy(update={"score": 0.0, "correct": False, "strict": False, "error": error})


def whole(attempt: Attempt, played: Sequence[Move]) -> Completion:
    """All that the model said in a trajectory, as one completion: what metrics and bounds look at."""
    words = [move.words for move in played]
    return Completion(
        text=attempt.text,
        tokens=tuple(token for one in words for token in one.tokens),
        logprobs=tuple(value for one in words for value in one.logprobs),
        behaviour_logprobs=tuple(value for one in words for value in one.behaviour_logprobs),
        # The action that won must have been said to its end; others that were cut off give no row, and cost none.
        finish=words[-1].finish if words else "error",
    )


def rows(
    opening: Sequence[Message],
    say: Callable[[str], str],
    family: EnvironmentFamily,
    task: Task,
    attempt: Attempt,
    selection: Selection,
    played: Sequence[Move],
) -> list[Row]:
    """A row for each action of a trajectory worth learning: the conversation up to there, and the model's own words.

    The loss is thus on the model's tokens only, never on what the environment said (as in AgentGym, arXiv 2406.04151).
    All that was done on the way counts, detours too, since the trajectory as a whole was right and nobody knows which
    step it owes that to; only what the environment refused stays context and is not learnt (as in AgentRefine, arXiv
    2501.01702). Their weights sum to 1, so that a long trajectory counts no more than a short one.

    Args:
        opening: The system message, if there is one.
        say: The user message with these words, as the solver's template puts them.
        family: The task's.
        task: What was to be done.
        attempt: The trajectory.
        selection: The curator's choice of it.
        played: Its actions.
    """
    conversation, words = list(opening), family.ask(task.question)
    prompts: list[tuple[Move, tuple[Message, ...]]] = []
    for move in played:
        conversation.append(Message(role="user", content=say(words)))
        prompts.append((move, tuple(conversation)))
        conversation.append(Message(role="assistant", content=move.words.text))
        if move is not played[-1]:
            words = family.invite(move.transition.observation)
    learnt = [(move, prompt) for move, prompt in prompts if move.learnable]
    return [
        Row(
            round=attempt.round,
            task=task.id,
            attempt=attempt.id,
            selection=selection.id,
            prompt=prompt,
            completion=move.words.text,
            tokens=move.words.tokens,
            weight=1 / len(learnt),
        )
        for move, prompt in learnt
    ]
