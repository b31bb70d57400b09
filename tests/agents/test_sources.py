"""Sources of tasks: what each proposes, and that every bad proposal is refused with its reason, whoever makes it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from installing import install
from sitting import Sitting, sitting

from quintet.agents import proposer as acting
from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.settings import ProposerSettings
from quintet.agents.sources import Bench, Draft, Source, load_sources
from quintet.agents.sources.challenger import advantages, learnability
from quintet.agents.sources.self_instruct import SelfInstruct
from quintet.agents.sources.transformed import Transformed
from quintet.agents.table import Round
from quintet.evaluation.monitors import monitors
from quintet.evaluation.settings import EvaluationSettings
from quintet.graph.errors import SettingsError
from quintet.graph.settings import Settings
from quintet.plugins import PluginError
from quintet.records import BASE, Attempt, Call, Proposal, Record, Reward, Row, Task
from quintet.tasks import expressions
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import load_families, pick
from quintet.tasks.settings import TaskSettings
from quintet.tasks.splits import split_of

pytestmark = pytest.mark.timeout(120)


def problem(expression: str, question: str) -> str:
    return json.dumps({"expression": expression, "question": question})


def in_turn(*replies: str) -> Callable[[str], str]:
    """Replies to the proposer's questions, the last one for ever; the solver adds what a question names."""
    waiting = list(replies)

    def says(asked: str) -> str:
        if "as JSON" not in asked:
            return f"Answer: {sum(map(int, re.findall(r'[0-9]+', asked)))}" if "plums" in asked else "I do not know."
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return says


async def written(folder: Path, *replies: str | Callable[[Sitting], str], **options: Any) -> list[Proposal]:
    """What becomes of word problems that the model writes."""
    async with sitting(
        folder, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": len(replies)}, options=options
    ) as table:
        table.model.says = in_turn(*(reply if isinstance(reply, str) else reply(table) for reply in replies))
        return await table.proposals("self_instruct")


def story(table: Sitting, split: Any = "train", skip: int = 0) -> tuple[int, int, str]:
    a, b = table.sum_of(split, skip)
    return a, b, f"Bob has {a} plums and finds {b} more. How many plums has he?"


def train_story(table: Sitting) -> str:
    a, b, question = story(table)
    return problem(f"{a} + {b}", question)


async def test_by_default_tasks_are_drawn_and_invented_and_nothing_else() -> None:
    names = [source.name for source in load_sources(ProposerSettings())]
    assert names == ["drawn", "invented"]


async def test_a_word_problem_is_grounded_by_the_expression_that_comes_with_it(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        a, b, question = story(table)
        table.model.says = in_turn(problem(f"{a} + {b}", question))
        said = await table.act()
        (proposal,) = [p for p in said if isinstance(p, Proposal) and p.origin == "self_instruct"]
        task = table.table.ledger.get(proposal.task or "")
        assert isinstance(task, Task)
        assert (task.family, task.truth, task.grounding, task.split) == (
            "written",
            {"answer": str(a + b)},
            "executor",
            "train",
        )
        judged = await table.table.examiner.judge(task, [f"Answer: {a + b}", f"Answer: {a + b + 1}", "plums"])
        assert [one.correct for one in judged] == [True, False, False]
        assert proposal.reason == "new; computed, and 8 of 8 answers agree"
        assert isinstance(table.table.ledger.get(proposal.trial or ""), Call)
        # It names the tasks that it was made after, which are of this round's drawn ones.
        drawn = [p.task for p in said if isinstance(p, Proposal) and p.origin == "drawn"]
        assert proposal.seeds
        assert set(proposal.seeds) <= set(drawn)
        assert f'"{a + b}"' not in "".join(table.model.heard)


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        (5, 3, "new; computed, and 5 of 8 answers agree"),
        (4, 2, "no agreement"),
        (3, 5, "contradicted"),
        (0, 8, "contradicted"),
        (0, 0, "no agreement"),
    ],
)
async def test_a_computed_truth_must_be_what_the_solvers_own_answers_agree_on(
    tmp_path: Path, right: int, wrong: int, reason: str
) -> None:
    """As measured: "a box with 2 toys and 17 pens; how many boxes?" was set with the truth 2 + 17."""
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        a, b, _ = story(table)
        question = f"I have a box with {a} toys and a box with {b} pens. How many boxes have I got?"
        answers = iter(f"Answer: {n}" for n in [a + b] * right + [1] * wrong + list(range(2000, 2008 - right - wrong)))
        table.model.says = lambda asked: problem(f"{a} + {b}", question) if "as JSON" in asked else next(answers)
        (proposal,) = await table.proposals("self_instruct")
        assert proposal.reason == reason
        assert proposal.accepted is reason.startswith("new")


HOSTILE = [
    ("no JSON at all", "malformed"),
    (problem("3 + 4", "Hi 3 + 4?"), "malformed"),
    (problem("3 + 4", "How many apples are there in the basket?"), "malformed"),
    ('{"expression": "30 + 40"}', "malformed"),
    # About other numbers than its expression: left to the solver's answers, and it has none to give.
    (problem("30 + 40", "Tom has 30 apples and buys 41 more. How many apples has he?"), "no agreement"),
    (problem("__import__('os')", "Tom has 30 apples and buys 42 more. How many apples has he?"), "no agreement"),
    (problem("9 ** 99", "Tom has 30 apples and buys 43 more. How many apples has he?"), "no agreement"),
    (problem("31 + 4", "Tom has 31 apples and buys 4 more. How many has he? The answer is 35."), "trivial"),
    (problem("31 * 1", "Tom has 31 boxes of 1 apple each. How many apples has he?"), "trivial"),
    (problem("31 + 0", "Tom has 31 apples and buys 0 more. How many apples has he?"), "trivial"),
    (problem("8 - 4", "Tom has 8 apples and eats 4 of them. How many are left?"), "trivial"),
    (problem("99999 + 4", "Tom has 99999 apples and buys 4 more. How many apples has he?"), "out of range"),
    (problem("1 + 2 + 3 + 4 + 5 + 6 + 7", "Add 1, 2, 3, 4, 5, 6 and 7. How much is it?"), "out of range"),
]


async def test_each_hostile_word_problem_is_refused_with_its_reason(tmp_path: Path) -> None:
    found = await written(tmp_path, *(reply for reply, _ in HOSTILE))
    assert [(p.content, p.reason) for p in found] == HOSTILE
    assert not any(p.accepted or p.task for p in found)


async def test_the_same_words_are_a_duplicate_whatever_their_case_and_punctuation(tmp_path: Path) -> None:
    def shouted(table: Sitting) -> str:
        a, b, question = story(table)
        return problem(f"{a} + {b}", question.upper().replace(".", " ..."))

    first, second = await written(tmp_path, train_story, shouted)
    assert (first.accepted, second.reason) == (True, "duplicate")


async def test_what_hardly_differs_in_meaning_is_a_near_duplicate_in_the_same_round_and_later(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 2}) as table:
        a, b, question = story(table)
        other = question.replace("How many plums has he?", "How many plums has he got?")
        table.model.says = in_turn(problem(f"{a} + {b}", question), problem(f"{a} + {b}", other))
        first, second = await table.proposals("self_instruct")
        assert (first.accepted, second.reason) == (True, "near-duplicate")
        table.model.says = in_turn(problem(f"{a} + {b}", other))
        assert {p.reason for p in await table.proposals("self_instruct", 2)} == {"near-duplicate"}


@pytest.mark.parametrize("words", ["digits", "words", "difference"])
async def test_an_evaluation_item_in_disguise_is_refused(tmp_path: Path, words: str) -> None:
    def disguised(table: Sitting) -> str:
        if words == "difference":
            a, b = table.sum_of("gate", operator="-")
            return problem(f"{a} - {b}", f"Eve owns {a} ducks but sells {b} of them. How many ducks stay?")
        a, b, question = story(table, "final", skip=next(n for n in range(90) if table.sum_of("final", n)[1] < 10))
        digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        spelt = question.replace(f" {b} ", f" {digits[b]} ")
        return problem(f"{a} + {b}", spelt if words == "words" else question)

    (proposal,) = await written(tmp_path, disguised)
    assert proposal.reason == "evaluation item in disguise"


async def test_an_evaluation_item_in_slightly_other_words_is_refused_without_any_expression(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        held_out = (await table.table.examiner.draw("chain_sum", 2, 0, 1, "gate"))[0]
        table.table.ledger.add(held_out)
        await table.table.memory.sync()
        question = held_out.question.replace("State the final answer to", "What is the final answer to") + " ?"
        table.model.says = lambda asked: problem("how much", question) if "as JSON" in asked else "Answer: 12345"
        (proposal,) = await table.proposals("self_instruct")
        assert proposal.reason == "too close to an evaluation item"


async def test_without_an_executor_the_solvers_agreement_is_the_truth_and_is_marked_so(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        question = "A clock strikes 7 times at seven. How many strokes are in three weeks of 7 days?"
        replies = iter(["Answer: 500", "Answer: 500.0", "It is 500", "Answer: 500", "Answer: 3", "no", "500", "1"])
        table.model.says = lambda asked: problem("strokes", question) if "as JSON" in asked else next(replies)
        said = await table.act()
        (proposal,) = [p for p in said if isinstance(p, Proposal) and p.origin == "self_instruct"]
        task = table.table.ledger.get(proposal.task or "")
        assert isinstance(task, Task)
        assert (task.grounding, task.truth) == ("agreement", {"answer": "500"})
        assert proposal.reason == "new; truth by agreement of 5 of 8"
        assert isinstance(table.table.ledger.get(proposal.trial or ""), Call)


async def test_what_rests_on_agreement_is_counted_and_retired_with_the_adapter_that_agreed(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "") as table:
        ledger = table.table.ledger
        rows = {}
        for grounding in ("agreement", "executor"):
            task = Task(
                family="written",
                level=0,
                question=f"How many are {grounding} 3?",
                canonical=grounding,
                truth={"answer": "3"},
                grounding=grounding,  # type: ignore[arg-type]
            )
            ledger.add(task)
            table.attempted(task.id, 1, 1)
            attempt = next(one for one in ledger.find(Attempt) if one.task == task.id)
            about: dict[str, Any] = {"round": 1, "task": task.id, "attempt": attempt.id}
            ledger.add(row := Row(**about, selection="selection-0", prompt=(), completion="3"))
            rows[grounding] = row
        assert table.table.memory.made_under([BASE]) == [rows["agreement"].id]
        tasks = [task for task in ledger.find(Task) if task.family == "written"]
        values = monitors(1, EvaluationSettings(), tasks=tasks, rows=list(rows.values())).values
        assert (values["by_agreement"], values["rows_by_agreement"]) == (0.5, 0.5)
        untouched = monitors(1, EvaluationSettings(), tasks=tasks[1:], rows=[rows["executor"]]).values
        assert not any("agreement" in name for name in untouched if name != "critic_agreement")


async def test_where_too_few_answers_agree_there_is_no_truth(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        replies = iter(f"Answer: {500 + number // 2}" for number in range(8))
        question = "A clock strikes 7 times at seven. How many strokes are in three weeks of 7 days?"
        table.model.says = lambda asked: problem("strokes", question) if "as JSON" in asked else next(replies)
        (proposal,) = await table.proposals("self_instruct")
        assert (proposal.reason, proposal.task) == ("no agreement", None)


async def test_answers_that_agree_on_what_an_evaluation_item_is_worth_give_it_away(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", sources=("drawn", "self_instruct"), mix={"self_instruct": 1}) as table:
        a, b = table.sum_of("gate")
        question = f"In the hall stand {a} chairs, in the garden {b}; how many are there together?"
        table.model.says = lambda asked: problem("chairs", question) if "as JSON" in asked else f"Answer: {a + b}"
        (proposal,) = await table.proposals("self_instruct")
        assert proposal.reason == "evaluation item in disguise"


async def test_with_nothing_to_show_the_model_there_is_nothing_to_ask(tmp_path: Path) -> None:
    for name in ("self_instruct", "transformed"):
        async with sitting(tmp_path / name, lambda _: "", sources=(name,)) as table:
            assert {p.reason for p in await table.proposals(name)} == {"no seeds"}
            assert not table.model.heard


def transformed(kind: str, number: int = 2) -> dict[str, Any]:
    options = {"transformed": {"kinds": [kind]}}
    return {"sources": ("drawn", "transformed"), "mix": {"transformed": number}, "options": options}


async def test_a_reversed_task_asks_for_an_operand_and_its_truth_is_computed(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", tasks=30, **transformed("reversed", 9)) as table:
        accepted = [p for p in await table.proposals("transformed") if p.accepted]
        assert accepted
        assert not table.model.heard
        for proposal in accepted:
            task, seed = (table.table.ledger.get(id) for id in (proposal.task or "", proposal.seeds[0]))
            assert isinstance(task, Task)
            assert isinstance(seed, Task)
            left, _, right = task.question.removeprefix("Which number is missing? ").partition(" = ")
            worth = expressions.value(expressions.parse(left.replace("?", task.truth["answer"])))
            assert worth == int(right) == int(seed.truth["answer"])
            assert proposal.how == "reversed"


async def test_a_composed_task_joins_two_and_its_truth_is_computed(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", tasks=30, **transformed("composed", 9)) as table:
        found = await table.proposals("transformed")
        assert {p.reason for p in found} <= {"new", "trivial", "evaluation item in disguise"}
        for proposal in (p for p in found if p.accepted):
            task = table.table.ledger.get(proposal.task or "")
            seeds = [table.table.ledger.get(id) for id in proposal.seeds]
            assert isinstance(task, Task)
            assert int(task.truth["answer"]) == sum(int(seed.truth["answer"]) for seed in seeds)  # type: ignore[union-attr]
            assert len(seeds) == 2


async def test_a_harder_task_must_be_harder_and_an_easier_one_easier(tmp_path: Path) -> None:
    def proposed(a: int, b: int) -> str:
        return json.dumps({"first": a, "operator": "+", "second": b})

    async with sitting(tmp_path, lambda _: "", tasks=4, **transformed("harder")) as table:
        a, b = table.sum_of("train")
        table.model.says = in_turn(proposed(a, b), proposed(4000, 4321))
        reasons = [p.reason for p in await table.proposals("transformed")]
        assert reasons[0] == "not harder"
        assert reasons[1] in ("too hard as yet", "held out for evaluation")
    async with sitting(tmp_path / "easier", lambda _: "", tasks=4, **transformed("easier")) as table:
        a, b = next(
            (a, b) for a in range(2, 10) for b in range(2, 10) if table.table.examiner.split(f"{a}+{b}") == "train"
        )
        # Solved at once, what is below the present level teaches nothing.
        table.model.says = lambda asked: proposed(a, b) if "as JSON" in asked else f"Answer: {a + b}"
        assert [p.reason for p in await table.proposals("transformed")] == ["trivial", "trivial"]
        table.model.says = lambda asked: proposed(a, b) if "as JSON" in asked else "Answer: 777"
        (first, second) = await table.proposals("transformed", 2)
        assert (first.reason, first.how, second.reason) == ("new; 0 of 4 trial attempts right", "easier", "duplicate")


async def test_a_rewording_keeps_numbers_and_truth_and_is_not_contradicted(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", tasks=1, levels={"products": 3}, **transformed("rephrased")) as table:
        (drawn,) = await table.proposals("drawn")
        seed = table.table.ledger.get(drawn.task or "")
        assert isinstance(seed, Task)
        a, b = seed.canonical.split("*")

        def says(question: str, answer: str) -> Callable[[str], str]:
            return lambda asked: json.dumps({"question": question}) if "as JSON" in asked else f"Answer: {answer}"

        wording = f"Please tell me how much {a} times {b} makes."
        for number, (question, answer, reason) in enumerate(
            [
                (f"Please tell me how much {a} times 7777 makes.", "1", "other numbers"),
                (seed.question.upper(), "1", "same words"),
                (f"Please tell me that {a} times {b} makes {seed.truth['answer']}.", "1", "other numbers"),
                (wording, "7", "contradicted"),
                (wording, seed.truth["answer"], "new; 4 of 4 trial attempts right"),
            ],
            start=2,
        ):
            table.model.says = says(question, answer)
            bench = Bench(table.proposer, Round(number, BASE, table.levels), set())
            bench.took(Draft(drawn, seed, 3), drawn)
            found = await table.proposer._from(
                Transformed(["rephrased"]), bench.round, [acting.Wanted("written", 0, 1)], bench
            )
            (proposal,) = [one for one in found if isinstance(one, Proposal)]
            assert proposal.reason == reason
            assert proposal.seeds == (seed.id,)
        assert proposal.accepted
        task = next(one for one in found if isinstance(one, Task))
        assert task.truth == {"answer": seed.truth["answer"]}


def challenged(**options: Any) -> dict[str, Any]:
    return {"sources": ("drawn", "challenger"), "mix": {"challenger": 1}, "options": {"challenger": options}}


@pytest.mark.parametrize(
    ("right", "reason"),
    [
        (0, "too hard as yet"),
        (1, "new; 1 of 4 trial attempts right"),
        (3, "new; 3 of 4 trial attempts right"),
        (4, "trivial"),
    ],
)
async def test_a_challenge_is_kept_within_the_band(tmp_path: Path, right: int, reason: str) -> None:
    async with sitting(tmp_path, lambda _: "", tasks=1, **challenged()) as table:
        a, b = table.sum_of("train")
        replies = iter([f"Answer: {a + b}"] * right + ["Answer: 1"] * (4 - right))
        invented = json.dumps({"first": a, "operator": "+", "second": b})
        table.model.says = lambda asked: invented if "as JSON" in asked else next(replies)
        (proposal,) = await table.proposals("challenger")
        assert (proposal.reason, proposal.accepted) == (reason, right in (1, 3))


async def test_a_challenger_earns_what_the_solver_can_learn_and_shows_it_the_next_time(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", tasks=1, **challenged(samples=0)) as table:
        ledger, tasks = table.table.ledger, []
        for number, right in ((1, 2), (2, 4)):
            a, b = table.sum_of("train", number)
            table.model.says = in_turn(json.dumps({"first": a, "operator": "+", "second": b}))
            (proposal,) = await table.proposals("challenger", number)
            assert proposal.task
            tasks.append(ledger.get(proposal.task))
            table.attempted(proposal.task, right, 4, number)
            rewards = table.proposer.rewards(Round(number, BASE, table.levels))
            ledger.add(*rewards)
            assert [(r.about, r.value, r.role) for r in rewards] == [(proposal.id, float(right == 2), "proposer")]
        table.model.heard.clear()
        (proposal,) = await table.proposals("challenger", 3)
        assert proposal.seeds == (tasks[0].id,)
        assert f"- {tasks[0].question} (about half of the attempts were right)" in table.model.heard[0]
        assert tasks[1].question not in table.model.heard[0]


def test_learnability_is_one_at_one_half_and_nothing_at_the_ends() -> None:
    assert [learnability(rate) for rate in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.75, 1.0, 0.0]


def test_rewards_are_compared_with_the_average_of_their_own_family() -> None:
    def proposal(family: str, number: int) -> Proposal:
        return Proposal(
            round=1, origin="challenger", number=number, family=family, level=0, accepted=True, reason="new"
        )

    proposals = [proposal("hard", 0), proposal("hard", 1), proposal("easy", 0)]
    rewards = [
        Reward(round=1, role="proposer", about=one.id, value=value, reason="")
        for one, value in zip(proposals, (0.0, 0.5, 0.9), strict=True)
    ]
    gains = advantages(rewards, {one.id: one for one in proposals})
    assert [gains[reward] for reward in rewards] == [-0.25, 0.25, 0.0]


class Failing(Source):
    """Raises."""

    name = "failing"

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        raise RuntimeError("no idea")


async def test_a_model_that_fails_to_invent_ends_the_run_and_is_not_taken_for_one_without_ideas(tmp_path: Path) -> None:
    def fails(asked: str) -> str:
        raise RuntimeError("out of memory")

    async with sitting(tmp_path / "default", fails, invented=2) as table:
        with pytest.raises(NoAnswerError, match="out of memory"):
            await table.act()
        assert not table.table.ledger.find(Proposal)
    async with sitting(tmp_path / "other", fails, invented=0, sources=("drawn", "challenger")) as table:
        assert [p.reason for p in await table.proposals("challenger")] == ["source failed"]


class Smuggling(Source):
    """Brings a task past all checks."""

    name = "smuggling"

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        return [Task(family=family, level=0, question="?", canonical="3+4", truth={})]


class Stray(Source):
    """Brings an evaluation item, one of no family and one far too hard."""

    name = "stray"

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        held_out = (await bench.table.examiner.draw(family, level, 0, 1, "gate"))[0]
        known = (await bench.table.examiner.draw(family, level, 0, 1, "train"))[0]
        tasks = [held_out, known.with_(family="nowhere"), known.with_(level=9), known]
        return [Draft(bench.proposal(self, n, family, level), task, level) for n, task in enumerate(tasks)]


async def test_what_a_source_does_wrong_is_recorded_and_the_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "load_sources", lambda _: [Failing(), Smuggling(), Stray()])
    async with sitting(tmp_path, lambda _: "") as table:
        said = [one for one in await table.act() if isinstance(one, Proposal)]
    failed = [(p.origin, p.reason, p.content) for p in said[:2]]
    assert failed[0] == ("failing", "source failed", "RuntimeError: no idea")
    assert failed[1][:2] == ("smuggling", "source failed")
    assert [p.reason for p in said[2:]] == ["held out for evaluation", "unknown family", "too hard as yet", "new"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"sources": []}, "proposer.sources"),
        ({"sources": ["drawn", "drawn"]}, "sources names one twice: drawn, drawn"),
        ({"mix": {"challenger": 3}}, "mix names 'challenger', which proposer.sources does not (drawn, invented)"),
        ({"mix": {"drawn": 3}}, "mix names 'drawn': how many of these there are says proposer.tasks"),
        ({"options": {"wrong": {}}}, "options names 'wrong'"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_in_a_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.compose({"proposer": settings})
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("self_instrukt", {}, "source 'self_instrukt' is unknown: did you mean 'self_instruct'?"),
        ("challenger", {"bnad": []}, "proposer.options.challenger.bnad: no such option; there are band, samples"),
        ("challenger", {"band": [0.9, 0.1]}, "band is [0.9, 0.1]; it must be two pass rates, the lower one first"),
        ("challenger", {"band": 0.9}, "band is 0.9; it must be two pass rates, the lower one first"),
        ("challenger", {"band": "wide"}, "band is 'wide'; it must be two pass rates, the lower one first"),
        ("transformed", {"kinds": ["sideways"]}, "kinds is 'sideways'; it must be one of harder, easier, reversed"),
        ("self_instruct", {"agreement": 2}, "agreement is 2; it must be above 0 and at most 1"),
        ("drawn", {"any": 1}, "proposer.options.drawn.any: no such option; it has none"),
    ],
)
def test_a_source_or_option_that_is_not_there_is_refused_in_a_line(
    name: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises((AgentError, PluginError)) as refused:
        load_sources(ProposerSettings(sources=(name,), options={name: options}))
    assert line in str(refused.value)


@pytest.mark.parametrize("name", ["half/full", "half@full"])
def test_a_name_that_arms_could_not_be_named_after_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "[quintet.sources]", f"{name} = test_sources:Failing")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Failing, "name", name)
    monkeypatch.setitem(sys.modules, "test_sources", sys.modules[__name__])
    with pytest.raises(AgentError, match=f"{name} = .*: a source's name holds no @ and no /"):
        load_sources(ProposerSettings(sources=(name,)))


async def test_the_family_of_written_questions_is_drawn_from_by_nobody(tmp_path: Path) -> None:
    from quintet.tasks.errors import LevelTooNarrow

    with Examiner(pick(load_families(), ["written"])) as examiner:
        with pytest.raises(LevelTooNarrow, match="holds 0"):
            await examiner.draw("written", 0, 0, 1, "train")
        assert examiner.split("3+4") == split_of("3+4", TaskSettings().shares)


def test_papers_are_named() -> None:
    assert SelfInstruct.paper.startswith("Wang et al. 2022, arXiv 2212.10560")
    assert "2309.12284" in Transformed.paper
