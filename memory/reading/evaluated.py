"""What a run has evaluated, without the answers, which make up most of an evaluation."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.reading.kin import some_of
from quintet.memory.schema import events
from quintet.records import BASE, GREEDY, Call, Evaluation, Part, Suite, digest

EVALUATION = "evaluation"
"""The role in whose name items are asked."""


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


def spent(ledger: RunLedger, evaluation: Evaluation) -> int | None:
    """Tokens generated for all of an evaluation's answers; `None` where the run does not hold what would tell.

    A strategy's stand in the evaluation. The greedy way takes one call an item, in an environment one an action; where
    a later round asked for the same, the calls are the earlier one's.
    """
    if evaluation.tokens is not None or evaluation.strategy != GREEDY:
        return evaluation.tokens
    record, e = body(ledger.ledger.engine), events.c
    own: dict[str, int] = defaultdict(int)
    earlier: dict[str, int] = defaultdict(int)
    for some in some_of(evaluation.tasks):
        chosen = sa.select(e.task, e.round, e.tokens, record["prompt_tokens"].as_integer())
        chosen = chosen.where(e.run == ledger.run, e.kind == Call.kind, e.task.in_(some))
        chosen = chosen.where(e.role == EVALUATION, e.adapter == evaluation.adapter)
        with ledger.ledger.reading() as connection:
            for task, round, tokens, prompt in connection.execute(chosen):
                (own if round == evaluation.round else earlier)[task] += (tokens or 0) - (prompt or 0)
    if any(task not in own and task not in earlier for task in evaluation.tasks):
        return None
    return sum(own[task] if task in own else earlier[task] for task in evaluation.tasks)
