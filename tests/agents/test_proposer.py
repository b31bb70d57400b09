"""The proposer: what it sets follows from the rounds before, and from nothing that was asked beside them."""

from __future__ import annotations

from pathlib import Path

from sitting import sitting

from quintet.agents.allocating import allotted
from quintet.agents.table import Round
from quintet.records import BASE, Answer, Evaluation, Task


async def test_questions_answered_beside_the_run_change_nothing_of_what_is_set(tmp_path: Path) -> None:
    async with sitting(tmp_path / "plain", lambda _: "", invented=0) as table:
        plain = await table.act()
    asked = [one for one in plain if isinstance(one, Task)]
    answers = tuple(Answer(task=one.id, text="", answer=None, correct=False, score=0.0, strict=False) for one in asked)
    ids = tuple(one.id for one in asked)
    tried = Evaluation(round=0, adapter=BASE, suite="train", tasks=ids, answers=answers, strategy="persona")
    async with sitting(tmp_path / "evolved", lambda _: "", invented=0) as table:
        # As `quintet evolve` leaves it, whose test draws from the same questions.
        table.table.ledger.add(*asked, tried)
        assert await table.act() == plain
        # What a round has set is known in the next, whoever tried it besides.
        later = await table.act(2)
    assert not {one.id for one in later if isinstance(one, Task)} & set(ids)


async def test_where_no_source_has_a_family_nothing_is_shared_out(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda _: "", allocate="thompson") as table:
        assert await allotted(table.table, Round(1, BASE, {}), [], 0) == (None, {})
