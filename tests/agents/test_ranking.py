"""Ranks, worth and shares: what the curator does with scores."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from quintet.agents.metrics import Candidate
from quintet.agents.ranking import WORTH, beyond, over_share, percentiles, weigh
from quintet.records import Attempt, Completion, Critique, Task

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
