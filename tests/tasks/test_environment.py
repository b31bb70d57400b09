from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wild import Tosses, Wild

from quintet.records import Split, Task
from quintet.tasks.environment import EnvironmentFamily, Outcome, decode, encode
from quintet.tasks.environments.tools import ToolUse, with_tools
from quintet.tasks.environments.treasure import LAYOUTS, Treasure, canonical
from quintet.tasks.errors import TaskError
from quintet.tasks.examiner import Examiner, load_families
from quintet.tasks.settings import TaskSettings


@pytest.fixture(scope="module")
def wild() -> Iterator[Examiner]:
    with Examiner([Wild(), Tosses()], TaskSettings(verify_seconds=1)) as examiner:
        yield examiner


def task(family: str = "wild", **truth: str) -> Task:
    return Task(family=family, level=0, question="?", canonical="?", truth=truth)


@given(st.lists(st.text()))
def test_the_text_of_an_attempt_holds_its_actions_whatever_is_in_them(actions: list[str]) -> None:
    assert decode(encode(actions)) == actions
    assert Wild().extract(encode(actions)).strict == encode(actions)


def test_a_text_that_is_no_list_is_read_as_one_action_a_line_but_not_strictly() -> None:
    found = Wild().extract("go north\n\n  win \n")
    assert found.lenient == encode(["go north", "win"])
    assert found.strict is None
    assert Wild().extract(" \n").lenient is None
    assert decode('{"a": 1}') is decode("[1]") is decode("[" * 100_000) is None


MISDEEDS = {
    "hang": "the environment took longer than 1 s",
    "exit": r"the environment ended its process \(exit code 3\)",
    "raise": "RuntimeError: as told",
    "nothing": "the environment answered a NoneType, not an Outcome",
    "number": "the environment's observation is a int, not text",
    "long": "the environment's observation has 4001 characters: 4000 are the most",
    "nan": "the environment's reward is nan",
    "two": r"the environment's reward is 2\.0",
    "surrogate": "the environment's observation is no Unicode text",
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
async def test_an_environment_that_misbehaves_is_an_error_with_its_reason_and_the_next_one_works(
    wild: Examiner, misdeed: str
) -> None:
    first = await wild.step(task(), ["hello"])
    assert first.outcome == Outcome(observation="You said hello.")
    failed = await wild.step(task(), ["hello", misdeed], [first.outcome])
    assert failed.outcome is None
    assert failed.error is not None
    assert re.match(MISDEEDS[misdeed], failed.error), failed.error
    [judged] = await wild.judge(task(), [encode(["hello", misdeed])])
    assert judged.error is not None
    assert not judged.correct
    after = await wild.step(task(), ["hello", "win"], [first.outcome])
    assert after.outcome == Outcome(observation="You win.", reward=1.0, done=True)


async def test_an_environment_that_answers_otherwise_when_it_is_replayed_is_at_fault(wild: Examiner) -> None:
    first = await wild.step(task(), ["chance"])
    assert first.outcome is not None
    again = await wild.step(task(), ["chance", "win"], [first.outcome])
    assert again.error == "the environment answers differently when action 1 is done again"


async def test_only_environments_have_steps(wild: Examiner) -> None:
    with pytest.raises(TaskError, match="no task family is named"):
        await wild.step(task("nowhere"), ["win"])
    plain = Examiner([load_families()["products"]])
    with plain, pytest.raises(TaskError, match="products is no environment"):
        await plain.step(task("products"), ["win"])


async def test_actions_after_the_end_or_beyond_the_limit_earn_nothing(wild: Examiner) -> None:
    texts = [["win"], ["win", "raise"], ["a", "b", "c", "win"], ["a", "b", "c", "d", "win"], []]
    judged = await wild.judge(task(), [encode(actions) for actions in texts])
    assert [judgement.correct for judgement in judged] == [True, True, True, False, False]
    assert [judgement.error for judgement in judged] == [None] * 5


def test_the_last_of_several_lines_is_the_action() -> None:
    assert Wild().action("I think\n  open the door  \n\n") == "open the door"
    assert Wild().action(" \n ") == ""


# The text game.


@pytest.mark.parametrize("level", range(len(LAYOUTS)))
def test_every_game_can_be_won_by_following_its_notes_within_its_actions(level: int) -> None:
    game = Treasure()
    for draft in islice(game.draw(level, 3), 20):
        actions = []
        for room in draft.truth["rooms"]:
            actions += ["Read the note."] * draft.truth["hidden"] + [f"I open the {room['right']} door!"]
        outcomes = game.play(draft.truth, actions)
        assert [outcome.reward for outcome in outcomes] == [0.0] * (len(actions) - 1) + [1.0]
        assert outcomes[-1].done
        assert len(actions) < draft.truth["actions"] <= game.turns
        assert game.score(draft.truth, encode(actions)) == 1.0


def test_a_hidden_note_is_not_told_before_it_is_read() -> None:
    game = Treasure()
    draft = next(iter(game.draw(5, 1)))
    assert "leads on" not in draft.question
    assert "leads on" in game.play(draft.truth, ["read the note"])[0].observation


def test_a_game_ends_when_its_actions_are_spent_and_says_what_cannot_be_done() -> None:
    game = Treasure()
    draft = next(iter(game.draw(1, 1)))
    outcomes = game.play(draft.truth, ["dance"] * 9)
    assert len(outcomes) == draft.truth["actions"]
    assert [outcome.done for outcome in outcomes] == [False] * (len(outcomes) - 1) + [True]
    assert all(outcome.refused for outcome in outcomes)
    both = " and ".join(draft.truth["rooms"][0]["doors"])
    assert game.play(draft.truth, [f"open {both}"])[0].refused


def test_two_games_that_differ_in_the_order_of_their_doors_are_one() -> None:
    truth = {"rooms": [{"doors": ["red", "blue"], "right": "blue"}], "hidden": False, "actions": 2}
    other = {**truth, "rooms": [{"doors": ["blue", "red"], "right": "blue"}]}
    assert canonical(truth) == canonical(other)


async def test_the_splits_of_the_game_are_disjoint_and_hold_hundreds_of_games() -> None:
    with Examiner([Treasure()]) as examiner:
        found = {}
        splits: tuple[Split, ...] = ("train", "gate", "final")
        for split in splits:
            drawn = await examiner.draw("treasure", 1, 0, 300, split)
            found[split] = {one.canonical for one in drawn}
        assert all(len(some) == 300 for some in found.values())
        assert len(found["train"] | found["gate"] | found["final"]) == 900


# Tools.


def tools(name: str = "products") -> ToolUse:
    [found] = [family for family in with_tools() if family.name == f"{name}_tools"]
    assert isinstance(found, ToolUse)
    return found


def test_a_question_is_worked_out_with_the_calculator_and_answered() -> None:
    family = tools()
    draft = next(iter(family.draw(3, 1)))
    words = draft.question.partition(": ")[2].partition(".")[0]
    worked = family.play(draft.truth, [f"calculate: {words}"])[0]
    assert worked.observation == f"{words} = {draft.truth['answer']}"
    right, wrong = (family.play(draft.truth, [f"Answer: {said}"])[0] for said in (draft.truth["answer"], "-1"))
    assert (right.reward, right.done, wrong.reward, wrong.done) == (1.0, True, 0.0, True)


def test_a_question_has_the_split_that_it_has_without_tools() -> None:
    family = tools()
    plain = [draft.canonical for draft in islice(family.inner.draw(2, 5), 10)]
    assert [draft.canonical for draft in islice(family.draw(2, 5), 10)] == plain


@pytest.mark.parametrize(
    "words",
    ["", "2 ** 9", "__import__('os')", "1/0", "(" * 500, "9" * 199, "1" + "*9" * 90, "red", "2 +", "-" * 150 + "1"],
)
def test_the_calculator_is_not_shaken_by_what_is_written(words: str) -> None:
    [outcome] = tools().play({"answer": "1", "level": 0, "metadata": {}}, [f"calculate: {words}"])
    assert isinstance(outcome, Outcome)
    assert outcome.reward == 0


def test_a_search_is_asked_of_the_memory_and_nothing_else_ends_the_question() -> None:
    family = tools()
    truth = {"answer": "1", "level": 0, "metadata": {}}
    search, babble = family.play(truth, ["search: sums of two", "hello"])
    assert search.search == "sums of two"
    assert babble.refused
    assert not search.done
    assert family.action("Well.\nCalculate: 2 + 3 = 6\nAnswer: 6") == "Calculate: 2 + 3 = 6"
    assert family.play(truth, ["Calculate: 2 + 3 = 6"])[0].observation == "2 + 3 = 5"


@pytest.mark.parametrize("family", [Treasure(), tools(), Tosses()], ids=lambda family: family.name)
def test_the_same_actions_are_answered_the_same_whatever_they_are(family: EnvironmentFamily) -> None:
    family.prepare()
    source = random.Random(1)
    draft = next(iter(family.draw(1, 1)))
    words = [*draft.question.split(), "open the red door", "calculate: 1 + 2", "Answer: 3", "search: x", "", "\x00{{"]
    for _ in range(50):
        actions = [source.choice(words) for _ in range(family.turns)]
        assert family.play(draft.truth, actions) == family.play(draft.truth, actions)
