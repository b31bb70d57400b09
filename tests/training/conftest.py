from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_rows import made_rows

from quintet.training.settings import TrainingSettings
from quintet.training.spec import TrainSpec


@pytest.fixture
def make_spec(tiny_model_folder: Path, tmp_path: Path) -> Callable[..., TrainSpec]:
    """A spec on the tiny model; keyword arguments of the settings, or of the spec."""

    def make(**changes: Any) -> TrainSpec:
        of_spec = {key: changes.pop(key) for key in list(changes) if key in TrainSpec.model_fields}
        values = {"rank": 4, "alpha": 8, "epochs": 1, "threads": 1, "learning_rate": 5e-3, **changes}
        return TrainSpec(
            **{
                "model": tiny_model_folder,
                "name": "tiny",
                "rows": made_rows(10),
                "settings": TrainingSettings(**values),
                "out": tmp_path / "adapters" / "adapter-1",
                **of_spec,
            }
        )

    return make
