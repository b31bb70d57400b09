"""Examiners for the tests of the task room; the worker process is shared where a test does not harm it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quintet.tasks.examiner import Examiner, load_families
from quintet.tasks.settings import TaskSettings


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with Examiner(list(load_families().values()), TaskSettings()) as examiner:
        yield examiner


@pytest.fixture
def hostile() -> Iterator[Examiner]:
    from hostile import Hostile, Overflowing  # type: ignore[import-not-found]

    settings = TaskSettings(verify_seconds=1, draw_seconds=1)
    with Examiner([Hostile(), Overflowing()], settings) as examiner:
        yield examiner
