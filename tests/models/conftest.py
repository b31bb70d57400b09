"""Tiny random models, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_models import EXACT, make_model

from quintet.models.catalogue import locate
from quintet.models.engine import Engine


@pytest.fixture(scope="session")
def architectures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model by architecture, made once."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make_model(tmp_path_factory.mktemp(name), name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def llama(architectures: Callable[[str], Path]) -> Engine:
    """An engine on the tiny Llama in fp32; tests leave it serving whatever they like."""
    return Engine(locate(str(architectures("llama"))), EXACT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out LangChain's standard tests of what a local model has not: keys in the environment, a serial form."""
    absent = {"test_init_from_env", "test_serdes"}
    gone = [item for item in items if item.name in absent and item.path.name == "test_chat.py"]
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=gone)
