"""What an arm is credited with follows from the ledger: its tokens and rows, its family's items, a fair reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from quintet.agents.crediting import outcomes, rule_outcomes
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import (
    BASE,
    Adapter,
    Answer,
    Call,
    Completion,
    Decision,
    Evaluation,
    Proposal,
    Row,
    Selection,
    Task,
    digest,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[RunLedger]:
    with Workspace(tmp_path).ledger() as ledgers:
        yield ledgers.begin("made", 0, {})


def task(name: str, family: str = "a", split: str = "train") -> Task:
    return Task(family=family, level=0, question=name, canonical=name, truth={"answer": "1"}, split=split)  # type: ignore[arg-type]


def call(about: str, tokens: int, round: int, task: str | None = None, role: str = "solver") -> Call:
    said = Completion(text="1", tokens=(1,) * (tokens // 2))
    asked = digest((about, round, role))
    return Call(
        request=asked,
        round=round,
        role=role,
        task=task,
        model="made",
        messages=(),
        completions=(said,),
        prompt_tokens=tokens - tokens // 2,
    )


def practised(
    ledger: RunLedger, round: int, source: str, family: str, tokens: int, rows: int, level: int = 0
) -> list[Row]:
    """A task of a source with what was said about it; its rows."""
    one = task(f"{source} {family} {round} {level}", family)
    asked = call(f"propose {one.question}", 10, round, role="proposer") if source == "invented" else None
    about = {"round": round, "origin": source, "number": 0, "family": family, "level": level}
    proposal = Proposal(**about, task=one.id, call=asked.id if asked else None, accepted=True, reason="new")
    found = [
        Row(round=round, task=one.id, attempt=f"attempt-{n}", selection=f"{one.id}-{n}", prompt=(), completion="1")
        for n in range(rows)
    ]
    ledger.add(one, proposal, *([asked] if asked else []), call(f"solve {one.question}", tokens, round, one.id), *found)
    return found


STEER = [task(f"steer {family} {n}", family, "steer") for family in "ab" for n in range(10)]


def evaluated(adapter: str, round: int, right: dict[str, int]) -> Evaluation:
    """The first so many items of each family are right."""
    marks = [int(one.question.split()[-1]) < right[one.family] for one in STEER]
    answers = tuple(
        Answer(task=one.id, text="", answer=None, score=float(mark), correct=mark, strict=mark)
        for one, mark in zip(STEER, marks, strict=True)
    )
    return Evaluation(
        round=round, suite="steer", adapter=adapter, tasks=tuple(one.id for one in STEER), answers=answers
    )


def trained(
    ledger: RunLedger, round: int, rows: Sequence[Row], right: dict[str, int], start: str = BASE, promoted: bool = False
) -> str:
    """A candidate with its evaluation and the gate's decision."""
    made = Adapter(round=round, start=start, rows=tuple(row.id for row in rows), recipe={}, weights=str(round))
    decision = Decision(round=round, candidate=made.id, incumbent=start, promoted=promoted, reason="")
    ledger.add(made, evaluated(made.id, round, right), decision)
    return made.id


def test_an_arm_takes_the_tokens_of_its_tasks_and_of_what_proposed_them(ledger: RunLedger) -> None:
    practised(ledger, 1, "drawn", "a", tokens=100, rows=2)
    practised(ledger, 1, "invented", "a", tokens=40, rows=1)
    ledger.add(*STEER, call("steer", 500, 1, STEER[0].id, role="evaluation"))
    (one,) = outcomes(ledger, 2)
    assert {arm: pull.tokens for arm, pull in one.pulls.items()} == {"drawn/a": 100, "invented/a": 50}
    assert {arm: pull.rows for arm, pull in one.pulls.items()} == {"drawn/a": 2, "invented/a": 1}


def test_a_round_without_a_candidate_measures_nothing_and_its_rows_count_where_they_are_trained_on(
    ledger: RunLedger,
) -> None:
    rows = practised(ledger, 1, "drawn", "a", tokens=100, rows=3)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}), Decision(round=1, promoted=False, reason="too few rows"))
    rows += practised(ledger, 2, "drawn", "a", tokens=100, rows=4)
    trained(ledger, 2, rows, {"a": 5, "b": 5})
    first, second = (o for o in outcomes(ledger, 3) if o.family == "a")
    assert first.change is None
    assert first.pulls["drawn/a"].trained == 0
    assert second.change == pytest.approx(0.3)
    assert second.pulls["drawn/a"].trained == 7


def test_each_family_is_measured_on_its_own_items(ledger: RunLedger) -> None:
    rows = practised(ledger, 1, "drawn", "a", tokens=100, rows=3) + practised(ledger, 1, "drawn", "b", 100, 3)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    trained(ledger, 1, rows, {"a": 6, "b": 4})
    assert {o.family: o.change for o in outcomes(ledger, 2)} == {"a": pytest.approx(0.4), "b": pytest.approx(-0.1)}


def test_a_rejected_candidate_counts_and_is_what_the_next_one_is_compared_with(ledger: RunLedger) -> None:
    first = practised(ledger, 1, "drawn", "a", tokens=100, rows=3)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    trained(ledger, 1, first, {"a": 4, "b": 5})
    second = practised(ledger, 2, "drawn", "a", tokens=100, rows=5)
    trained(ledger, 2, first + second, {"a": 5, "b": 5})
    found = [o for o in outcomes(ledger, 3) if o.family == "a"]
    assert [o.change for o in found] == [pytest.approx(0.2), pytest.approx(0.1)]
    # Only what the first candidate did not know yet made the difference.
    assert [o.pulls["drawn/a"].trained for o in found] == [3, 5]


def test_a_candidate_that_continues_the_incumbent_is_compared_with_it(ledger: RunLedger) -> None:
    first = practised(ledger, 1, "drawn", "a", tokens=100, rows=3)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    incumbent = trained(ledger, 1, first, {"a": 4, "b": 5}, promoted=True)
    trained(ledger, 2, practised(ledger, 2, "drawn", "a", 100, 5), {"a": 3, "b": 5}, start=incumbent)
    assert [o.change for o in outcomes(ledger, 3) if o.family == "a"] == [pytest.approx(0.2), pytest.approx(-0.1)]


def test_rows_of_a_family_without_items_of_its_own_may_have_taught_any(ledger: RunLedger) -> None:
    rows = practised(ledger, 1, "drawn", "a", 100, 3) + practised(ledger, 1, "self_instruct", "written", 80, 4)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    trained(ledger, 1, rows, {"a": 4, "b": 6})
    found = {o.family: set(o.pulls) for o in outcomes(ledger, 2)}
    assert found == {"a": {"drawn/a", "self_instruct/written"}, "b": {"self_instruct/written"}}


def test_levels_are_told_apart_only_where_they_are_arms(ledger: RunLedger) -> None:
    for level in (0, 1):
        practised(ledger, 1, "drawn", "a", tokens=100, rows=2, level=level)
    practised(ledger, 1, "invented", "a", tokens=100, rows=2, level=1)
    assert set(outcomes(ledger, 2)[0].pulls) == {"drawn/a", "invented/a"}
    assert set(outcomes(ledger, 2, by_level=True)[0].pulls) == {"drawn/a@0", "drawn/a@1", "invented/a"}


def test_a_ranking_rule_is_credited_with_the_rows_that_it_chose(ledger: RunLedger) -> None:
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    rows = []
    for family, rule in (("a", "hardest"), ("a", "shortest"), ("b", "shortest"), ("b", "")):
        one = task(f"{family} by {rule}", family)
        about = {"round": 1, "task": one.id, "attempt": f"attempt {family}", "reason": "right"}
        chosen = Selection(**about, chosen=True, rule=rule)
        row = Row(round=1, task=one.id, attempt=f"attempt {family}", selection=chosen.id, prompt=(), completion="1")
        ledger.add(one, chosen, row)
        rows.append(row)
    trained(ledger, 1, rows, {"a": 4, "b": 4})
    found = {o.family: o for o in rule_outcomes(ledger, 2)}
    assert {family: set(o.pulls) for family, o in found.items()} == {
        "a": {"rule/hardest", "rule/shortest"},
        "b": {"rule/shortest"},
    }
    assert found["a"].change == pytest.approx(0.2)
    assert found["b"].pulls["rule/shortest"].trained == 1


def test_the_round_to_come_changes_nothing(ledger: RunLedger) -> None:
    rows = practised(ledger, 1, "drawn", "a", tokens=100, rows=3)
    ledger.add(*STEER, evaluated(BASE, 1, {"a": 2, "b": 5}))
    trained(ledger, 1, rows, {"a": 4, "b": 5})
    before = outcomes(ledger, 2)
    practised(ledger, 2, "drawn", "a", tokens=900, rows=9)
    assert outcomes(ledger, 2) == before
