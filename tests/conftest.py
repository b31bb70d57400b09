"""What tests share: the tiny model, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama."""
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")
