"""The ledger's tables, and the triggers that keep its events append-only."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "1"
"""The schema's version; a ledger of another one is refused, not guessed at."""

# Ids sort by byte in every database, so that digests and prefix searches agree.
Name = String().with_variant(String(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")

tables = MetaData()

meta = Table("meta", tables, Column("key", Name, primary_key=True), Column("value", Text, nullable=False))

runs = Table(
    "runs",
    tables,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("run", Name, nullable=False, unique=True),
    Column("seed", Number, nullable=False),
    Column("settings", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started", Float(53), nullable=False),
    Column("seconds", Float(53), nullable=False, default=0.0),
    Column("tokens", Number, nullable=False, default=0),
    Column("peak_rss_mb", Float(53), nullable=False, default=0.0),
    Column("pid", Integer),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    tables,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("run", Name, nullable=False),
    Column("id", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("round", Integer),
    Column("role", Name),
    Column("adapter", Name),
    Column("task", Name),
    Column("time", Float(53), nullable=False),
    Column("seconds", Float(53)),
    Column("tokens", Number),
    Column("body", Text, nullable=False),
    # Id first: it finds a record in any run, and by prefix, as well as in one run.
    UniqueConstraint("id", "run", name="events_id_run"),
    Index("events_run_seq", "run", "seq"),
    # Each ends with `seq`, by which records are asked for in order: else SQLite walks all of a run's events instead.
    Index("events_run_kind", "run", "kind", "seq"),
    Index("events_run_kind_round", "run", "kind", "round", "seq"),
    Index("events_run_task_kind", "run", "task", "kind", "seq"),
    sqlite_autoincrement=True,
)

links = Table(
    "links",
    tables,
    Column("run", Name, primary_key=True),
    Column("child", Name, primary_key=True),
    Column("parent", Name, primary_key=True),
    Column("place", Integer, nullable=False),
    Index("links_run_parent", "run", "parent"),
    sqlite_with_rowid=False,
)

APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in ("events", "links")
        for verb in ("update", "delete")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION quintet_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%% are append-only', TG_TABLE_NAME; END $$",
        *(
            f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION quintet_append_only()"
            for table in ("events", "links")
        ),
    ],
}
"""Statements, by dialect, that make the database itself refuse to change or delete what was recorded."""
