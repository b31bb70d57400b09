"""What a run has evaluated, without the answers, which make up most of an evaluation."""

from __future__ import annotations

from typing import get_args

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.schema import events
from quintet.records import BASE, GREEDY, Evaluation, Part, Suite, digest


class Evaluated(Part):
    """An evaluation, answers aside."""

    id: str
    seq: int
    round: int
    """0 where a user asked for it beside the rounds."""
    suite: Suite
    adapter: str
    strategy: str
    n: int
    """How many items."""
    items: str
    """Hash of the items: equal for evaluations of the same items in the same order."""


def evaluated(ledger: RunLedger) -> list[Evaluated]:
    """All evaluations of a run on its suites, in the order they were recorded; a test of personas is on none."""
    record, e = body(ledger.ledger.engine), events.c
    fields = (record["suite"].as_string(), record["strategy"].as_string(), record["tasks"])
    chosen = sa.select(e.id, e.seq, e.round, e.adapter, *fields).where(e.run == ledger.run, e.kind == Evaluation.kind)
    with ledger.ledger.reading() as connection:
        rows = connection.execute(chosen.order_by(e.seq)).all()
    return [
        Evaluated(
            id=id,
            seq=seq,
            round=round,
            suite=suite,
            adapter=adapter or BASE,
            strategy=strategy or GREEDY,
            n=len(tasks),
            items=digest(tasks),
        )
        for id, seq, round, adapter, suite, strategy, tasks in rows
        if suite in get_args(Suite)
    ]
