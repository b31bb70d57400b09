"""The curator's selection in a run: scores, weights, shares, scoring anew and replay, on a tiny model."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.agents.errors import AgentError
from quintet.agents.metrics.remembered import k_centre
from quintet.agents.replay import drawn, pass_rates
from quintet.agents.rescoring import rescored
from quintet.agents.scoring import Text, scored_texts
from quintet.agents.table import Round
from quintet.graph.errors import LoopError, SettingsError
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import (
    BASE,
    Adapter,
    Call,
    Message,
    Monitors,
    Record,
    Rescore,
    Row,
    Selection,
)

METRICS = ["rubric", "perplexity", "ifd", "learnability", "diversity", "balance", "confidence"]
SELECTING = {
    "metrics": METRICS,
    "weights": {"learnability": 1.0, "ifd": -0.5},
    "prefer": ["-worth"],
    "rescore": 3,
    "row_budget": 3,
}
REPLAY = {"replay": "learnability", "row_budget": 4}


@pytest.fixture(scope="module")
def selecting(tiny_model_folder: Path) -> Settings:
    return tiny_settings(tiny_model_folder, rounds=2, curator=SELECTING, trainer=REPLAY)


@pytest.fixture(scope="module")
def workspace(selecting: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run."""
    place = tmp_path_factory.mktemp("selecting")
    Loop(selecting, tasks=[Parity()], workspace=place).run()
    return place


def records(workspace: Path) -> list[Record]:
    with Workspace(workspace).ledger() as ledgers:
        return [event.record for event in ledgers.run().events(limit=100_000)]


def of(found: list[Record], kind: type[Record]) -> list[Any]:
    return [record for record in found if isinstance(record, kind)]


def test_every_attempt_has_every_score_and_what_may_be_learnt_its_worth(workspace: Path) -> None:
    found = records(workspace)
    selections = of(found, Selection)
    assert selections
    for selection in selections:
        assert set(METRICS) <= set(selection.scores)
        assert selection.scores["learnability"] == pytest.approx(
            4 * selection.scores["pass_rate"] * (1 - selection.scores["pass_rate"]), abs=1e-5
        )
    assert all(("worth" in selection.scores) or not selection.chosen for selection in selections)
    chosen = [selection for selection in selections if selection.chosen]
    assert chosen
    assert all(f"worth {selection.scores['worth']:.2f}" in selection.reason for selection in chosen)
    for number in {selection.round for selection in selections}:
        over = [one for one in selections if one.round == number and one.reason == "over the row budget"]
        best = [one.scores["worth"] for one in chosen if one.round == number]
        assert all(one.scores["worth"] <= min(best) for one in over)


def test_the_incumbents_own_words_are_not_asked_again_and_lone_ones_are(workspace: Path) -> None:
    found = records(workspace)
    scored = [call for call in of(found, Call) if call.scored]
    assert scored
    assert {call.role for call in scored} == {"curator"}
    assert all(call.completion_tokens == 0 and call.completions[0].logprobs for call in scored)
    by_id = {one.id: one for one in found}
    for selection in of(found, Selection):
        attempt = by_id[selection.attempt]
        if attempt.turn == 0 and not attempt.revises:
            # A first attempt was made under the incumbent: perplexity is what was recorded then.
            assert selection.scores["perplexity"] == pytest.approx(math.exp(-selection.scores["confidence"]), rel=1e-5)
    assert len({call.messages for call in scored if not call.messages}) == 1


def test_the_critics_agreement_with_the_verifier_is_measured(workspace: Path) -> None:
    found = records(workspace)
    for monitors in of(found, Monitors):
        marks = [
            (one.scores["rubric"] >= 4, one.scores["correct"] > 0)
            for one in of(found, Selection)
            if one.round == monitors.round and one.scores["rubric"]
        ]
        assert monitors.values["critic_agreement"] == pytest.approx(sum(a == b for a, b in marks) / len(marks))


@pytest.mark.slow
def test_the_same_seed_selects_the_same(selecting: Settings, workspace: Path, tmp_path: Path) -> None:
    Loop(selecting, tasks=[Parity()], workspace=tmp_path).run()
    assert [record.id for record in records(tmp_path)] == [record.id for record in records(workspace)]


def test_old_rows_are_scored_anew_once_under_each_incumbent_the_stalest_first(
    selecting: Settings, workspace: Path
) -> None:
    async def anew() -> tuple[list[Rescore], list[Rescore], list[Rescore], list[Row]]:
        loop = Loop.resume(None, workspace, tasks=[Parity()])
        async with loop.context() as context:
            table = context.table
            adapter = table.ledger.find(Adapter)[-1]
            await table.serve(adapter)
            metrics = selecting.curator.metrics
            first = await rescored(table, Round(8, adapter.id, {}), metrics, 2)
            again = await rescored(table, Round(8, adapter.id, {}), metrics, 2)
            assert first == again
            table.ledger.add(*first)
            assert await rescored(table, Round(8, adapter.id, {}), metrics, 2) == first
            rest = await rescored(table, Round(9, adapter.id, {}), metrics, 100)
            assert await rescored(table, Round(9, adapter.id, {}), ("tokens",), 100) == []
            base = await rescored(table, Round(9, BASE, {}), metrics, 100)
            return first, rest, base, table.ledger.find(Row)

    first, rest, base, rows = asyncio.run(anew())
    assert [one.row for one in first] == [row.id for row in rows[:2]]
    assert [one.row for one in rest] == [row.id for row in rows[2:]]
    # Rows that the base wrote have its scores; only those scored under the adapter since are stale for it.
    assert {one.row for one in base} == {one.row for one in first}
    assert all(set(one.scores) == {"perplexity", "ifd"} for one in (*first, *rest))
    assert all(one.scores["perplexity"] > 1 and one.scores["ifd"] > 0 for one in (*first, *rest))


def test_what_was_rescored_tells_how_well_a_row_is_solved_now(workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        rows = ledger.find(Row)
        selections = {one.id: one for one in ledger.find(Selection)}
        row, other = rows[0], rows[-1]
        last = [one.scores["pass_rate"] for one in selections.values() if one.task == row.task][-1]
        then = selections[row.selection].scores["perplexity"]
        assert pass_rates(ledger, [row], 50)[row.id] == pytest.approx(last) or ledger.find(Rescore)
        ledger.add(Rescore(round=60, row=row.id, scores={"perplexity": 2 * then}))
        ledger.add(Rescore(round=61, row=other.id, scores={"perplexity": 1e-9}))
        rates = pass_rates(ledger, [row, other], 61)
        assert rates[row.id] == pytest.approx(last / 2)
        assert rates[other.id] <= 1
        assert pass_rates(ledger, [row, other], 59)[row.id] != rates[row.id]


def test_a_replay_draws_what_was_never_trained_on_then_what_was_longest_ago(workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        rows = ledger.find(Row)
        assert len(rows) >= 4
        trained = {id: adapter.round for adapter in ledger.find(Adapter) for id in adapter.rows}
        assert [row.id for row in drawn(ledger, rows, len(rows), 70)] == [row.id for row in rows]
        for most in range(1, len(rows)):
            taken = drawn(ledger, rows, most, 70)
            left = [row for row in rows if row not in taken]
            assert len(taken) == most
            assert [row for row in rows if row in taken] == taken
            assert max(trained.get(row.id, 0) for row in taken) <= min(trained.get(row.id, 0) for row in left)
            rates = pass_rates(ledger, rows, 70)
            worth = {row.id: 4 * rates[row.id] * (1 - rates[row.id]) for row in rows}
            border = max(trained.get(row.id, 0) for row in taken)
            out = [worth[row.id] for row in left if trained.get(row.id, 0) == border]
            inside = [worth[row.id] for row in taken if trained.get(row.id, 0) == border]
            assert not out or min(inside) >= max(out)


def test_shares_hold_and_say_so(tiny_model_folder: Path, tmp_path: Path) -> None:
    bounded = {"per_family": 0.5, "row_budget": 2}
    Loop(tiny_settings(tiny_model_folder, rounds=1, curator=bounded), tasks=[Parity()], workspace=tmp_path).run()
    reasons = Counter(selection.reason for selection in of(records(tmp_path), Selection))
    assert len(of(records(tmp_path), Row)) == 1
    assert reasons["over its family's share of the row budget"]


def test_k_centre_takes_the_middle_first_and_then_what_is_farthest() -> None:
    angles = np.radians([0.0, 10.0, 20.0, 90.0, 5.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    gains = k_centre(vectors, 4)
    assert gains[2] == 1
    assert gains[3] == pytest.approx(1 - math.cos(math.radians(70)), abs=1e-6)
    assert gains[0] == pytest.approx(1 - math.cos(math.radians(20)), abs=1e-6)
    assert gains[1] == pytest.approx(1 - math.cos(math.radians(10)), abs=1e-6)
    # The last one may not be chosen, and is measured against those that were.
    assert gains[4] == pytest.approx(1 - math.cos(math.radians(5)), abs=1e-6)
    assert k_centre(vectors, 0) == [1.0] * 5


def test_texts_are_scored_and_recorded_under_whoever_asks(workspace: Path) -> None:
    said = (Message(role="user", content="Is 3 odd?"),)

    async def ask() -> tuple[list[Any], list[Any], list[Call]]:
        async with Loop.resume(None, workspace, tasks=[Parity()]).context() as context:
            texts = [Text("odd", said), Text("odd"), Text((7, 8, 9), said), Text("word " * 900)]
            once = await scored_texts(context.table, texts, BASE, "tester", 1)
            calls = [call for call in context.table.ledger.find(Call) if call.role == "tester"]
            return once, await scored_texts(context.table, texts, BASE, "tester", 1), calls

    once, twice, calls = asyncio.run(ask())
    assert once == twice
    assert [len(one.logprobs) for one in once] == [len(once[0].tokens), len(once[1].tokens), 3, 0]
    assert once[0].tokens == once[1].tokens
    assert once[0].logprobs != once[1].logprobs
    assert len(calls) == 4
    [error] = [call.error for call in calls if call.error]
    assert "exceed the model's" in error


def test_a_model_of_others_cannot_score() -> None:
    from types import SimpleNamespace

    from langchain_core.language_models import FakeListChatModel

    table: Any = SimpleNamespace(model=lambda role: FakeListChatModel(responses=["x"]))
    with pytest.raises(AgentError, match="FakeListChatModel cannot score given texts"):
        asyncio.run(scored_texts(table, [Text("odd")], BASE, "tester", 1))


def test_rescoring_by_metrics_that_cannot_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model_folder, curator={"metrics": ["random", "balance"], "rescore": 3})
    with pytest.raises(LoopError, match="none of random, balance can score old rows anew"):
        Loop(settings, tasks=[Parity()], workspace=tmp_path).run()


@pytest.mark.parametrize(
    ("curator", "told"),
    [
        ({"prefer": ["-worth"]}, "set weights"),
        ({"weights": {"ifd": 1.0}}, "'ifd' is not computed"),
        ({"weights": {"tokens": 1.0}, "metrics": ["worth"]}, "no metric may have its name"),
        ({"weights": {"tokens": 1.0}, "at_least": {"worth": 0.1}}, "'worth' is not computed"),
        ({"rescore": 3}, "perplexity"),
        ({"weights": {"tokens": float("nan")}}, "finite number"),
    ],
)
def test_a_wrong_rule_is_refused(curator: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Settings.compose({"curator": curator})
