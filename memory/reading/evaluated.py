"""What a run has evaluated, without the answers, which make up most of an evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import get_args

import sqlalchemy as sa

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.bodies import body
from quintet.memory.reading.kin import some_of
from quintet.memory.schema import events
from quintet.records import BASE, EVALUATION, GREEDY, Call, Evaluation, Part, Suite, digest


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


class Used(Part):
    """What an evaluation took, over all its items."""

    generated: int
    """Tokens generated."""
    prompted: int
    """Tokens of prompts."""


def spent(ledger: RunLedger, evaluation: Evaluation) -> int | None:
    """Tokens generated for all of an evaluation's answers; `None` where the run does not hold what would tell.

    A strategy's stand in the evaluation; those of the greedy way are known from its calls.
    """
    if evaluation.tokens is not None or evaluation.strategy != GREEDY:
        return evaluation.tokens
    found = used(ledger, evaluation)
    return found.generated if found else None


def used(ledger: RunLedger, evaluation: Evaluation) -> Used | None:
    """What the calls took that answered greedily; `None` where the run does not hold them all.

    There is one an item, in an environment one an action; where a later round asked for the same, they are the earlier
    one's.
    """
    record, e = body(ledger.ledger.engine), events.c
    own: dict[str, Counter[str]] = defaultdict(Counter)
    earlier: dict[str, Counter[str]] = defaultdict(Counter)
    for some in some_of(evaluation.tasks):
        chosen = sa.select(e.task, e.round, e.tokens, record["prompt_tokens"].as_integer())
        chosen = chosen.where(e.run == ledger.run, e.kind == Call.kind, e.task.in_(some))
        chosen = chosen.where(e.role == EVALUATION, e.adapter == evaluation.adapter)
        with ledger.ledger.reading() as connection:
            for task, round, tokens, prompt in connection.execute(chosen):
                count = {"generated": (tokens or 0) - (prompt or 0), "prompted": prompt or 0}
                (own if round == evaluation.round else earlier)[task].update(count)
    found = [own.get(task) or earlier.get(task) for task in evaluation.tasks]
    if None in found:
        return None
    whole = sum((one for one in found if one), Counter[str]())
    return Used(generated=whole["generated"], prompted=whole["prompted"])
