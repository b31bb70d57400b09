"""Finds what reads a data set."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from quintet.tasks import tables
from quintet.tasks.curation.columnar import Arrow, Parquet
from quintet.tasks.curation.lines import JsonLines, Separated
from quintet.tasks.curation.sources import Source
from quintet.tasks.settings import DatasetSettings


def source(settings: DatasetSettings, path: Path, needed: Collection[str], whole: bool) -> Source:
    """A data set as a source.

    Raises:
        TaskError: There is none, or nothing reads it.
    """
    kinds: dict[str, type[Source]] = {
        ".jsonl": JsonLines,
        ".ndjson": JsonLines,
        ".csv": Separated,
        ".tsv": Separated,
        ".parquet": Parquet,
    }
    kind = kinds.get(path.suffix.lower()) if path.is_file() else Arrow
    if kind is None or not path.exists():
        # Says what is wrong with the path, unless it is one of the hub's.
        tables.refuse_unreadable(settings, path)
    return (kind or Arrow)(settings, path, needed, whole)
