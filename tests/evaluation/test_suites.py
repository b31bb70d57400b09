"""Suites share no question, stay the same when rounds are added, and are refused when a level is too narrow."""

from __future__ import annotations

import random
from collections.abc import Container
from itertools import combinations

import pytest

from quintet.evaluation.errors import SuiteError
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.suites import Suites
from quintet.records import Split, Task
from quintet.tasks.errors import LevelTooNarrow
from quintet.tasks.settings import TaskSettings
from quintet.tasks.splits import split_of

SHARES = TaskSettings().shares


class Numbers:
    """Families `low` and `alike` ask about the same numbers; each level holds all questions of those below it."""

    def __init__(self, widths: tuple[int, ...] = (2000, 6000)) -> None:
        self.widths = widths

    async def draw(
        self, family: str, level: int, seed: int, count: int, split: Split, exclude: Container[str] = ()
    ) -> list[Task]:
        names = [f"n={number}" for number in range(self.widths[level])]
        free = [name for name in names if split_of(name, SHARES) == split and name not in exclude]
        if len(free) < count:
            raise LevelTooNarrow(family, level, split, len(free), count)
        chosen = random.Random(seed).sample(free, count)
        return [
            Task(family=family, level=level, question=name, canonical=name, truth={}, split=split) for name in chosen
        ]


def settings(**changes: object) -> EvaluationSettings:
    sizes = {"steer_items": 20, "gate_items": 61, "retention_items": 120, "final_items": 80}
    values = {"families": {"low": (0, 1), "alike": (0, 1)}, "retention_margin": 0.2, **sizes, **changes}
    return EvaluationSettings.model_validate(values)


def names(tasks: tuple[Task, ...]) -> list[str]:
    return [task.canonical for task in tasks]


async def test_no_question_occurs_twice_though_levels_nest_and_families_overlap() -> None:
    suites = await Suites.build(Numbers(), settings(), seed=1, rounds=4, openings=2)
    groups = [suites.steer, suites.retention, *[suites.gate(round) for round in range(1, 5)]]
    groups += [await suites.final(1), await suites.final(2)]
    for one, other in combinations(groups, 2):
        assert not set(names(one)) & set(names(other))
    assert sum(map(len, groups)) == len(suites.canonicals)


async def test_items_are_spread_evenly_and_the_rest_goes_to_the_wider_levels() -> None:
    suites = await Suites.build(Numbers(), settings(), seed=1, rounds=1)
    counts = {(task.family, task.level): 0 for task in suites.gate(1)}
    for task in suites.gate(1):
        counts[task.family, task.level] += 1
    assert counts == {("low", 0): 15, ("low", 1): 16, ("alike", 0): 15, ("alike", 1): 15}


async def test_added_rounds_and_openings_change_no_earlier_item() -> None:
    short = await Suites.build(Numbers(), settings(), seed=3, rounds=2)
    long = await Suites.build(Numbers(), settings(), seed=3, rounds=5, openings=2)
    assert (short.steer, short.retention) == (long.steer, long.retention)
    assert [short.gate(1), short.gate(2)] == [long.gate(1), long.gate(2)]
    assert await short.final(1) == await long.final(1)
    assert await short.final(2) == await long.final(2)


async def test_another_seed_draws_other_items() -> None:
    one, other = [await Suites.build(Numbers(), settings(), seed=seed, rounds=1) for seed in (1, 2)]
    assert set(names(one.gate(1))) != set(names(other.gate(1)))


async def test_a_level_too_narrow_for_all_rounds_is_refused_by_name() -> None:
    narrow = settings(families={"low": (0,)}, gate_items=60, steer_items=2, retention_items=0, final_items=10)
    await Suites.build(Numbers((400,)), narrow, seed=0, rounds=1)
    with pytest.raises(SuiteError, match=r"gate suite: low at level 0 has \d+ questions to give and 300 are") as caught:
        await Suites.build(Numbers((400,)), narrow, seed=0, rounds=5)
    held = sum(split_of(f"n={number}", SHARES) == "gate" for number in range(400))
    assert (caught.value.suite, caught.value.family, caught.value.level) == ("gate", "low", 0)
    assert (caught.value.found, caught.value.needed) == (held, 300)


async def test_a_retention_suite_that_could_never_pass_is_refused_before_the_run() -> None:
    small = settings(retention_items=64, retention_margin=0.1)
    await Suites.build(Numbers(), small, seed=0, rounds=1)
    with pytest.raises(SuiteError, match=r"in round 20; retention_items must be at least 118, or 0"):
        await Suites.build(Numbers(), small, seed=0, rounds=20)


async def test_a_gate_that_could_never_pass_is_refused_before_the_run() -> None:
    with pytest.raises(SuiteError, match="gate_items must be at least 13"):
        await Suites.build(Numbers(), settings(gate_items=10), seed=0, rounds=10)


async def test_a_round_that_was_not_drawn_is_an_error() -> None:
    suites = await Suites.build(Numbers(), settings(), seed=1, rounds=2)
    for round in (0, 3):
        with pytest.raises(SuiteError, match=f"no items for round {round}; drawn for rounds 1 to 2"):
            suites.gate(round)
    with pytest.raises(SuiteError, match="counted from 1"):
        await suites.final(0)


async def test_a_draw_that_ignores_what_is_excluded_is_caught() -> None:
    class Forgetful(Numbers):
        async def draw(
            self, family: str, level: int, seed: int, count: int, split: Split, exclude: Container[str] = ()
        ) -> list[Task]:
            return await super().draw(family, level, 0, count, split)

    with pytest.raises(SuiteError, match="already taken"):
        await Suites.build(Forgetful(), settings(), seed=1, rounds=2)


async def test_retention_may_have_families_of_its_own() -> None:
    suites = await Suites.build(Numbers(), settings(retention_families={"old": (1,)}), seed=1, rounds=1)
    assert {task.family for task in suites.retention} == {"old"}
    assert {task.family for task in suites.gate(1)} == {"low", "alike"}


async def test_a_suite_of_no_items_is_left_out() -> None:
    suites = await Suites.build(Numbers(), settings(steer_items=0, retention_items=0), seed=1, rounds=1)
    assert suites.steer == suites.retention == ()


@pytest.mark.parametrize(
    ("families", "says"),
    [({}, "no family"), ({"low": ()}, "has no levels"), ({"low": (0, 0)}, "a level twice"), ({"low": (-1,)}, "0")],
)
def test_families_that_make_no_suite_are_refused(families: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settings(families=families)
