"""The task room's settings: data sets, who may see a question, and how long anything may take."""

from __future__ import annotations

import math
from string import Formatter
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from quintet.records import Part, Split


class FilterSettings(Part):
    """What is left out of a data set, and why; nothing unless a setting here says so."""

    bad_rows: Literal["refuse", "skip"] = "refuse"
    """What becomes of a row that cannot be read (no JSON, a missing column, a wrong type): `refuse` ends with its
    place; `skip` leaves it out, with the reason on record."""
    row_bytes: int = Field(default=1_000_000, gt=0)
    """Bytes of a row of a text file; a longer one is a bad row, and is never held in memory."""
    id: str = ""
    """The column with the rows' ids: of several rows with one id, the first is kept."""
    shortest_question: int = Field(default=0, ge=0)
    """Fewest characters of a question."""
    longest_question: int | None = Field(default=None, gt=0)
    """Most characters of a question."""
    shortest_answer: int = Field(default=0, ge=0)
    """Fewest characters of a right answer."""
    longest_answer: int | None = Field(default=None, gt=0)
    """Most characters of a right answer."""
    allowed: tuple[str, ...] = ()
    """Regular expressions, one of which a question must match somewhere."""
    forbidden: tuple[str, ...] = ()
    """Regular expressions that a question may match nowhere."""
    pattern_seconds: float = Field(default=0.1, gt=0)
    """Seconds that an expression may take over one question, which is left out if it takes longer."""
    letters: float = Field(default=0.0, ge=0, le=1)
    """Least share of letters among a question's characters, spaces aside."""
    symbols: float = Field(default=1.0, ge=0, le=1)
    """Most that may be neither letters, digits nor common punctuation, as a share of the characters, spaces aside."""
    repeated_lines: float = Field(default=1.0, ge=0, le=1)
    """Most lines of a question that may repeat an earlier one, as a share; 0.3 in Gopher and FineWeb."""
    repeated_words: float = Field(default=1.0, ge=0, le=1)
    """Most words of a question that may lie in a run of five that stood there before, as a share; 0.15 in Gopher."""
    near_duplicates: float = Field(default=0.0, ge=0, le=1)
    """Likeness (Jaccard, of runs of characters) from which the later of two questions is left out, such as 0.8;
    0 looks for none. It is estimated, to about 0.04."""
    shingle: int = Field(default=5, ge=1, le=8)
    """Bytes of the runs that likeness is counted in."""
    same_numbers: bool = True
    """Whether only questions with the same numbers, in the same order, may be near-duplicates: where questions are of
    one template, the numbers make them different ones."""
    contamination: int = Field(default=0, ge=0)
    """Words of a run that a question may not share with an evaluation item of another family, such as 8 or 13; nor
    may it hold a shorter item whole. 0 does not look."""
    least_quality: float | None = None
    """Least mean log-probability, in nats a token, that the base model gives the right answer after its question:
    below is noise, or beyond the model. It is at most 0."""
    most_quality: float | None = None
    """Most of the same: above, the model knows the answer already."""
    sample: int | None = Field(default=None, gt=0)
    """Rows that are kept at most, chosen by the question's hash, before the model scores them."""
    also: tuple[str, ...] = ()
    """Further filters: names of entry points in `quintet.filters`, or `FILE.py:CLASS`."""

    @property
    def active(self) -> bool:
        """Whether anything is to be filtered."""
        return self != FilterSettings()

    @property
    def by_quality(self) -> bool:
        """Whether the model is to score rows."""
        return self.least_quality is not None or self.most_quality is not None

    @model_validator(mode="after")
    def _can_keep_something(self) -> Self:
        for what in ("question", "answer"):
            least, most = getattr(self, f"shortest_{what}"), getattr(self, f"longest_{what}")
            if most is not None and least > most:
                raise ValueError(f"shortest_{what} is {least}, above longest_{what}, which is {most}")
        band = (self.least_quality, self.most_quality)
        if band[0] is not None and band[1] is not None and band[0] >= band[1]:
            raise ValueError(f"least_quality is {band[0]}, not below most_quality, which is {band[1]}")
        for name in ("allowed", "forbidden"):
            for pattern in getattr(self, name):
                _refuse_no_pattern(name, pattern)
        return self


def _refuse_no_pattern(name: str, pattern: str) -> None:
    import regex  # type: ignore[import-untyped]

    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from error


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
    filters: FilterSettings = FilterSettings()
    """What is left out of it, and why. With any of these, the data set may be larger than memory."""

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
        if self.check == "predicate" and self.filters.by_quality:
            raise ValueError("filters.least_quality and most_quality need a right answer, which a predicate has not")
        if self.predicate and not all(self.predicate.rpartition(":")[::2]):
            raise ValueError(f"predicate {self.predicate!r} is not FILE.py:FUNCTION")
        return self


class SandboxSettings(Part):
    """Limits on a program that a model wrote; it may start no other process and no thread, whatever stands here."""

    seconds: float = Field(default=5.0, gt=0)
    """Seconds that it may run, from when its first line begins; the interpreter's start is not counted."""
    cpu_seconds: int = Field(default=2, ge=1)
    """Whole seconds of computing; an endless loop ends here, however busy the machine is."""
    memory_mb: int = Field(default=256, ge=64)
    """Address space, in MiB; Python itself takes about 30."""
    output_bytes: int = Field(default=65_536, gt=0)
    """Bytes that are kept of its output, and as many of its errors; more ends it."""
    file_mb: int = Field(default=8, ge=1)
    """MiB that one file may have; its scratch folder may hold twice as much."""


class PythonSettings(Part):
    """The environment `python_functions`."""

    turns: int = Field(default=3, ge=1, le=20)
    """Versions of its code that the model may write. All their runs must fit into `verify_seconds`: more turns leave
    each run less time."""


class TaskSettings(Part):
    """How questions are shared out, and the limits on drawing, grounding and judging."""

    datasets: dict[str, DatasetSettings] = Field(default_factory=dict)
    """Data sets that join the task families, by the family's name."""
    sandbox: SandboxSettings = Field(default_factory=SandboxSettings)
    """Limits on programs that a model wrote."""
    python_functions: PythonSettings = Field(default_factory=PythonSettings)
    """The environment in which the model writes functions."""
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

    @field_validator("datasets")
    @classmethod
    def _names_are_those_of_families(cls, datasets: dict[str, DatasetSettings]) -> dict[str, DatasetSettings]:
        if odd := [name for name in datasets if "@" in name]:
            raise ValueError(f"{odd[0]!r} names a task family: its name holds no @, which stands for a level")
        return datasets

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
