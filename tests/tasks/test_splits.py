from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quintet.records import Split
from quintet.tasks.arithmetic import ChainSum
from quintet.tasks.settings import TaskSettings
from quintet.tasks.splits import split_of

SHARES = TaskSettings().shares


def test_the_split_of_a_question_never_changes() -> None:
    # Known values: a change of the function would move test questions into training.
    assert [split_of(question, SHARES) for question in ("3+4", "4*7", "gcd(4,6)", "9-2", "lcm(3,8)")] == KNOWN


KNOWN = ["steer", "train", "train", "gate", "gate"]


def test_another_deal_moves_questions_independently_of_the_first() -> None:
    moved = Counter((split_of(str(n), SHARES), split_of(str(n), SHARES, "again")) for n in range(20_000))
    for (first, second), count in moved.items():
        assert abs(count / 20_000 - SHARES[first] * SHARES[second]) < 0.015


def test_splits_hold_their_shares() -> None:
    counts = Counter(split_of(str(number), SHARES) for number in range(20_000))
    for split, share in SHARES.items():
        assert abs(counts[split] / 20_000 - share) < 0.015


@given(st.text())
def test_a_split_without_a_share_owns_nothing(question: str) -> None:
    shares: dict[Split, float] = {"train": 0.5, "steer": 0.0, "gate": 0.0, "retention": 0.0, "final": 0.5}
    assert split_of(question, shares) in ("train", "final")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 3))
def test_no_question_is_in_two_splits_whatever_the_seeds_and_levels(
    seed: int, other: int, level: int, another: int
) -> None:
    def owners(level: int, seed: int) -> dict[str, str]:
        drafts = ChainSum("chain_sum").draw(level, seed)
        return {
            draft.canonical: split_of(draft.canonical, SHARES) for draft, _ in zip(drafts, range(200), strict=False)
        }

    first, second = owners(level, seed), owners(another, other)
    assert all(first[question] == second[question] for question in first.keys() & second.keys())


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"train": 0.9, "final": 0.2, "gate": 0.0, "steer": 0.0, "retention": 0.0}, "sum to 1.1"),
        ({"train": 1.0}, "lacks steer, gate, retention, final"),
        ({"train": 1.5, "final": -0.5, "gate": 0.0, "steer": 0.0, "retention": 0.0}, "final is negative"),
    ],
)
def test_shares_that_are_no_partition_are_refused(shares: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TaskSettings(shares=shares)
