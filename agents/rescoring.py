"""Scores old rows anew as the model changes: what was hard for an earlier adapter may be easy now."""

from __future__ import annotations

from quintet.agents.metrics import Candidate, load_metric, scored
from quintet.agents.table import Round, Table
from quintet.records import Attempt, Completion, Critique, Rescore, Row, Task


async def rescored(table: Table, round: Round, names: tuple[str, ...], most: int) -> list[Rescore]:
    """Scores of the stalest old rows under the incumbent (as in RHO-loss, arXiv 2206.07137: by the present model).

    Args:
        table: Ledger and model.
        round: The round at work; only rows and scores of rounds before it count, so that doing it again gives the same.
        names: Metrics; those that can are computed.
        most: Rows scored at most; those that were scored longest ago come first, and of these the oldest. Rows that
            were scored under this very incumbent are left out.
    """
    able = [name for name in names if load_metric(name).rescores]
    if not able or not most:
        return []
    ledger = table.ledger
    latest = {one.row: one for one in ledger.find(Rescore) if one.round < round.number}
    stale: list[tuple[int, Row]] = []
    for row in ledger.find(Row):
        if row.round >= round.number:
            continue
        last = latest.get(row.id)
        attempt = ledger.get(row.attempt)
        under = last.adapter if last else attempt.adapter if isinstance(attempt, Attempt) else None
        if under != round.incumbent:
            stale.append((last.round if last else row.round, row))
    stale.sort(key=lambda pair: pair[0])
    rows = [row for _, row in stale[:most]]
    critiques = {one.attempt: one for one in ledger.find(Critique)} if rows else {}
    candidates = []
    for row in rows:
        attempt, task = ledger.get(row.attempt), ledger.get(row.task)
        if not isinstance(attempt, Attempt) or not isinstance(task, Task) or attempt.id not in critiques:
            raise LookupError(f"{row.id} lacks its task, attempt or critique in the ledger")
        # Without log-probabilities: what was recorded is of the adapter of that time.
        words = Completion(text=row.completion, tokens=row.tokens)
        candidates.append(
            Candidate(
                round.number,
                attempt,
                critiques[attempt.id],
                task,
                words,
                prompt=row.prompt,
                adapter=round.incumbent,
            )
        )
    await scored(candidates, able, table)
    return [
        Rescore(round=round.number, row=row.id, adapter=round.incumbent, scores=one.scores)
        for row, one in zip(rows, candidates, strict=True)
    ]
