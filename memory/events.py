"""What the ledger tells beside the records themselves: runs, events, and the parsed records it has at hand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any

from quintet.records import Part, Record

PARSED_BYTES = 16_000_000
"""Bodies whose parsed records are kept at hand, in characters of JSON; about five times that in memory."""


class RunInfo(Part):
    """A run as the ledger knows it."""

    run: str
    seed: int
    settings: dict[str, Any]
    status: str
    started: float
    """Seconds since the epoch."""
    seconds: float = 0.0
    """Wall time after set-up, over all its sittings."""
    tokens: int = 0
    """Prompt and completion tokens, over all calls."""
    peak_rss_mb: float = 0.0
    """Largest resident memory of all its processes together, in MB."""
    pid: int | None = None
    """The process that runs it, or last did."""


class Event(Part):
    """A record in the ledger, with what the record itself must not know: its run and time."""

    seq: int
    """Its place in the ledger; grows, and is never used twice."""
    run: str
    id: str
    kind: str
    round: int | None
    role: str | None
    adapter: str | None
    task: str | None
    time: float
    """Seconds since the epoch."""
    seconds: float | None
    """How long it took, where that was measured."""
    tokens: int | None
    """Prompt and completion tokens, for a call."""
    body: str
    """The record as JSON."""

    @cached_property
    def record(self) -> Record:
        """The record, parsed when first asked for."""
        return Record.parse(self.kind, self.body)


class Parsed:
    """Parsed records, the least recently used forgotten first; bounded by the size of their JSON."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._held: OrderedDict[tuple[str, str], tuple[Record, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> Record | None:
        """The record, if it is at hand."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def keep(self, key: tuple[str, str], record: Record, size: int) -> Record:
        """Hold a record whose JSON has `size` characters."""
        with self._lock:
            if key not in self._held:
                self._size += size
            self._held[key] = (record, size)
            while self._size > self._limit:
                self._size -= self._held.popitem(last=False)[1][1]
        return record
