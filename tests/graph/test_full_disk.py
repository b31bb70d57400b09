"""A full disk: one line, nothing lost, and the run goes on once there is room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from quintet.cli import main
from quintet.memory.workspace import Workspace

CONFIG = """
name = "tiny"
rounds = 1
[model]
name = "{model}"
[proposer]
families = ["gcd"]
tasks = 4
invented = 0
[solver]
samples = 2
max_tokens = 8
[evaluation]
families = {{ gcd = [3] }}
steer_items = 4
gate_items = 12
retention_items = 0
final_items = 12
"""


@contextmanager
def room_for(pages: int) -> Iterator[None]:
    """SQLite databases may hold so many pages inside, and are full beyond."""

    def limit(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", limit)


def quintet(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(workspace)])


def pages(workspace: Path) -> int:
    with Workspace(workspace).ledger() as ledger:
        ledger.run("tiny-1").digest()
    with sa.create_engine(f"sqlite:///{workspace / 'ledger.db'}").connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


@pytest.mark.timeout(240)
def test_a_full_disk_stops_a_run_in_one_line_and_costs_nothing(tmp_path: Path, tiny_model_folder: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.format(model=tiny_model_folder))
    whole, narrow = tmp_path / "whole", tmp_path / "narrow"
    found = quintet(whole, "run", str(config))
    assert found.exit_code == 0, found.output
    with room_for(pages(whole) * 2 // 3):
        found = quintet(narrow, "run", str(config))
    assert found.exit_code == 1, found.output
    lines = [line for line in found.stderr.splitlines() if line.startswith("quintet:")]
    assert len(lines) == 1
    assert "the disk is full" in lines[0]
    assert str(narrow) in lines[0]
    assert "Traceback" not in found.output
    found = quintet(narrow, "resume", "tiny-1")
    assert found.exit_code == 0, found.output
    with Workspace(narrow).ledger() as mended, Workspace(whole).ledger() as unbroken:
        assert mended.run("tiny-1").digest() == unbroken.run("tiny-1").digest()
