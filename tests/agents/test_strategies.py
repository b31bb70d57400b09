"""Refinement strategies: what each makes of replies, marks and advice, and how it keeps to a budget of tokens."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from installing import install
from scripted import PROMPT, Script, desk_of

from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.strategies import GROUP, Desk, Solution, Strategy, answering, strategies
from quintet.agents.table import Question
from quintet.models.requests import Request
from quintet.plugins import PluginError, names
from quintet.records import Call

OURS = [
    "beam",
    "best_of_n",
    "best_of_n_likelihood",
    "debate",
    "greedy",
    "oracle",
    "plan",
    "recall",
    "reflect",
    "revise",
    "sample",
    "self_consistency",
    "tree",
]


def of(request: Request) -> str:
    """What is asked: the reply's schema, or `solver`."""
    return str((request.schema_ or {}).get("title", "solver"))


def by_turn(*texts: str) -> Any:
    """Says of several samples of one request each another text, again and again."""
    return lambda request, place: texts[place % len(texts)]


async def always(texts: Sequence[str]) -> list[bool]:
    """A verifier for which `102` is the truth."""
    return ["102" in text for text in texts]


async def solved(name: str, desk: Desk, samples: int = 4) -> Solution:
    [strategy] = strategies([name], samples)
    await strategy.prepare([desk])
    return await strategy.solve(desk)


def said(solution: Solution, what: str) -> list[str]:
    return [step.text for step in solution.steps if step.what.startswith(what)]


# --- which reply is taken ------------------------------------------------------------------------------------


async def test_the_commonest_answer_wins_and_no_answer_is_no_vote(tmp_path: Path) -> None:
    script = Script(by_turn("Answer: 102", "no idea", "no idea", "I say 102"))
    with desk_of(script, tmp_path) as desk:
        found = await solved("self_consistency", desk)
    assert found.answer == "102"
    assert said(found, "votes") == ["102 × 2, none × 2"]


async def test_likelihood_breaks_ties_of_votes(tmp_path: Path) -> None:
    script = Script(by_turn("Answer: 96", "Answer: 102"), nats=lambda text: -0.1 if "102" in text else -2.0)
    with desk_of(script, tmp_path) as desk:
        assert (await solved("self_consistency", desk)).answer == "102"


async def test_the_best_mark_wins_and_nonsense_is_no_mark(tmp_path: Path) -> None:
    marks = {"Answer: 96": '{"score": 2}', "Answer: 102": '{"score": 5}', "Answer: 7": '{"score": 9}', "Answer: 8": "?"}

    def says(request: Request, place: int) -> str:
        if of(request) == "Rating":
            return next(mark for text, mark in marks.items() if text in request.messages[-1].content)
        return list(marks)[place]

    with desk_of(Script(says), tmp_path) as desk:
        found = await solved("best_of_n", desk)
        assert found.answer == "102"
        assert [step.what for step in found.steps] == ["mark 2", "mark 5", "mark none", "mark none"]
        ratings = [call for call in desk.table.ledger.find(Call) if call.role == "critic"]
    assert len(ratings) == 4
    assert {call.options["temperature"] for call in ratings} == {0.0}


async def test_a_critic_that_answers_nonsense_leaves_the_choice_to_likelihood(tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        return "banana" if of(request) == "Rating" else ["Answer: 1", "Answer: 2", "Answer: 3", "Answer: 1"][place]

    with desk_of(Script(says, nats=lambda text: -0.2 if "2" in text else -1.0), tmp_path) as desk:
        assert (await solved("best_of_n", desk)).answer == "2"


async def test_equal_replies_are_marked_once(tmp_path: Path) -> None:
    script = Script(lambda request, place: '{"score": 3}' if of(request) == "Rating" else "Answer: 102")
    with desk_of(script, tmp_path) as desk:
        await solved("best_of_n", desk)
    assert [of(request) for request in script.asked] == ["solver", "Rating"]


async def test_likelihood_is_of_a_token_so_that_short_replies_are_not_preferred(tmp_path: Path) -> None:
    long = "six times seventeen makes one hundred and two Answer: 102"
    script = Script(by_turn("Answer: 1", long), nats=lambda text: -0.5 if text == long else -0.6)
    with desk_of(script, tmp_path) as desk:
        assert (await solved("best_of_n_likelihood", desk)).text == long


# --- the upper bound -----------------------------------------------------------------------------------------


async def test_the_oracle_finds_a_right_reply_wherever_it_is(tmp_path: Path) -> None:
    script = Script(by_turn("Answer: 1", "Answer: 2", "Answer: 102", "Answer: 1"))
    with desk_of(script, tmp_path, verifier=always) as desk:
        found = await solved("oracle", desk)
    assert found.answer == "102"
    assert said(found, "upper bound") == ["1 of 4 replies are right by the truth"]


async def test_the_oracle_without_a_verifier_says_what_it_lacks_and_no_question_is_answered_by_it(
    tmp_path: Path,
) -> None:
    refused = pytest.raises(AgentError, match="chooses by the truth")
    with desk_of(Script(by_turn("Answer: 1")), tmp_path) as desk, refused:
        await solved("oracle", desk)
    assert "oracle" in set(names(GROUP)) - set(answering())
    assert strategies(["oracle"])[0].recorded == "oracle (upper bound)"
    assert strategies(["plan"])[0].recorded == "plan"


def test_a_question_has_no_truth_and_a_desk_no_verifier_of_its_own() -> None:
    assert "truth" not in {*Question.__dataclass_fields__}
    assert inspect.signature(Desk).parameters["verifier"].default is None


# --- search over steps ---------------------------------------------------------------------------------------


async def test_beam_goes_on_with_the_likelier_beginning_a_step_at_a_time(tmp_path: Path) -> None:
    good, bad = "17 times 6 is 60 plus 42.", "It is an odd thing."

    def says(request: Request, place: int) -> str:
        last = request.messages[-1]
        if last.role == "user":
            rest = " What follows here is too long for one step and so it is thrown away again at once"
            return (good if place % 2 else bad) + rest
        return " Answer: 102" if good in last.content else " Answer: 7"

    with desk_of(Script(says, nats=lambda text: -0.1 if good in text or "102" in text else -3.0), tmp_path) as desk:
        found = await solved("beam", desk)
    assert found.text == f"{good} Answer: 102"
    assert found.answer == "102"
    assert said(found, "step 1") == [good, bad]


async def test_the_tree_follows_the_critic_not_the_likelihood(tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        if of(request) == "Rating":
            return '{"score": 5}' if "slow" in request.messages[-1].content else '{"score": 1}'
        if request.messages[-1].role == "user":
            return ("slow" if place % 2 else "quick") + "\nand so on" + " and on" * 20
        return "Answer: 102" if "slow" in request.messages[-1].content else "Answer: 7"

    with desk_of(Script(says, nats=lambda text: -0.1 if "quick" in text else -3.0), tmp_path) as desk:
        assert (await solved("tree", desk)).text == "slow\nAnswer: 102"


async def test_a_search_that_never_ends_a_reply_ends(tmp_path: Path) -> None:
    script = Script(lambda request, place: "and so on and on and on " * 20)
    with desk_of(script, tmp_path) as desk:
        found = await solved("beam", desk)
    assert len({request.messages[-1].content for request in script.asked}) <= 8
    assert found.text.startswith("and so on")


async def test_a_beginning_that_says_nothing_more_is_not_gone_on_with(tmp_path: Path) -> None:
    script = Script(lambda request, place: "\n" * 40 + " " * 40)
    with desk_of(script, tmp_path) as desk:
        await solved("beam", desk)
    assert len(script.asked) <= 2


# --- reasoning -----------------------------------------------------------------------------------------------


async def test_a_reply_is_revised_once_with_the_advice_and_again_only_for_a_budget(tmp_path: Path) -> None:
    count = iter(range(100))

    def says(request: Request, place: int) -> str:
        return '{"advice": "Check the carry."}' if of(request) == "Feedback" else f"Answer: {next(count)}"

    with desk_of(Script(says), tmp_path / "one") as desk:
        found = await solved("revise", desk)
        assert found.answer == "1"
        assert said(found, "advice") == ["Check the carry."]
    with desk_of(script := Script(says), tmp_path / "more", budget=400) as desk:
        assert len(said(await solved("revise", desk), "advice")) > 2
        assert desk.spent <= 400
    assert all("Check the carry." in request.messages[0].content for request in script.asked[2::2])


async def test_a_revision_that_changes_nothing_is_the_last(tmp_path: Path) -> None:
    script = Script(lambda request, place: '{"advice": "None."}' if of(request) == "Feedback" else "Answer: 5")
    with desk_of(script, tmp_path, budget=1000) as desk:
        await solved("revise", desk)
    assert len(script.asked) == 3


async def test_reflection_is_heeded_with_the_lessons_and_not_told_that_the_reply_is_wrong(tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        if of(request) == "Reflection":
            return '{"lesson": "Add the tens last."}'
        return "Answer: 102" if "Add the tens last." in request.messages[0].content else "Answer: 96"

    with desk_of(script := Script(says), tmp_path, lessons=["Mind the ones."]) as desk:
        found = await solved("reflect", desk)
    assert found.answer == "102"
    assert [step.what for step in found.steps] == ["lesson", "first reply", "reflection"]
    first, reflection, second = script.asked
    assert "Mind the ones." in first.messages[0].content
    assert "It may be right or wrong." in reflection.messages[-1].content
    assert "is wrong" not in reflection.messages[-1].content
    assert "Mind the ones." in second.messages[0].content


async def test_a_plan_is_made_before_it_is_carried_out_and_several_vote_within_a_budget(tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        if "Devise a plan" in request.messages[-1].content:
            return "First the tens, then the ones."
        assert request.messages[-2].content == "First the tens, then the ones."
        assert request.messages[-1].content.startswith("Carry out the plan.")
        return "Answer: 102"

    with desk_of(Script(says), tmp_path / "one") as desk:
        found = await solved("plan", desk)
        assert [step.what for step in found.steps] == ["plan"]
    with desk_of(Script(says), tmp_path / "more", budget=300) as desk:
        found = await solved("plan", desk)
        assert said(found, "votes") == ["102 × 3"]


async def test_debaters_hear_each_other_and_the_critic_judges_where_they_differ(tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        if of(request) == "Rating":
            return '{"score": 5}' if "102" in request.messages[-1].content else '{"score": 2}'
        return "Answer: 102" if "step by step" in request.messages[0].content else "Answer: 96"

    with desk_of(script := Script(says), tmp_path) as desk:
        found = await solved("debate", desk)
    assert found.answer == "102"
    heard = [request.messages[-1].content for request in script.asked if len(request.messages) > 2]
    assert len(heard) == 4
    assert {("wrote: Answer: 102" in text, "wrote: Answer: 96" in text) for text in heard} == {
        (True, False),
        (False, True),
    }
    assert len(said(found, "judge")) == 2


async def test_a_debate_ends_when_both_say_the_same(tmp_path: Path) -> None:
    with desk_of(script := Script(lambda request, place: "Answer: 102"), tmp_path) as desk:
        await solved("debate", desk)
    assert len(script.asked) == 2


# --- budgets -------------------------------------------------------------------------------------------------


async def test_a_budget_is_filled_in_portions_and_never_exceeded(tmp_path: Path) -> None:
    script = Script(lambda request, place: "Answer: 102")
    with desk_of(script, tmp_path, budget=200, solver={"max_tokens": 40}) as desk:
        found = await solved("self_consistency", desk)
        assert desk.spent == 3 * len(said(found, "sample"))
        assert desk.prompted == PROMPT * len(script.asked)
        assert desk.left == 200 - desk.spent
    assert [request.n for request in script.asked] == [5, 4, 4, 4]
    assert len({request.seed for request in script.asked}) == 4


async def test_without_a_budget_as_many_as_are_wanted(tmp_path: Path) -> None:
    with desk_of(script := Script(lambda request, place: "Answer: 1"), tmp_path) as desk:
        await solved("self_consistency", desk, samples=7)
    assert [request.n for request in script.asked] == [7]


async def test_a_reply_that_the_budget_does_not_hold_is_cut_and_then_none_is_asked_for(tmp_path: Path) -> None:
    with desk_of(script := Script(lambda request, place: "one two three four five"), tmp_path, budget=3) as desk:
        [only] = await desk.sample(5)
        assert (only.text, only.finished, desk.left) == ("one two three", False, 0)
        with pytest.raises(NoAnswerError, match="the budget of 3 tokens is spent"):
            await desk.sample()
    assert [(request.n, request.sampling.max_tokens) for request in script.asked] == [(1, 3)]


HOSTILE = {
    "nothing": lambda request, place: "",
    "one word": lambda request, place: "word",
    "no end": lambda request, place: "so " * 400,
    "lines": lambda request, place: "\n\n\n",
    "broken JSON": lambda request, place: '{"score": ' if request.schema_ else 'Answer: {"advice"',
    "marks out of bounds": lambda request, place: '{"score": -1, "advice": "", "lesson": ""}',
    "another each time": lambda request, place: f"Answer: {request.seed[:4]}{place}",
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("budget", [None, 7, 300])
async def test_every_strategy_ends_whatever_the_model_says_within_its_budget(
    name: str, budget: int | None, tmp_path: Path
) -> None:
    for number, (what, says) in enumerate(HOSTILE.items()):
        script = Script(says)
        with desk_of(script, tmp_path / str(number), budget=budget, verifier=always) as desk:
            try:
                found = await solved(name, desk)
                assert isinstance(found.text, str), what
            except NoAnswerError:
                assert desk.left < desk.longest, what
            assert budget is None or desk.spent <= budget, what
            assert desk.left >= 0
        assert len(script.asked) < 80, what


@pytest.mark.parametrize("name", OURS)
async def test_a_model_that_fails_costs_the_answer_and_says_why(name: str, tmp_path: Path) -> None:
    script = Script(lambda request, place: "", error="the prompt is too long")
    with desk_of(script, tmp_path, verifier=always) as desk, pytest.raises(NoAnswerError, match="too long"):
        await solved(name, desk)


@pytest.mark.parametrize("name", OURS)
async def test_the_same_desk_asked_again_answers_the_same(name: str, tmp_path: Path) -> None:
    def says(request: Request, place: int) -> str:
        if request.schema_:
            return f'{{"score": {1 + int(request.seed[0], 16) % 5}, "advice": "Look again.", "lesson": "Look again."}}'
        return f"{request.seed[:3]} and more. Answer: {int(request.seed[:2], 16) % 5}{place % 3}"

    found = []
    for place in ("one", "other"):
        with desk_of(Script(says), tmp_path / place, budget=200, verifier=always) as desk:
            found.append((await solved(name, desk), desk.spent))
    assert found[0] == found[1]


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 400), words=st.integers(0, 60), name=st.sampled_from(OURS))
async def test_no_budget_is_ever_exceeded(
    budget: int, words: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = Script(lambda request, place: "word. " * words + str(place))
    with desk_of(script, tmp_path_factory.mktemp("desk"), budget=budget, verifier=always) as desk:
        try:
            await solved(name, desk)
        except NoAnswerError:
            assert desk.left < desk.longest
        assert desk.spent <= budget


def test_each_says_what_it_does_and_names_its_paper() -> None:
    for strategy in strategies(OURS):
        assert type(strategy).__doc__, strategy.name
        first = str(type(strategy).__doc__).splitlines()[0]
        arxiv = strategy.paper.rpartition("arXiv ")[2]
        assert arxiv in first, strategy.name
        assert isinstance(strategy, Strategy)


def test_a_strategy_that_does_not_load_is_offered_still_and_says_why_when_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, f"[{GROUP}]", "broken = nowhere_at_all:Broken", "none = json:dumps")
    monkeypatch.syspath_prepend(tmp_path)
    assert {"broken", "none", "greedy"} <= set(answering())
    with pytest.raises(PluginError, match=r"nowhere_at_all:Broken .* does not load"):
        strategies(["broken"])
    with pytest.raises(AgentError, match=r"json:dumps .* is no Strategy"):
        strategies(["none"])
