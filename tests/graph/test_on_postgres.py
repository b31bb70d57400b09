"""A run whose ledger and checkpoints are on a PostgreSQL server: killed and resumed, it is the run that it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import postgres
from test_resume import digest, finish, kill_after, start

from quintet.graph.checkpointing import checkpointer
from quintet.graph.errors import LoopError
from quintet.memory.workspace import Workspace


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_in_the_middle_goes_on_from_the_servers_checkpoints(
    url: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    events = finish(start(whole, tiny_model_folder))
    kill_after(start(broken, tiny_model_folder, "", url), events // 2, 0.5)
    finish(start(broken, tiny_model_folder, "tiny-1"))
    assert digest(broken) == digest(whole)
    assert not Workspace(broken).checkpoints.exists()
    assert not Workspace(broken).database.exists()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        threads = connection.execute(sa.text("SELECT DISTINCT thread_id FROM checkpoints")).scalars().all()
    engine.dispose()
    assert threads == ["tiny-1"]


async def test_a_server_that_is_away_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("langgraph.checkpoint.postgres", reason="pip install 'quintet[postgres]'")
    place = sa.make_url(f"postgresql+psycopg://quintet:secret@/ledger?host={tmp_path}")
    with pytest.raises(LoopError, match="checkpoints in postgresql") as caught:
        async with checkpointer(Workspace(tmp_path / "runs"), place):
            raise AssertionError("nobody answers")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
