"""Records made up for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

from quintet.records import BASE, Answer, Evaluation, Suite


def evaluation(
    marks: Sequence[bool],
    adapter: str = BASE,
    suite: Suite = "gate",
    round: int = 1,
    strict: Sequence[bool] | None = None,
) -> Evaluation:
    """An evaluation with these items right."""
    names = tuple(f"{suite}-{i}" for i in range(len(marks)))
    strict = marks if strict is None else strict
    answers = tuple(
        Answer(task=name, text="", answer=None, score=float(mark), correct=mark, strict=exact)
        for name, mark, exact in zip(names, marks, strict, strict=True)
    )
    return Evaluation(round=round, suite=suite, adapter=adapter, tasks=names, answers=answers)


def pair(won: int, lost: int, n: int, suite: Suite = "gate") -> tuple[Evaluation, Evaluation]:
    """Incumbent and candidate with so many items won and lost, and half the rest right."""
    both = [i % 2 == 0 for i in range(n - won - lost)]
    before = [False] * won + [True] * lost + both
    after = [True] * won + [False] * lost + both
    return evaluation(before, "base", suite), evaluation(after, "adapter-1", suite)
