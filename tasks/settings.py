"""The task room's settings: data sets, who may see a question, and how long anything may take."""

from __future__ import annotations

import math
from string import Formatter
from typing import Literal, Self

from pydantic import Field, model_validator

from quintet.records import Part, Split


class DatasetSettings(Part):
    """A data set as a task family; the family's name is that of the section, `[tasks.datasets.NAME]`."""

    path: str = Field(min_length=1)
    """A .jsonl, .ndjson, .csv, .tsv or .parquet file, or a folder written by `datasets`' `save_to_disk`, relative to
    the current directory; else OWNER/NAME of a data set on the Hugging Face hub."""
    question: str = Field("question", min_length=1)
    """The column with the question, or a template of columns, such as `What is the capital of {country}?`."""
    answer: str = Field("answer", min_length=1)
    """The column with the right answer; a predicate may do without."""
    answer_after: str = ""
    """Text that the answer follows in its column, such as `####` in GSM8K; empty takes the whole cell."""
    answer_by: Literal["text", "letter", "index"] = "text"
    """How the answer names the right choice: by its text, by a letter (A is the first), or by an index from 0."""
    check: Literal["exact", "number", "math", "choice", "predicate"] = "exact"
    """What makes an answer right: the same words (case, spacing, markup and final punctuation aside); the same number;
    mathematical equivalence (math-verify); the right choice; or a Python function."""
    choices: str = ""
    """The column with the choices, a list (in CSV: its JSON), shown with letters; for the check `choice`."""
    predicate: str = ""
    """`FILE.py:FUNCTION`, relative to the current directory, for the check `predicate`: called with the row (a
    dictionary) and the answer read in the reply (text), it returns true or false, or a score from 0 to 1."""
    level: str = ""
    """The column with the difficulty, a whole number: the smallest is level 0, the next one that occurs level 1.
    Empty means that there is one level."""
    split: str = "train"
    """Which of the splits that `datasets` knows is read; unrelated to who may see a question, which `shares` says."""
    config: str = ""
    """Configuration of a hub data set, where it has several."""
    limit: int | None = Field(None, gt=0)
    """Rows that are read, from the first; `None` reads all."""
    network: bool = False
    """Whether a hub data set may be downloaded; if not, it must be in the local cache."""

    def pieces(self) -> list[tuple[str, str]]:
        """The question as literal texts, each with the column that follows it (empty: none).

        Raises:
            ValueError: It is no template.
        """
        if "{" not in self.question and "}" not in self.question:
            return [("", self.question)]
        pieces = []
        for literal, column, specification, conversion in Formatter().parse(self.question):
            if column == "" or specification or conversion:
                raise ValueError("write {column} for a column, {{ and }} for braces")
            pieces.append((literal, column or ""))
        return pieces

    @model_validator(mode="after")
    def _fits_its_check(self) -> Self:
        try:
            shown = {column for _, column in self.pieces() if column}
        except ValueError as error:
            raise ValueError(f"question {self.question!r} is no template: {error}") from error
        if not shown:
            raise ValueError(f"question {self.question!r} shows no column: every row would ask the same")
        if self.answer in shown:
            raise ValueError(f"question shows the column {self.answer!r}, which holds the answer")
        for name in ("choices", "predicate"):
            needs = "choice" if name == "choices" else name
            if (self.check == needs) != bool(getattr(self, name)):
                raise ValueError(f'check = "{needs}" and the setting {name} need each other')
        if self.answer_by != "text" and self.check != "choice":
            raise ValueError(f'answer_by = "{self.answer_by}" is for check = "choice"')
        if self.predicate and not all(self.predicate.rpartition(":")[::2]):
            raise ValueError(f"predicate {self.predicate!r} is not FILE.py:FUNCTION")
        return self


class TaskSettings(Part):
    """How questions are shared out, and the limits on drawing, grounding and judging."""

    datasets: dict[str, DatasetSettings] = Field(default_factory=dict)
    """Data sets that join the task families, by the family's name."""
    shares: dict[Split, float] = Field(
        default={
            "train": 0.40,
            "final": 0.25,
            "gate": 0.25,
            "steer": 0.05,
            "retention": 0.05,
        }
    )
    """Share of all questions that each split owns; they sum to 1. The narrow levels hold a few hundred
    questions, and final and gate suites need new ones at every opening and round, hence their size."""
    deal: str = ""
    """Names the partition of the questions; another name deals them all out anew. Once a final suite's scores have
    steered a choice of settings, only a new deal gives questions that did not."""
    verify_seconds: float = Field(default=5.0, gt=0)
    """Seconds for grounding one proposal or judging one text; right answers take well under one."""
    draw_seconds: float = Field(default=30.0, gt=0)
    """Seconds for one draw, whatever its size; arithmetic draws thousands of questions a second."""
    start_seconds: float = Field(default=60.0, gt=0)
    """Seconds for the worker process to start; it takes about one on an idle machine."""
    memory_mb: int = Field(default=4096, ge=1024)
    """Address space of the worker process, in MiB; the hungriest family's data take about 1,000."""
    patience: int = Field(default=2000, gt=0)
    """Draws in a row that bring no new question before a level counts as used up."""
    text_characters: int = Field(default=20_000, gt=0)
    """Characters of a text that are read, from its end; more is no answer but costs the extractor's time."""

    @model_validator(mode="after")
    def _shares_are_a_partition(self) -> Self:
        missing = [split for split in Split.__args__ if split not in self.shares]  # type: ignore[attr-defined]
        if missing:
            raise ValueError(f"shares lacks {', '.join(missing)}: every split needs a share, 0 if unused")
        negative = [split for split, share in self.shares.items() if share < 0]
        if negative:
            raise ValueError(f"shares of {', '.join(negative)} is negative: a share is 0 to 1")
        total = math.fsum(self.shares.values())
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"shares sum to {total:g}: they must sum to 1")
        return self
