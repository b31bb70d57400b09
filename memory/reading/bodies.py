"""Looks into the JSON of records inside the database, where reading every record would take long."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from quintet.memory.schema import events

ZERO = r"(?<!\\)((?:\\\\)*)\\u0000"
"""An escaped zero byte in JSON, not a backslash that stands before such digits."""


def body(engine: sa.Engine, table: sa.FromClause = events) -> Any:
    """An event's record as JSON, to be indexed by field name: `body(engine)["score"].as_float()`."""
    if not _postgres(engine):
        # SQLite has no JSON type to cast to: it reads any text as JSON.
        return sa.type_coerce(table.c.body, sa.JSON)
    # A model may say a zero byte, and Postgres reads no field of a JSON text that escapes one.
    readable = sa.func.regexp_replace(table.c.body, ZERO, r"\1\\ufffd", "g")
    return sa.cast(sa.case((table.c.body.contains(r"\u0000", autoescape=True), readable), else_=table.c.body), sa.JSON)


def elements(engine: sa.Engine, field: str) -> Any:
    """The elements of a list in an event's record, one to a row; each is in the column `value`, as JSON."""
    listed: Any
    if _postgres(engine):
        listed = sa.func.json_array_elements(body(engine)[field])
    else:
        listed = sa.func.json_each(events.c.body, f"$.{field}")
    return listed.table_valued(sa.column("value", sa.JSON), joins_implicitly=True)


def _postgres(engine: sa.Engine) -> bool:
    return engine.dialect.name == "postgresql"
