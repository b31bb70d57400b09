from __future__ import annotations

import pytest

from quintet.plugins import PluginError
from quintet.training.errors import TrainError
from quintet.training.objective import load_objective
from quintet.training.settings import TrainingSettings
from quintet.training.sft import RejectionSampling


def test_the_built_in_objective_is_found_by_name() -> None:
    assert isinstance(load_objective(TrainingSettings()), RejectionSampling)


def test_an_unknown_objective_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(PluginError, match="did you mean 'sft'"):
        load_objective(TrainingSettings(objective="stf"))


def test_options_that_the_objective_does_not_take_are_refused_in_one_line() -> None:
    with pytest.raises(TrainError, match="beta") as caught:
        load_objective(TrainingSettings(objective_options={"beta": 0.1}))
    assert "\n" not in str(caught.value)
