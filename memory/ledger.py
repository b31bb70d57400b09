"""The ledger: the append-only log of everything that happened, the one truth that all else is read from."""

from __future__ import annotations

import difflib
import hashlib
import json
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from quintet.memory.database import connect, reporting, shown
from quintet.memory.errors import LedgerError
from quintet.memory.events import PARSED_BYTES, Event, Parsed, RunInfo
from quintet.memory.schema import events, links, runs
from quintet.records import KINDS, Attempt, Call, Record, Stage, digest

__all__ = ["Event", "Ledger", "RunInfo", "RunLedger"]

R = TypeVar("R", bound=Record)

AT_ONCE = 500
"""Ids in one statement; a database admits only so many."""


class Ledger:
    """The ledger of a workspace, which holds many runs. Safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._parsed = Parsed(PARSED_BYTES)
        # SQLite has one writer anyway; waiting here is cheaper than its busy handler.
        self._writing = threading.Lock()

    @classmethod
    def open(cls, place: str | Path) -> Ledger:
        """Open a ledger by path or database URL; it is created where there is none.

        Raises:
            LedgerError: It cannot be opened, is damaged, is no ledger, or has another schema version.
        """
        return cls(connect(place))

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with.

        Raises:
            LedgerError: The database failed.
        """
        with reporting(self.engine.url), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: all of it, or nothing.

        Raises:
            LedgerError: The database failed; `fault` says whether the disk or the server is to blame.
        """
        with self._writing, reporting(self.engine.url), self.engine.begin() as connection:
            yield connection

    def begin(self, run: str, seed: int, settings: dict[str, Any], status: str = "running") -> RunLedger:
        """Enter a new run.

        Raises:
            LedgerError: The name is taken.
        """
        values = {"run": run, "seed": seed, "settings": json.dumps(settings), "status": status, "started": time.time()}
        with self.writing() as connection:
            if not connection.execute(_unless_there(self.engine, runs).values(**values)).rowcount:
                raise LedgerError(f"run {run!r} exists in {shown(self.engine.url)}: choose another name, or resume it")
        return RunLedger(self, run)

    def forget(self, run: str) -> None:
        """Strike out a run under which nothing was recorded.

        Raises:
            LedgerError: Something was.
        """
        if RunLedger(self, run).newest():
            raise LedgerError(f"run {run!r} has records, which are append-only")
        with self.writing() as connection:
            connection.execute(runs.delete().where(runs.c.run == run))

    def run(self, run: str | None = None) -> RunLedger:
        """A run by name, or the newest.

        Raises:
            LedgerError: There is no such run; the message names the nearest.
        """
        with self.reading() as connection:
            names = list(connection.execute(sa.select(runs.c.run).order_by(runs.c.number.desc())).scalars())
        if not names:
            raise LedgerError(f"no runs in {shown(self.engine.url)}")
        if run is not None and run not in names:
            near = difflib.get_close_matches(run, names, 1, 0.0)[0]
            raise LedgerError(f"no run {run!r} in {shown(self.engine.url)}; the nearest name is {near!r}")
        return RunLedger(self, run or names[0])

    def runs(self) -> list[RunInfo]:
        """All runs, newest first."""
        with self.reading() as connection:
            return [_info(row) for row in connection.execute(sa.select(runs).order_by(runs.c.number.desc()))]

    def holder(self, id: str) -> RunLedger:
        """The newest run that holds a record with this id, or with an id that begins so.

        Raises:
            LedgerError: No record has it, or several ids begin with it.
        """
        return RunLedger(self, self._find(id)[0])

    def resolve(self, id: str) -> str:
        """The full id that an id's beginning stands for.

        Raises:
            LedgerError: No record has it, or several ids begin with it.
        """
        return self._find(id)[1]

    def _find(self, id: str) -> tuple[str, str]:
        within = (events.c.id >= id) & (events.c.id < id + "\U0010ffff")
        with self.reading() as connection:
            ids = list(connection.execute(sa.select(events.c.id).where(within).distinct().limit(4)).scalars())
            full = id if id in ids else ids[0] if len(ids) == 1 else None
            if not id or full is None:
                what = (
                    f"several ids begin with {id!r} ({', '.join(ids[:3])})" if ids else f"no record has the id {id!r}"
                )
                raise LedgerError(f"{what} in {shown(self.engine.url)}")
            held = sa.select(events.c.run).join(runs, runs.c.run == events.c.run).where(events.c.id == full)
            run = connection.execute(held.order_by(runs.c.number.desc()).limit(1)).scalar_one()
        return run, full


class RunLedger:
    """The ledger, bound to one run. Satisfies the `CallLog` port of `quintet.models.waves`."""

    def __init__(self, ledger: Ledger, run: str, replays: str | None = None) -> None:
        """Nothing is read before it is asked for.

        Args:
            ledger: That holds it.
            run: Its name.
            replays: Another run of this ledger, whose calls answer wherever the same is asked.
        """
        self.ledger, self.run, self.replays = ledger, run, replays

    @property
    def info(self) -> RunInfo:
        """The run as it stands now."""
        with self.ledger.reading() as connection:
            return _info(connection.execute(sa.select(runs).where(runs.c.run == self.run)).one())

    def add(self, *records: Record, seconds: float | None = None, tokens: int | None = None) -> int:
        """Append records in one transaction. One that is there already, by id, changes nothing.

        Args:
            records: In the order they happened.
            seconds: How long each took.
            tokens: Tokens each used; a `Call` knows its own, where its model tells.

        Returns:
            How many were new.

        Raises:
            LedgerError: The database failed; nothing of it was written.
        """
        if not records:
            return 0
        now = time.time()
        rows: list[dict[str, Any]] = []
        parents: list[dict[str, Any]] = []
        for record in records:
            used = tokens
            if used is None and isinstance(record, Call):
                used = record.prompt_tokens + record.completion_tokens
            rows.append({"run": self.run, "time": now, "seconds": seconds, "tokens": used, **_columns(record)})
            parents += [
                {"run": self.run, "child": record.id, "parent": parent, "place": place}
                for place, parent in enumerate(record.parents)
            ]
        with self.ledger.writing() as connection:
            counting = {"preserve_rowcount": True}
            new = connection.execute(
                _unless_there(self.ledger.engine, events), rows, execution_options=counting
            ).rowcount
            if parents:
                connection.execute(_unless_there(self.ledger.engine, links), parents)
        return int(new)

    def get(self, id: str) -> Record | None:
        """The record with this id, or `None`."""
        if (held := self.ledger._parsed.get((self.run, id))) is not None:
            return held
        chosen = self._chosen().where(events.c.id == id)
        with self.ledger.reading() as connection:
            row = connection.execute(chosen).first()
        return self._parse(row) if row else None

    def get_many(self, ids: Collection[str]) -> dict[str, Record]:
        """The records with these ids, those there are, by id."""
        held = {id: record for id in ids if (record := self.ledger._parsed.get((self.run, id))) is not None}
        missing = [id for id in ids if id not in held]
        for first in range(0, len(missing), AT_ONCE):
            chosen = self._chosen().where(events.c.id.in_(missing[first : first + AT_ONCE]))
            with self.ledger.reading() as connection:
                held.update((row.id, self._parse(row)) for row in connection.execute(chosen).all())
        return held

    def attempt_adapters(self, ids: Collection[str]) -> dict[str, str]:
        """By attempt, the adapter it was made under, empty where its model has none; the texts are not read."""
        found, wanted = dict[str, str](), list(ids)
        for first in range(0, len(wanted), AT_ONCE):
            some = events.c.id.in_(wanted[first : first + AT_ONCE]) & (events.c.kind == Attempt.kind)
            chosen = sa.select(events.c.id, events.c.adapter).where(events.c.run == self.run, some)
            with self.ledger.reading() as connection:
                found.update((id, adapter or "") for id, adapter in connection.execute(chosen))
        return found

    def find(
        self,
        kind: type[R],
        *,
        round: int | None = None,
        role: str | None = None,
        task: str | None = None,
        adapter: str | None = None,
    ) -> list[R]:
        """Records of a kind, in the order they were recorded; what is not `None` must match."""
        chosen = self._chosen().where(events.c.kind == kind.kind).order_by(events.c.seq)
        for column, value in ((events.c.round, round), (events.c.role, role), (events.c.task, task)):
            if value is not None:
                chosen = chosen.where(column == value)
        if adapter is not None:
            chosen = chosen.where(events.c.adapter == adapter)
        with self.ledger.reading() as connection:
            rows = connection.execute(chosen).all()
        return [record for row in rows if isinstance(record := self._parse(row), kind)]

    def events(self, after: int = 0, limit: int = 1000, kinds: Sequence[type[Record]] = ()) -> list[Event]:
        """Events with a `seq` above `after`, in order, at most `limit`; of these kinds only, if any are named."""
        chosen = sa.select(events).where(events.c.run == self.run, events.c.seq > after)
        if kinds:
            chosen = chosen.where(events.c.kind.in_([kind.kind for kind in kinds]))
        with self.ledger.reading() as connection:
            rows = connection.execute(chosen.order_by(events.c.seq).limit(limit)).mappings().all()
        return [Event.model_construct(**row) for row in rows]

    def newest(self) -> int:
        """The `seq` of the newest event; 0 if there is none."""
        with self.ledger.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.max(events.c.seq)).where(events.c.run == self.run)) or 0)

    def lookup(self, request: str) -> Call | None:
        """The answered call with this request; one without a reply is asked again."""
        call = self.get(f"{Call.kind}-{digest({'request': request})[:16]}")
        if isinstance(call, Call) and call.completions and call.request == request:
            return call
        return RunLedger(self.ledger, self.replays).lookup(request) if self.replays else None

    def parents(self, id: str) -> list[str]:
        """Ids that a record came from, in the order it names them."""
        chosen = sa.select(links.c.parent).where(links.c.run == self.run, links.c.child == id)
        with self.ledger.reading() as connection:
            return list(connection.execute(chosen.order_by(links.c.place)).scalars())

    def children(self, id: str) -> list[str]:
        """Ids of the records that came from this one, in the order they were recorded."""
        joined = links.join(events, (events.c.id == links.c.child) & (events.c.run == links.c.run))
        chosen = sa.select(events.c.seq, links.c.child).select_from(joined)
        # Sorted here: asked to sort, SQLite walks all events in order instead.
        with self.ledger.reading() as connection:
            rows = connection.execute(chosen.where(links.c.run == self.run, links.c.parent == id)).all()
        return [child for _, child in sorted(tuple(row) for row in rows)]

    def count(self, kind: type[Record], round: int | None = None) -> int:
        """How many records of a kind there are, in one round or in all."""
        return int(self._total(sa.func.count(), kind, round))

    def seconds(self, kind: type[Record] = Stage, round: int | None = None) -> float:
        """Seconds spent on a kind of record, in one round or in all."""
        return float(self._total(sa.func.sum(events.c.seconds), kind, round))

    def tokens(self, round: int | None = None, after: int = 0) -> int:
        """Prompt and completion tokens of calls, of one round or of all, of events with a `seq` above `after`.

        Round 0, which is what a user asked beside the run, is in none.
        """
        return int(self._total(sa.func.sum(events.c.tokens), Call, round, after, least_round=1))

    def call_tokens(self, round: int) -> list[tuple[str, str | None, int]]:
        """Id, task and tokens of each call of a round, in the order they were recorded; no call's body is read."""
        e = events.c
        chosen = sa.select(e.id, e.task, e.tokens).where(e.run == self.run, e.kind == Call.kind, e.round == round)
        with self.ledger.reading() as connection:
            rows = connection.execute(chosen.order_by(e.seq)).all()
        return [(row.id, row.task, int(row.tokens or 0)) for row in rows]

    def stage_seconds(self) -> dict[int, dict[str, float]]:
        """Seconds by round and stage."""
        found: dict[int, dict[str, float]] = {}
        # Few events: a handful a round.
        for event in self.events(limit=1_000_000, kinds=[Stage]):
            stage = event.record
            if isinstance(stage, Stage):
                stages = found.setdefault(stage.round, {})
                stages[stage.name] = stages.get(stage.name, 0.0) + (event.seconds or 0.0)
        return found

    def role_tokens(self) -> dict[int, dict[str, int]]:
        """Prompt and completion tokens by round and role; round 0, before the first, counts too."""
        e = events.c
        chosen = (
            sa.select(e.round, e.role, sa.func.sum(e.tokens))
            .where(e.run == self.run, e.kind == Call.kind)
            .group_by(e.round, e.role)
            .order_by(e.round, e.role)
        )
        found: dict[int, dict[str, int]] = {}
        with self.ledger.reading() as connection:
            for number, role, tokens in connection.execute(chosen):
                found.setdefault(number, {})[role] = int(tokens or 0)
        return found

    def update(
        self,
        *,
        status: str | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        peak_rss_mb: float | None = None,
        pid: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Set what is known about the run; `None` leaves a value as it is."""
        given = {
            "status": status,
            "seconds": seconds,
            "tokens": tokens,
            "peak_rss_mb": peak_rss_mb,
            "pid": pid,
            "settings": None if settings is None else json.dumps(settings),
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if changes:
            with self.ledger.writing() as connection:
                connection.execute(runs.update().where(runs.c.run == self.run).values(**changes))

    def digest(self) -> str:
        """SHA-256 over all (id, kind, body), sorted: equal for two runs with the same ledger, times aside."""
        hashed = hashlib.sha256()
        with self.ledger.reading() as connection:
            chosen = self._chosen().order_by(events.c.id).execution_options(yield_per=1000)
            for row in connection.execute(chosen):
                hashed.update(json.dumps(list(row)).encode() + b"\n")
        return hashed.hexdigest()

    def _chosen(self) -> sa.Select[Any]:
        return sa.select(events.c.id, events.c.kind, events.c.body).where(events.c.run == self.run)

    def _parse(self, row: sa.Row[Any]) -> Record:
        id, kind, body = row.id, row.kind, row.body
        key, parsed = (self.run, id), self.ledger._parsed
        if (held := parsed.get(key)) is not None:
            return held
        try:
            return parsed.keep(key, Record.parse(kind, body), len(body))
        except (KeyError, ValueError) as error:
            known = "" if kind in KINDS else f": this Quintet knows no {kind!r}"
            line = f"record {id} of run {self.run!r} cannot be read{known or ': ' + str(error)}"
            raise LedgerError(line, fault=True) from error

    def _total(
        self,
        what: sa.ColumnElement[Any],
        kind: type[Record],
        round: int | None,
        after: int = 0,
        least_round: int | None = None,
    ) -> float:
        chosen = sa.select(what).where(events.c.run == self.run, events.c.kind == kind.kind, events.c.seq > after)
        if round is not None:
            chosen = chosen.where(events.c.round == round)
        elif least_round is not None:
            chosen = chosen.where(events.c.round >= least_round)
        with self.ledger.reading() as connection:
            return connection.execute(chosen).scalar() or 0


def _columns(record: Record) -> dict[str, Any]:
    named = {name: getattr(record, name, None) for name in ("round", "role", "adapter", "task")}
    return {"id": record.id, "kind": record.kind, "body": record.model_dump_json(), **named}


def _unless_there(engine: sa.Engine, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def _info(row: sa.Row[Any]) -> RunInfo:
    values = dict(row._mapping)
    del values["number"]
    return RunInfo(**{**values, "settings": json.loads(values["settings"])})
