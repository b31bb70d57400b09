"""Ranks, worth and shares: what the curator does with scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from quintet.agents.metrics import Candidate
from quintet.agents.ranking import WORTH, beyond, over_share, percentiles, weigh
from quintet.agents.replay import newest
from quintet.records import Attempt, Completion, Critique, Row, Task

TASK = Task(family="sums", level=0, question="1 + 1?", canonical="1 + 1", truth={})
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def candidate(answer: str, number: int = 0, **scores: float) -> Candidate:
    attempt = Attempt(
        round=1, task=TASK.id, call="c", sample=number, turn=0, text=answer, answer=answer, strict_answer=None
    )
    critique = Critique(round=1, task=TASK.id, attempt=attempt.id, score=1, correct=True, strict=True, verdict="accept")
    return Candidate(1, attempt, critique, TASK, Completion(text=answer), scores=dict(scores))


@given(NUMBERS)
def test_ranks_run_from_0_to_1_in_the_order_of_the_scores(scores: list[float]) -> None:
    ranks = percentiles(scores)
    assert all(0 <= rank <= 1 for rank in ranks)
    for one, rank in zip(scores, ranks, strict=True):
        for other, another in zip(scores, ranks, strict=True):
            assert (one < other) == (rank < another)
    assert abs(sum(ranks) / len(ranks) - 0.5) < 1e-9


@given(NUMBERS, st.integers(1, 1000))
def test_ranks_do_not_depend_on_units(scores: list[float], unit: int) -> None:
    whole = [float(round(score)) for score in scores]
    assert percentiles(whole) == percentiles([unit * score for score in whole])


def test_worth_is_the_weighted_sum_of_ranks_and_a_negative_weight_turns_them_round() -> None:
    some = [candidate("a", a=1.0, b=100.0), candidate("b", a=2.0, b=50.0), candidate("c", a=3.0, b=75.0)]
    weigh(some, {"a": 2.0, "b": -1.0})
    assert [one.scores[WORTH] for one in some] == [0 * 2 - 1, 0.5 * 2 - 0, 1 * 2 - 0.5]


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.floats(0.05, 0.99))
def test_no_answer_is_over_its_share_unless_it_is_down_to_one(answers: list[str], share: float) -> None:
    some = [candidate(answer, number) for number, answer in enumerate(answers)]
    out = over_share(some, lambda one: one.attempt.answer, share)
    kept = [one for one in some if one not in out]
    counts = Counter(one.attempt.answer for one in kept)
    assert set(counts) == set(answers)
    assert all(size <= max(1, share * len(kept) + 1e-9) for size in counts.values())
    # The best of each answer stay.
    for answer in counts:
        ranked = [one for one in some if one.attempt.answer == answer]
        assert [one in kept for one in ranked] == sorted((one in kept for one in ranked), reverse=True)


def test_what_is_within_its_share_stays_whole() -> None:
    some = [candidate(answer, number) for number, answer in enumerate("aabbcc")]
    assert over_share(some, lambda one: one.attempt.answer, 0.34) == []


def test_a_group_gives_up_what_is_beyond_its_number() -> None:
    some = [candidate(answer, number) for number, answer in enumerate("aabab")]
    assert beyond(some, lambda one: one.attempt.answer, 2) == [some[3]]


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(0, 20))
def test_a_budget_counts_rows_and_cuts_nothing_in_two(sizes: list[int], most: int) -> None:
    some = [replace(candidate("a", number), rows=size) for number, size in enumerate(sizes)]
    out = beyond(some, lambda one: None, most)
    within = [one for one in some if one not in out]
    assert sum(one.rows for one in within) <= most
    left = most - sum(one.rows for one in within)
    assert all(one.rows > left for one in out)
    # Where each gives one row, the budget is the first so many.
    ones = [replace(one, rows=1) for one in some]
    assert beyond(ones, lambda one: None, most) == ones[most:]


def row(attempt: str, number: int) -> Row:
    return Row(round=1, task="t", attempt=attempt, selection="s", prompt=(), completion=str(number))


@given(st.lists(st.integers(1, 4), max_size=12), st.integers(1, 20))
def test_a_training_takes_the_newest_rows_and_each_trajectory_whole_or_not_at_all(sizes: list[int], most: int) -> None:
    rows = [row(f"attempt-{place}", number) for place, size in enumerate(sizes) for number in range(size)]
    taken = newest(rows, most)
    assert len(taken) <= most
    assert [one for one in rows if one in taken] == taken
    for place, size in enumerate(sizes):
        assert sum(one.attempt == f"attempt-{place}" for one in taken) in (0, size)
    if sizes and sizes[-1] <= most:
        assert rows[-1] in taken
    ones = [row(f"attempt-{place}", 0) for place in range(len(sizes))]
    assert newest(ones, most) == ones[-most:]
