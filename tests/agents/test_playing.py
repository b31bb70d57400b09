"""Trajectories: how they are played, what ends them, and which rows they give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from wild import Tosses, Wild

from quintet.agents.errors import NoAnswerError
from quintet.agents.playing import NOTHING, Player, Trajectory
from quintet.agents.roles import Answered
from quintet.agents.trajectories import Move, confirmed, moves, rows, whole
from quintet.memory.workspace import Workspace
from quintet.records import Attempt, Call, Completion, Lesson, Message, Recall, Record, Selection, Task, Transition
from quintet.tasks.environment import EnvironmentFamily, encode
from quintet.tasks.errors import TaskError
from quintet.tasks.examiner import Examiner, Judgement
from quintet.tasks.families import load_families
from quintet.tasks.settings import TaskSettings

TASK = Task(family="wild", level=0, question="What is to happen?", canonical="wild", truth={})


class Mute(Wild):
    """Cannot read an action."""

    name = "mute"

    def action(self, text: str) -> str:
        raise ValueError(f"what is {text}?")


class Silent(Wild):
    """Invites with no text."""

    name = "silent"

    def invite(self, observation: str) -> str:
        return None  # type: ignore[return-value]


class Stuck(Wild):
    """Reads an action for ever, as a regular expression may."""

    name = "stuck"

    def action(self, text: str) -> str:
        while True:
            pass


class Dazed(Wild):
    """Puts what it observed for ever."""

    name = "dazed"

    def invite(self, observation: str) -> str:
        while True:
            pass


class Torn(Wild):
    """Reads half a surrogate pair."""

    name = "torn"

    def action(self, text: str) -> str:
        return "\ud800"


@pytest.fixture(scope="module")
async def examiner() -> AsyncIterator[Examiner]:
    families = [Wild(), Tosses(), Mute(), Silent(), Stuck(), Dazed(), Torn()]
    with Examiner(families, TaskSettings(verify_seconds=1)) as examiner:
        yield examiner


class Memory:
    """Remembers one lesson."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, Sequence[str]]] = []

    async def recall(self, query: str, kind: type[Record], *, before: int, count: int, exclude: Sequence[str]) -> Any:
        self.asked.append((query, before, exclude))
        lesson = Lesson(round=1, task="task-0", attempt="attempt-0", critique="critique-0", text="Read\nthe note.")
        return [(lesson, 0.25)] if kind is Lesson and before > 1 else []


def player(examiner: Examiner, family: EnvironmentFamily | None = None, round: int = 2) -> Player:
    table: Any = SimpleNamespace(examiner=examiner, memory=Memory())
    family = family or Wild()
    return Player(table, family, TASK.with_(family=family.name), round, "solver", lambda words: f"<{words}>")


def saying(*scripts: Sequence[str]) -> Any:
    """Says what the script of each trajectory says; nothing where that has ended."""

    async def ask(one: Trajectory) -> Answered:
        script, place = scripts[one.number], len(one.actions)
        if place >= len(script):
            raise NoAnswerError("the script has ended")
        finish = "error" if script[place] == "!" else "stop"
        call = f"call-{one.number}-{place}"
        return Answered((Completion(text=script[place], finish=finish),), (call,), (0,))  # type: ignore[arg-type]

    return ask


async def test_each_trajectory_goes_its_own_way_to_its_end(examiner: Examiner) -> None:
    played = await player(examiner).play(3, saying(["win"], ["a", "b", "c", "d", "e"], ["a", "so\nraise", "win"]))
    assert [one.actions for one in played] == [["win"], ["a", "b", "c", "d"], ["a", "raise"]]
    won, long, broken = (one.transitions[-1] for one in played)
    assert (won.reward, won.done, won.error) == (1.0, True, None)
    assert (long.done, long.error, long.number) == (False, None, Wild.turns - 1)
    assert broken.error == "RuntimeError: as told"
    assert broken.before == played[2].transitions[0].id
    assert [message.content for message in played[2].history] == [
        "<What is to happen?>",
        "a",
        "<You said a.>",
        "so\nraise",
    ]


async def test_a_model_that_says_nothing_more_ends_its_trajectory_and_no_other(examiner: Examiner) -> None:
    played = await player(examiner).play(3, saying(["a"], [], ["a", "!"]))
    assert [(one.number, one.actions) for one in played] == [(0, ["a"]), (2, ["a"])]
    with pytest.raises(NoAnswerError):
        await player(examiner).play(2, saying([], ["!"]))


@pytest.mark.parametrize(
    ("family", "error"),
    [
        (Mute(), "ValueError: what is a?"),
        (Silent(), "invite gave a NoneType, not text"),
        (Stuck(), "action took longer than 1 s"),
        (Dazed(), "invite took longer than 1 s"),
        (Torn(), "action gave no Unicode text"),
    ],
)
async def test_a_family_whose_own_words_fail_or_hang_costs_the_trajectory(
    examiner: Examiner, family: EnvironmentFamily, error: str
) -> None:
    [one] = await player(examiner, family).play(1, saying(["a", "win"]))
    [step] = one.transitions
    assert (step.error or "").startswith(error)


async def test_what_is_searched_is_shown_and_recorded_but_no_part_of_the_replay(examiner: Examiner) -> None:
    playing = player(examiner)
    [one] = await playing.play(1, saying(["search", "win"]))
    assert one.transitions[0].observation == "Found:\nRead the note."
    assert one.outcomes[0].observation == "Found:"
    [recall] = one.recalls
    assert isinstance(recall, Recall)
    assert (recall.query, recall.task, recall.round) == ("doors and treasures", TASK.id, 2)
    asked = cast(Memory, playing.table.memory).asked
    assert {(before, tuple(exclude)) for _, before, exclude in asked} == {(2, (TASK.id,))}
    [early] = await player(examiner, round=1).play(1, saying(["search", "win"]))
    assert early.transitions[0].observation == f"Found:\n{NOTHING}"
    assert not early.recalls


def test_an_environment_without_turns_is_refused() -> None:
    family = Wild()
    family.turns = 0
    with pytest.raises(TaskError, match="environment 'wild' has 0 turns: it needs at least 1"):
        load_families([family])


# What is made of one.


def move(number: int, text: str, finish: Any = "stop", **values: Any) -> Move:
    step = Transition(
        round=1, task=TASK.id, number=number, call="call-0", sample=0, action=text, observation=f"seen {text}", **values
    )
    return Move(step, Completion(text=text, tokens=(number, 9), logprobs=(-1.0, -2.0), finish=finish))


def an_attempt(*played: Move) -> Attempt:
    text = encode([one.transition.action for one in played])
    ids = tuple(one.transition.id for one in played)
    about: dict[str, Any] = {"round": 1, "task": TASK.id, "call": "call-0", "sample": 0, "turn": 0}
    return Attempt(**about, text=text, answer=text, strict_answer=text, transitions=ids)


def learnt(*played: Move) -> list[Any]:
    attempt = an_attempt(*played)
    selection = Selection(round=1, task=TASK.id, attempt=attempt.id, chosen=True, reason="right")
    opening = [Message(role="system", content="You act.")]
    return rows(opening, lambda words: f"<{words}>", Wild(), TASK, attempt, selection, played)


def test_a_row_for_each_action_has_the_conversation_before_it_as_its_prompt() -> None:
    found = learnt(move(0, "a"), move(1, "b"), move(2, "win", reward=1.0, done=True))
    assert [row.completion for row in found] == ["a", "b", "win"]
    assert [row.tokens for row in found] == [(0, 9), (1, 9), (2, 9)]
    said = [message.content for message in found[2].prompt]
    assert said == ["You act.", "<What is to happen?>", "a", "<seen a>", "b", "<seen b>"]
    assert [message.role for message in found[2].prompt] == ["system", *["user", "assistant"] * 2, "user"]
    assert sum(row.weight for row in found) == pytest.approx(1.0)
    assert len({row.id for row in found}) == 3


def test_what_was_refused_or_cut_off_is_context_and_no_row() -> None:
    found = learnt(move(0, "hm", refused=True), move(1, "rambling", "length"), move(2, "win", reward=1.0))
    assert [(row.completion, row.weight) for row in found] == [("win", 1.0)]
    assert "hm" in [message.content for message in found[0].prompt]
    assert learnt(move(0, "hm", refused=True)) == []


def test_a_trajectory_counts_with_all_its_tokens_and_ends_as_its_last_action_did() -> None:
    played = [move(0, "a", "length"), move(1, "win")]
    one = whole(an_attempt(*played), played)
    assert (one.tokens, one.finish, len(one.logprobs)) == ((0, 9, 1, 9), "stop", 4)
    assert whole(an_attempt(*played[::-1]), played[::-1]).finish == "length"


def test_moves_are_read_from_the_ledger_and_a_judgement_holds_only_if_the_replay_earned_the_same(
    tmp_path: Path,
) -> None:
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.begin("made", 0, {})
        words = Completion(text="win", tokens=(1,))
        call = Call(request="r", round=1, role="solver", model="m", messages=(), completions=(words,))
        won, failed = (
            Transition(
                round=1,
                task=TASK.id,
                number=0,
                call=call.id,
                sample=0,
                action="win",
                observation="",
                reward=float(error is None),
                done=True,
                error=error,
            )
            for error in (None, "it broke")
        )
        ledger.add(TASK, call, won, failed)
        [found] = moves(ledger, an_attempt(Move(won, words)))
        assert (found.transition, found.words) == (won, words)
        right = Judgement(answer="", strict_answer="", score=1.0, correct=True, strict=True)
        wrong = right.model_copy(update={"score": 0.0, "correct": False, "strict": False})
        good = an_attempt(Move(won, words))
        assert confirmed(ledger, good, right) == right
        other = confirmed(ledger, good, wrong)
        assert other.error == "played, its actions earned 1, and 0 when they were done again"
        late = confirmed(ledger, an_attempt(Move(failed, words)), right)
        assert (late.error, late.correct, late.score, late.strict) == ("it broke", False, 0.0, False)
        plain = good.with_(transitions=())
        assert confirmed(ledger, plain, wrong) == wrong
        assert moves(ledger, plain) == []
