"""A proposer that learns is watched: what it says may get better, but a collapse in any of three ways rings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quintet.evaluation.proposals import Watched, watch_proposals
from quintet.evaluation.settings import MonitorSettings
from quintet.records import Call, Completion, Monitors, Proposal

BOUNDS = MonitorSettings(least=10)


def watched(
    texts: Sequence[str], before: Sequence[Watched] = (), reasons: Sequence[str] = (), tokens: int = 10
) -> Watched:
    """The watch over a round in which these were proposed, each for a reason of its own."""
    said = tuple(Completion(text=text, tokens=tuple(range(tokens))) for text in texts)
    call = Call(request="r", round=1, role="proposer", model="m", messages=(), completions=said)
    proposed = [
        Proposal(
            round=1,
            origin="challenger",
            number=number,
            family="products",
            level=0,
            call=call.id,
            content=text,
            accepted=not reasons,
            reason=reasons[number] if reasons else "new",
        )
        for number, text in enumerate(texts)
    ]
    earlier = [Monitors(round=n, values=one.values) for n, one in enumerate(before, 1)]
    return watch_proposals([(one, call) for one in proposed], [0.5, 1.0], earlier, BOUNDS)


DIFFERENT = [f'{{"first": {n}, "second": 7}}' for n in range(12)]
FIRST = watched(DIFFERENT)


def test_length_validity_diversity_and_reward_are_measured() -> None:
    found = watched([*DIFFERENT[:3], '{"second":7,"first":0}'], reasons=["new", "malformed", "duplicate", "trivial"])
    assert found.values == {
        "proposer.tokens": 10.0,
        "proposer.valid": 0.5,
        "proposer.accepted": 0.0,
        # The last one says what the first one does.
        "proposer.distinct": 0.75,
        "proposer.reward": 0.75,
    }


def test_the_first_round_rings_no_alarm_however_bad_it_is() -> None:
    assert watched(["?"] * 12, reasons=["malformed"] * 12).alarms == ()


def test_a_round_like_those_before_rings_no_alarm() -> None:
    assert watched(DIFFERENT, [FIRST, FIRST]).alarms == ()


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("proposer.distinct", watched(DIFFERENT[:1] * 12, [FIRST])),
        ("proposer.valid", watched(DIFFERENT, [FIRST], reasons=["malformed"] * 7 + ["new"] * 5)),
        ("proposer.tokens", watched(DIFFERENT, [FIRST], tokens=4)),
        ("proposer.tokens", watched(DIFFERENT, [FIRST], tokens=21)),
    ],
)
def test_a_collapse_rings(name: str, spoilt: Watched) -> None:
    [alarm] = spoilt.alarms
    assert alarm.startswith(f"{name}: ")


def test_a_share_is_held_against_the_best_round_before() -> None:
    poor = watched(DIFFERENT, reasons=["malformed"] * 9 + ["new"] * 3)
    now = ["malformed"] * 8 + ["new"] * 4
    assert watched(DIFFERENT, [poor], now).alarms == ()
    assert watched(DIFFERENT, [FIRST, poor], now).alarms != ()


def test_a_few_proposals_are_measured_and_ring_nothing() -> None:
    few = watched(DIFFERENT[:1] * 9, [FIRST])
    assert few.values["proposer.distinct"] == pytest.approx(1 / 9)
    assert few.alarms == ()


def test_where_nothing_is_proposed_there_is_nothing_to_say() -> None:
    assert watched([], [FIRST]) == Watched()
