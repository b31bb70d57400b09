"""Bandits: shares are shares, nobody starves, order does not matter, and what helps is found among what does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quintet.evaluation import bandits
from quintet.evaluation.bandits import Arm, Outcome, Posterior, Pull, alone, counted, floored, load_bandit
from quintet.evaluation.errors import EvaluationError
from quintet.plugins import Plugin, PluginError, names

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import selector

NAMES = ("linucb", "thompson", "uniform")

arms = st.builds(Arm, st.sampled_from(["drawn", "invented"]), st.sampled_from("abcd"), st.sampled_from([None, 0, 1]))
pulls = st.builds(
    Pull, tokens=st.integers(0, 10**6), rows=st.integers(0, 500), trained=st.sampled_from([0, 0, 1, 40, 400])
)


@st.composite
def histories(draw: Any) -> list[Outcome]:
    """What may stand in a ledger: rounds without a candidate, families without rows, arms that are gone."""
    found = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        for family in draw(st.lists(st.sampled_from("abcd"), unique=True)):
            own = draw(st.dictionaries(arms.map(lambda arm, f=family: str(arm._replace(family=f))), pulls, max_size=3))
            change = draw(st.none() | st.floats(-1, 1))
            variance = draw(st.floats(1e-4, 1))
            found.append(Outcome(round=number, family=family, pulls=own, change=change, variance=variance))
    return found


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_shares_sum_to_one_respect_the_floor_and_do_not_depend_on_the_order(name: str, data: Any) -> None:
    choice = data.draw(st.lists(arms.map(str), min_size=1, max_size=9, unique=True))
    history, seed = data.draw(histories()), data.draw(st.integers(0, 2**32 - 1))
    least, total = data.draw(st.floats(0, 1)), data.draw(st.integers(0, 500))
    shares = load_bandit(name).choose(choice, history, seed)
    shuffled = data.draw(st.permutations(choice)), data.draw(st.permutations(history))
    assert load_bandit(name).choose(*shuffled, seed) == shares
    assert set(shares) == set(choice)
    assert sum(shares.values()) == pytest.approx(1)
    raised = floored(shares, least)
    assert sum(raised.values()) == pytest.approx(1, abs=1e-9)
    assert min(raised.values()) >= min(least, 1 / len(choice)) - 1e-5
    counts = counted(raised, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[arm] - raised[arm] * total) < 1 for arm in choice)


def test_a_single_arm_of_a_family_is_worth_its_change_for_the_tokens_spent() -> None:
    # Many items, so that the prior hardly weighs: +0.2 for 10,000 tokens is 0.02 for a thousand.
    pull = Pull(tokens=10_000, rows=50, trained=50)
    history = [Outcome(round=1, family="a", pulls={"drawn/a": pull}, change=0.2, variance=1e-6)]
    worth = Posterior.of(["drawn/a"], history, alone).estimates()["drawn/a"]
    assert worth.mean == pytest.approx(0.02, rel=0.01)
    assert worth.deviation < 0.001


def test_an_arm_that_costs_twice_as_much_for_the_same_gain_is_worth_half() -> None:
    cheap, dear = (Pull(tokens=tokens, rows=50, trained=50) for tokens in (10_000, 20_000))
    outcomes = [
        Outcome(round=number, family=family, pulls={f"drawn/{family}": pull}, change=0.2, variance=1e-6)
        for number in range(1, 20)
        for family, pull in (("a", cheap), ("b", dear))
    ]
    worth = Posterior.of(["drawn/a", "drawn/b"], outcomes, alone).estimates()
    assert worth["drawn/a"].mean == pytest.approx(2 * worth["drawn/b"].mean, rel=0.05)


def test_few_items_say_less_than_many() -> None:
    pull = {"drawn/a": Pull(tokens=1000, rows=10, trained=10)}
    few = Outcome.measured(1, "a", pull, [False, True] * 5, [True, True] * 5)
    many = Outcome.measured(1, "a", pull, [False, True] * 50, [True, True] * 50)
    assert few.change == many.change == 0.5
    assert few.variance > 8 * many.variance
    means = [Posterior.of(["drawn/a"], [one], alone).estimates()["drawn/a"].mean for one in (few, many)]
    assert means[0] < means[1]


def test_the_variance_of_a_change_is_that_of_many_suites_of_its_size() -> None:
    rng, n = np.random.default_rng(0), 30
    measured = []
    for _ in range(4000):
        before = rng.random(n) < 0.4
        after = np.where(rng.random(n) < 0.3, rng.random(n) < 0.6, before)
        measured.append(Outcome.measured(1, "a", {}, list(before), list(after)))
    spread = np.var([outcome.change for outcome in measured])
    assert np.mean([outcome.variance for outcome in measured]) == pytest.approx(spread, rel=0.2)


def test_two_sources_of_a_family_are_told_apart_by_rounds_in_which_their_rows_differ() -> None:
    history = []
    for number in range(1, 9):
        good = 10 if number % 2 else 40
        own = {
            "good/a": Pull(tokens=5000, rows=good, trained=good),
            "idle/a": Pull(tokens=5000, rows=50 - good, trained=50 - good),
        }
        history.append(Outcome(round=number, family="a", pulls=own, change=good / 500, variance=0.001))
    worth = Posterior.of(["good/a", "idle/a"], history, alone).estimates()
    assert worth["good/a"].mean > 3 * abs(worth["idle/a"].mean)


def test_a_source_that_yields_no_rows_is_worth_next_to_nothing() -> None:
    pulls = {"drawn/a": Pull(tokens=9000, rows=40, trained=40)}, {"drawn/b": Pull(tokens=9000, rows=0, trained=0)}
    history = [
        Outcome(round=number, family=family, pulls=own, change=change, variance=0.005)
        for number in range(1, 5)
        for family, own, change in (("a", pulls[0], 0.05), ("b", pulls[1], 0.0))
    ]
    for name in ("thompson", "linucb"):
        shares = load_bandit(name).choose(["drawn/a", "drawn/b"], history, 0)
        assert shares["drawn/a"] > 0.7, name


def test_an_arm_nobody_tried_is_judged_by_its_kin_with_linucb_and_is_unknown_to_thompson() -> None:
    pull = Pull(tokens=9000, rows=40, trained=40)
    history = [
        Outcome(round=number, family="a", pulls={"drawn/a@1": pull}, change=0.1, variance=0.003)
        for number in range(1, 6)
    ]
    choice = ["drawn/a@1", "drawn/a@2"]
    assert load_bandit("linucb").estimate(choice, history)["drawn/a@2"].mean > 0
    assert load_bandit("thompson").estimate(choice, history)["drawn/a@2"].mean == 0


@pytest.mark.parametrize("name", ["thompson", "linucb"])
@pytest.mark.parametrize("world", selector.WORLDS[:2], ids=lambda world: world.name)
def test_over_seeds_a_bandit_finds_the_helpful_source_and_beats_uniform(name: str, world: selector.World) -> None:
    rounds, seeds = 12, 25
    even, _ = selector.trials(world, "uniform", rounds, seeds)
    gains, shares = selector.trials(world, name, rounds, seeds)
    mean, half = selector.interval((gains - even)[:, -1])
    assert mean - half > 0
    # More than any even share would be, and more than that of the arm that harms.
    assert shares[:, 4:].mean() > 1.1 / len(world.effects)


def test_a_name_that_is_none_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(NAMES) <= set(names(bandits.GROUP))
    with pytest.raises(PluginError, match="did you mean 'thompson'"):
        load_bandit("tompson")
    monkeypatch.setattr(bandits, "plugin", lambda *_: Plugin("mine", "mine.py", object()))
    with pytest.raises(EvaluationError, match="is no Bandit"):
        load_bandit("mine")
