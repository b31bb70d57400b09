"""Any id can be followed both ways."""

from __future__ import annotations

import pytest
from remembered import make_call, make_task

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import Lineage, lineage, preview
from quintet.records import KINDS, Adapter, Attempt, Critique, Decision, Message, Record, Row, Selection


def chain() -> list[Record]:
    """A task's way into an adapter and a decision."""
    task, call = make_task("What is 2 + 2?"), make_call("a")
    attempt = Attempt(
        round=1, task=task.id, call=call.id, sample=0, turn=0, text="2 + 2\nis 4", answer="4", strict_answer=None
    )
    critique = Critique(
        round=1, task=task.id, attempt=attempt.id, score=1.0, correct=True, strict=False, verdict="accept"
    )
    selection = Selection(round=1, task=task.id, attempt=attempt.id, chosen=True, reason="right and short")
    row = Row(
        round=1,
        task=task.id,
        attempt=attempt.id,
        selection=selection.id,
        prompt=(Message(role="user", content="q"),),
        completion="4",
    )
    adapter = Adapter(round=1, rows=(row.id,), recipe={}, weights="ab" * 32)
    decision = Decision(round=1, candidate=adapter.id, promoted=True, reason="better by 12 points")
    return [task, call, attempt, critique, selection, row, adapter, decision]


def test_both_ways_nearest_first(run: RunLedger):
    task, call, attempt, critique, selection, row, adapter, decision = records = chain()
    run.add(*records)
    found = lineage(run, row.id)
    assert [(r.id, r.depth) for r in found.ancestors] == [
        (task.id, 1),
        (attempt.id, 1),
        (selection.id, 1),
        (call.id, 2),
    ]
    assert [(r.id, r.depth, r.via) for r in found.descendants] == [
        (adapter.id, 1, row.id),
        (decision.id, 2, adapter.id),
    ]
    assert found.ancestors[1].preview == "answer 4: 2 + 2 is 4"
    assert found.descendants[1].preview == "promoted: better by 12 points"
    assert found.ancestors[0].preview == "sums level 0: What is 2 + 2?"
    assert Lineage.model_validate_json(found.model_dump_json()) == found
    assert {r.id for r in lineage(run, task.id).descendants} == {r.id for r in records} - {task.id, call.id}
    assert critique.id in {r.id for r in lineage(run, attempt.id).descendants}


def test_an_unknown_id_is_refused_and_a_missing_parent_is_said(run: RunLedger):
    with pytest.raises(LedgerError, match="'first' holds no record with the id 'row-1'"):
        lineage(run, "row-1")
    row = chain()[5]
    run.add(row)
    assert {relative.preview for relative in lineage(run, row.id).ancestors} == {"(in another run)"}


def test_many_relatives_are_cut_and_it_says_so(run: RunLedger):
    task = make_task("1?")
    chosen = {"round": 1, "task": task.id, "chosen": True, "reason": "right"}
    run.add(task, *(Selection(**chosen, attempt=f"attempt-{n}") for n in range(20)))
    found = lineage(run, task.id, limit=5)
    assert len(found.descendants) == 5
    assert found.truncated
    assert not lineage(run, task.id).truncated


def test_every_kind_has_a_preview_of_one_line():
    records = chain()
    assert all("\n" not in preview(record) and 0 < len(preview(record)) <= 100 for record in records)
    assert {"task", "row", "stage"} <= set(KINDS)
    assert preview(make_task("long " * 100)).endswith("…")
