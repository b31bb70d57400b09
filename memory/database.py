"""Opening the ledger's database, SQLite or Postgres, and turning its errors into one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from quintet.memory import schema
from quintet.memory.errors import LedgerError

BUSY_SECONDS = 30.0
"""How long a write waits for another process's transaction."""

_FAULTS = (
    *("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
    *("SQLITE_CORRUPT", "SQLITE_BUSY", "08", "53", "57P", "58", "XX"),
)
"""How the error codes begin (SQLite's names, Postgres's SQLSTATEs) that mean the disk, its permissions, damage, a lock
that nobody lets go of, or a server that is short of something or goes down."""


def connect(place: str | Path) -> sa.Engine:
    """An engine on a ledger's database, which is created where there is none.

    Args:
        place: A database URL, or the path of a SQLite file.

    Raises:
        LedgerError: It cannot be opened, is no ledger, or is one of another schema version.
    """
    url = _url(place)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"cannot create the folder of {url.database}: {error.strerror}", fault=True) from error
    engine: sa.Engine | None = None
    try:
        with reporting(url):
            engine = _engine(url)
            _prepare(engine, url)
            return engine
    except BaseException:
        if engine is not None:
            engine.dispose()
        raise


@contextmanager
def reporting(url: sa.URL) -> Iterator[None]:
    """Turn a database error inside into a `LedgerError` that keeps its code and knows a fault."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
        line = f"ledger {shown(url)}: {cause}" + (f" ({code})" if code else "")
        if code == "SQLITE_NOTADB" or code.startswith("SQLITE_CORRUPT"):
            line += "; the file is damaged or no ledger: move it away or restore it"
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise LedgerError(line, fault=lost or code.startswith(_FAULTS), code=code) from error
    except ImportError as error:
        raise LedgerError(f"ledger {shown(url)}: {error}; pip install 'quintet[postgres]'") from error


def shown(url: sa.URL) -> str:
    """Where the ledger is, without a password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _url(place: str | Path) -> sa.URL:
    if isinstance(place, Path) or "://" not in place:
        return sa.URL.create("sqlite", database=str(place))
    try:
        url = sa.make_url(place)
    except SQLAlchemyError as error:
        raise LedgerError(f"database {place!r} is no database URL: {error}") from error
    if url.get_backend_name() == "postgresql" and url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in schema.APPEND_ONLY:
        raise LedgerError(f"database {shown(url)}: only sqlite and postgresql are known")
    return url


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY_SECONDS)})
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def _prepare(engine: sa.Engine, url: sa.URL) -> None:
    """Create the tables where there are none, and check the version where there are some."""
    with engine.connect() as connection:
        found = set(sa.inspect(connection).get_table_names())
    if not found:
        _create(engine)
    elif "meta" not in found or "events" not in found:
        raise LedgerError(f"{shown(url)} holds other tables ({', '.join(sorted(found)[:3])}): it is no Quintet ledger")
    with engine.connect() as connection:
        row = connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema")).first()
    version = row[0] if row else "none"
    if version != schema.VERSION:
        raise LedgerError(
            f"ledger {shown(url)} has schema version {version}, this Quintet writes {schema.VERSION}: use another "
            "workspace, or the Quintet that wrote it"
        )


def _create(engine: sa.Engine) -> None:
    sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        # Two processes may meet a new workspace at once; one creates, the other waits and finds it done.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "SELECT pg_advisory_xact_lock(7012025)")
        schema.tables.create_all(connection)
        for statement in schema.APPEND_ONLY[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        held = connection.execute(sa.select(schema.meta.c.key)).first()
        if held is None:
            connection.execute(schema.meta.insert().values(key="schema", value=schema.VERSION))
