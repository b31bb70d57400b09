"""How the optimiser's steps are planned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from quintet.training.fit import plan, rate
from quintet.training.objective import Example, Segment
from quintet.training.settings import TrainingSettings


@given_settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(1, 16), st.integers(0, 2**40))
def test_every_epoch_sees_every_example_once(sizes, batch_rows: int, seed: int) -> None:
    examples = [Example((i,), (Segment((1, 2)),) * n) for i, n in enumerate(sizes)]
    settings = TrainingSettings(epochs=3, batch_rows=batch_rows)
    steps = plan(examples, settings, seed)
    drawn = [example.prompt[0] for step in steps for example in step]
    for epoch in range(3):
        assert sorted(drawn[epoch * len(sizes) : (epoch + 1) * len(sizes)]) == list(range(len(sizes)))
    assert plan(examples, settings, seed) == steps
    rows = [sum(len(example.segments) for example in step) for step in steps]
    assert max(rows) < batch_rows + max(sizes)
    assert sum(row < batch_rows for row in rows) <= 3


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_no_step_is_wasted_at_a_learning_rate_of_zero(schedule, steps: int) -> None:
    settings = TrainingSettings(schedule=schedule, warmup=0.1)
    rates = [rate(step, steps, settings) for step in range(steps)]
    assert all(0 < value <= 1 for value in rates)
    assert max(rates) == 1
    top = rates.index(1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
