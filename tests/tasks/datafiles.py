"""Data sets in files of every format, and the families made of them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from quintet.tasks.dataset import DatasetFamily
from quintet.tasks.errors import TaskError
from quintet.tasks.family import Draft
from quintet.tasks.settings import DatasetSettings

CAPITALS = [
    {"question": "Capital of France?", "answer": "Paris", "level": 0},
    {"question": "Capital of Norway?", "answer": "Oslo", "level": 0},
    {"question": "Capital of Burkina Faso?", "answer": "Ouagadougou", "level": 2},
]
Rows = list[dict[str, Any]]


def write_lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Rows, separator: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_tsv(path: Path, rows: Rows) -> Path:
    return write_csv(path, rows, "\t")


def write_parquet(path: Path, rows: Rows) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_saved(path: Path, rows: Rows) -> Path:
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


def write_splits(path: Path, rows: Rows) -> Path:
    import datasets

    rest = datasets.Dataset.from_list([{"question": "Capital of Peru?", "answer": "Lima", "level": 0}])
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows), "test": rest}).save_to_disk(str(path))
    return path


FORMATS = {
    "x.jsonl": write_lines,
    "x.ndjson": write_lines,
    "x.csv": write_csv,
    "x.tsv": write_tsv,
    "x.parquet": write_parquet,
    "saved": write_saved,
    "splits": write_splits,
}


def family(path: Path | str, **given: Any) -> DatasetFamily:
    return DatasetFamily("mine", DatasetSettings(path=str(path), **given))


def refusal(path: Path | str, **given: Any) -> str:
    with pytest.raises(TaskError) as refused:
        family(path, **given)
    assert "\n" not in str(refused.value)
    said = str(refused.value)
    return said.replace(f"{Path(path).parent}{os.sep}", "") if Path(path).is_absolute() else said


def drawn(made: DatasetFamily, level: int = 0, seed: int = 1) -> list[Draft]:
    return list(made.draw(level, seed))
