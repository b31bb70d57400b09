"""Where the graph's checkpoints are kept: in the workspace, or in the ledger's PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from quintet.graph.errors import LoopError
from quintet.memory.database import BUSY_SECONDS, shown
from quintet.memory.workspace import Workspace

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver


@contextlib.asynccontextmanager
async def checkpointer(workspace: Workspace, database: sa.URL) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """A saver of checkpoints: beside the ledger where that is on a PostgreSQL server, so that one server keeps all.

    Args:
        workspace: Of the run.
        database: Where its ledger is.

    Raises:
        LoopError: The server is away, or the library for it.
    """
    if database.get_backend_name() == "postgresql":
        async with _postgres(database) as saver:
            yield saver
        return
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    # Patient: a run that was dropped in this very process may be letting go of the file still.
    async with aiosqlite.connect(str(workspace.checkpoints), timeout=BUSY_SECONDS) as connection:
        yield AsyncSqliteSaver(connection)


@contextlib.asynccontextmanager
async def _postgres(database: sa.URL) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    try:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg import Error
    except ImportError as error:
        raise LoopError(f"checkpoints in {shown(database)}: {error}; pip install 'quintet[postgres]'") from None
    place = database.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        async with AsyncPostgresSaver.from_conn_string(place) as saver:
            await saver.setup()
            yield saver
    except Error as error:
        said = " ".join(str(error).split())
        raise LoopError(f"checkpoints in {shown(database)}: {said}; quintet resume goes on", fault=True) from error
