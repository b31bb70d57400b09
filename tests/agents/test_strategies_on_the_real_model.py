"""Each strategy on the packaged model: it ends, within its budget, with something that can be read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quintet.graph.solving import Solved, beside, solve
from quintet.models.catalogue import PACKAGED

pytestmark = pytest.mark.slow

OURS = (
    *("beam", "best_of_n", "best_of_n_likelihood", "debate", "greedy", "plan"),
    *("recall", "reflect", "revise", "sample", "self_consistency", "tree"),
)
BUDGET = 150


def test_each_strategy_answers_a_question_within_its_budget_and_again_alike(tmp_path: Path) -> None:
    async def asked() -> dict[str, Solved]:
        found = {}
        async with beside(tmp_path, model=PACKAGED) as side:
            for name in OURS:
                [found[name]] = await solve(side, "What is 3 + 4?", name, 4, tokens=BUDGET)
            for name in ("self_consistency", "beam"):
                assert await solve(side, "What is 3 + 4?", name, 4, tokens=BUDGET) == [found[name]]
        return found

    found = asyncio.run(asked())
    for name, solved in found.items():
        assert 0 < solved.tokens <= BUDGET, name
        assert solved.solution.text.strip(), name
    steps = {name: [step.what for step in solved.solution.steps] for name, solved in found.items()}
    assert len(steps["self_consistency"]) > 3
    assert any(what.startswith("mark ") for what in steps["best_of_n"])
    assert "mark none" not in steps["best_of_n"], "the schema holds the mark to 1 to 5"
    assert "advice" in steps["revise"]
    assert "reflection" in steps["reflect"]
    assert "plan" in steps["plan"]
    assert steps["beam"][0].startswith("step 1")
    # They are not all the same thing under several names.
    assert len({solved.solution.text for solved in found.values()}) > 3
