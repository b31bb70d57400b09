"""What rows are held against is on record, is right, and reaches the training and nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parity import CANARY, Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.graph.exporting import export_rows
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Attempt, Contrast, Critique, Recall, Row, Selection, Task
from quintet.training.errors import TrainError

pytestmark = pytest.mark.slow

OBJECTIVES = ("dpo", "kto", "grpo")


def run(model: Path, workspace: Path, objective: str, **changes: Any) -> None:
    """Two short rounds, whose right attempts are of the first turn but for those that the critic rescued."""
    settings = tiny_settings(
        model,
        training={"objective": objective},
        curator={"easy": 1.0, "rows_per_task": 1},
        solver={"samples": 5},
        **changes,
    )
    Loop(settings, tasks=[Parity()], workspace=workspace).run()


def opened(workspace: Path) -> Any:
    return Workspace(workspace).ledger()


@pytest.fixture(scope="module")
def ran(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A workspace for each objective."""
    found = {name: tmp_path_factory.mktemp(name) for name in OBJECTIVES}
    for name, workspace in found.items():
        run(tiny_model_folder, workspace, name)
    return found


def of_tasks(ledger: RunLedger, kind: type[Any]) -> dict[tuple[int, str], list[Any]]:
    found: dict[tuple[int, str], list[Any]] = {}
    for record in ledger.find(kind):
        found.setdefault((record.round, record.task), []).append(record)
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_contrasts_are_first_attempts_at_tasks_that_gave_rows(ran: dict[str, Path], objective: str) -> None:
    with opened(ran[objective]) as ledgers:
        ledger = ledgers.run()
        contrasts, rows = ledger.find(Contrast), ledger.find(Row)
        assert contrasts
        judged = {one.attempt: one for one in ledger.find(Critique)}
        taken = {row.attempt for row in rows}
        prompts = {row.task: row.prompt for row in rows}
        for one in contrasts:
            attempt, task = ledger.get(one.attempt), ledger.get(one.task)
            assert isinstance(attempt, Attempt)
            assert isinstance(task, Task)
            assert task.split == "train"
            assert attempt.turn == 0
            assert attempt.id not in taken
            assert one.completion == attempt.text
            assert one.prompt == prompts[one.task]
            assert (one.reward == 1) == judged[attempt.id].correct
            # Truths reach verifiers only: what stands in a prompt is the question.
            assert CANARY in json.dumps(task.truth)
            assert not any(CANARY in message.content for message in one.prompt)


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_preferences_are_of_wrong_attempts_no_more_than_rows_may_be(ran: dict[str, Path], objective: str) -> None:
    with opened(ran[objective]) as ledgers:
        held = of_tasks(ledgers.run(), Contrast)
    assert all(one.reward < 1 for some in held.values() for one in some)
    assert {len(some) for some in held.values()} == {1}


def test_a_group_is_all_that_was_tried_at_first(ran: dict[str, Path]) -> None:
    with opened(ran["grpo"]) as ledgers:
        ledger = ledgers.run()
        held, rows = of_tasks(ledger, Contrast), of_tasks(ledger, Row)
        attempts = of_tasks(ledger, Attempt)
        unfit = {one.attempt for one in ledger.find(Selection) if one.reason in ("cut off", "too long", "no answer")}
        assert set(held) <= set(rows)
        assert {one.reward for some in held.values() for one in some} == {0.0, 1.0}
        for key, some in rows.items():
            group = {one.attempt for one in (*some, *held.get(key, ()))}
            first = {one.id for one in attempts[key] if one.turn == 0}
            assert group <= first
            assert first - group <= unfit | {one for one in first if _cut(ledger, one)}


def _cut(ledger: RunLedger, id: str) -> bool:
    """Whether a reply had no end, and is therefore nothing to learn from, right or wrong."""
    attempt: Any = ledger.get(id)
    call: Any = ledger.get(attempt.call)
    return bool(call.completions[attempt.sample].finish != "stop")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_adapter_names_what_it_was_trained_against(ran: dict[str, Path], objective: str) -> None:
    tallied = {"dpo": "margin", "kto": "wrong_reward", "grpo": "divergence"}[objective]
    with opened(ran[objective]) as ledgers:
        ledger = ledgers.run()
        adapters, known = ledger.find(Adapter), {one.id for one in ledger.find(Contrast)}
        assert adapters
        for adapter in adapters:
            assert adapter.contrasts
            assert set(adapter.contrasts) <= known
            assert tallied in adapter.metrics
            assert adapter.metrics["rows"] == len(adapter.rows) + len(adapter.contrasts)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nobody_is_shown_what_was_wrong(ran: dict[str, Path], objective: str) -> None:
    with opened(ran[objective]) as ledgers:
        ledger = ledgers.run()
        wrong = {one.id for one in ledger.find(Contrast)}
        recalled = {id for one in ledger.find(Recall) for id in (*one.sources, *(item.id for item in one.items))}
    assert recalled
    assert not recalled & wrong


def test_the_same_seed_gives_the_same_ledger(ran: dict[str, Path], tiny_model_folder: Path, tmp_path: Path) -> None:
    run(tiny_model_folder, tmp_path, "grpo")
    with opened(ran["grpo"]) as ledgers:
        first = ledgers.run().digest()
    with opened(tmp_path) as ledgers:
        assert ledgers.run().digest() == first


def test_preferences_are_exported_with_labels(ran: dict[str, Path], tmp_path: Path) -> None:
    number = export_rows(ran["kto"], None, tmp_path / "out.jsonl", labelled=True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == number
    assert {line["label"] for line in lines} == {True, False}
    assert all(line["label"] == (line["reward"] == 1) for line in lines)
    assert all(line["trained"] for line in lines if not line["label"])
    assert export_rows(ran["kto"], None, tmp_path / "rows.jsonl") == sum(line["label"] for line in lines)


def test_where_nothing_can_be_learnt_the_incumbent_stays_and_it_says_so(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    # With one attempt a task there is nothing to hold it against.
    settings = tiny_settings(
        tiny_model_folder, training={"objective": "grpo"}, solver={"samples": 1}, rounds=1, curator={"easy": 1.0}
    )
    loop = Loop(settings, tasks=[Parity()], workspace=tmp_path)
    loop.run()
    [round] = loop.result().rounds
    assert round.adapter is None
    assert "it needs completions of one prompt that differ in their reward" in round.reason


def test_options_that_make_no_sense_are_refused_before_the_run_begins(tiny_model_folder: Path, tmp_path: Path) -> None:
    for options, said in (({"beta": -1}, "beta must be above 0"), ({"gamma": 1}, "gamma")):
        settings = tiny_settings(
            tiny_model_folder, training={"objective": "dpo", "objective_options": options}, rounds=1
        )
        with pytest.raises(TrainError, match=said):
            Loop(settings, tasks=[Parity()], workspace=tmp_path).run()
    # Nor is there a run.
    with opened(tmp_path) as ledgers:
        assert ledgers.runs() == []
