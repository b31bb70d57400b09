"""Reads a data set through its filters: once as a stream, then by its hashes, so that it may be larger than memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from quintet.records import Part, digest
from quintet.tasks.curation import index
from quintet.tasks.curation.comparing import Array, Columns, Reasons, repeats
from quintet.tasks.curation.contamination import Contamination
from quintet.tasks.curation.duplicates import NearDuplicates, mixed
from quintet.tasks.curation.filters import Filter, load_filter
from quintet.tasks.curation.index import Rejections, Summary
from quintet.tasks.curation.opening import source
from quintet.tasks.curation.passing import Sieve, hash64, right_answer
from quintet.tasks.curation.rules import rules
from quintet.tasks.dataset import MOST_LEVELS, Reader, closed, contradiction, too_many_levels
from quintet.tasks.errors import TaskError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row

VERSION = 1
"""Changes where the same settings and data give something else than before."""

CHUNK = 4096
"""Rows that are held in memory at once."""

CHARACTERS = 4_000_000
"""Characters of questions that are."""

PAIRS = 256
"""Questions and answers that the model scores at once."""

MOST_BEFORE = 10_000
"""Different levels, over all rows that are read, from which a column holds no difficulty, whatever is left out."""

Score = Callable[[Sequence[tuple[str, str]]], list[float]]
"""Mean log-probability of each answer after its question, in nats a token."""


Doing = Literal["reading", "comparing", "scoring"]


class Progress(Part):
    """How far curation has come."""

    name: str
    """The data set."""
    doing: Doing
    rows: int
    """Rows done."""
    share: float
    """Of this part of the work, 0 to 1."""
    seconds: float
    """Since it began."""


class Curation:
    """Filters a local data set by rules, likeness, contamination and the model's own judgement.

    After FineWeb (Penedo et al. 2024, arXiv 2406.17557) and DCLM (Li et al. 2024, arXiv 2406.11794): bad rows, rules,
    contamination, duplicates, near-duplicates, a sample, quality, in this order. Rows are read once as a stream; what
    is kept of a row in memory is a few numbers, one column at a time.

    Args:
        name: The family's name.
        settings: Where the data are, and their filters.
        items: Questions of evaluation items that no row may share words with.
        score: The model's judgement, where the settings ask for it; if `None`, no row is left out for its quality.
        scorer: What scores, such as a model's revision; part of what decides whether the work was done before.
        tell: Told now and then how far it is.
        stop: Called now and then; raises to end the work, of which nothing then remains.

    Raises:
        TaskError: The data set or a filter is missing.
    """

    name: ClassVar[str] = "curation"
    paper: ClassVar[str] = "Penedo et al. 2024 (FineWeb), arXiv 2406.17557; Li et al. 2024 (DCLM), arXiv 2406.11794"

    def __init__(
        self,
        name: str,
        settings: DatasetSettings,
        items: Sequence[str] = (),
        score: Score | None = None,
        scorer: str = "",
        tell: Callable[[Progress], None] = lambda progress: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.family, self.settings, self.filters = name, settings, settings.filters
        self._score, self._tell, self._stop = score, tell, stop
        self._items, self._scorer = sorted(set(items)) if self.filters.contamination else [], scorer
        self._reader = Reader(settings)
        self._rules: list[Filter] = rules(self.filters)
        if self.filters.contamination:
            self._rules.append(Contamination(self._items, self.filters.contamination))
        self._rules += [load_filter(given) for given in self.filters.also]
        self._source = source(settings, self._reader.path, self._reader.columns(), self._reader.check.whole)

    def into(self, place: Path) -> tuple[Path, Summary]:
        """Curate, or find that it was done before.

        Args:
            place: Folder for folders of curated data sets.

        Returns:
            The folder of this one, and its summary.

        Raises:
            RowError: A row is wrong and bad rows are refused.
            TaskError: No row is left.
        """
        self._begun = time.monotonic()
        held = self._source.digest()
        folder = place / f"{self.family}-{self._key(held)}"
        if (known := index.load(folder)) is not None:
            return folder, known
        with index.aside(folder) as working:
            found = self._curate(working, held)
            for path in [path for path in working.iterdir() if path.name not in (index.ROWS, index.REJECTED)]:
                path.unlink()
            (working / index.SUMMARY).write_text(found.model_dump_json(indent=1), encoding="utf-8")
        return folder, found

    def _key(self, held: str) -> str:
        """What decides the result."""
        settings = self.settings.model_dump(mode="json")
        scorer = self._scorer if self.filters.by_quality else ""
        code = [self._reader.check.digest, *_code(self.filters.also)]
        return digest([VERSION, held, settings, self._items, scorer, code])[:16]

    def _curate(self, folder: Path, held: str) -> Summary:
        stamp = self._source.stamp()
        columns = Columns(folder)
        near = self._near(folder)
        rejections = Rejections(folder / index.REJECTED)
        try:
            read, levels = self._stream(columns, near, rejections)
            reasons = self._compare(columns, near)
            qualities = self._judge(columns, reasons)
            self._write_down(columns, reasons, rejections)
        finally:
            rejections.close()
        kept = reasons.kept
        if not len(kept):
            said = ", ".join(f"{number:,} {reason}" for reason, number in rejections.counts.items())
            said = "; ".join([said, *rejections.failures])
            raise TaskError(f"{self.settings.path}: no rows" + (f" are left of {read:,}: {said}" if read else ""))
        if self._source.stamp() != stamp:
            raise TaskError(f"{self.settings.path} changed while it was read: leave it alone, and start anew")
        ranks = self._ranks(columns["level"][kept], levels)
        self._keep(columns, kept, ranks, folder / index.ROWS)
        answers = columns["answer"][kept]
        known = answers[answers != 0]
        return Summary(
            name=self.family,
            source=held,
            stamp=tuple(stamp),
            read=read,
            kept=len(kept),
            rejected=rejections.counts,
            examples=rejections.examples,
            levels=int(ranks.max()) + 1,
            answers=closed(len(np.unique(known)), len(known)),
            fingerprint=self._fingerprint(columns, kept, ranks),
            items=len(self._items),
            qualities=qualities,
        )

    # --- one row at a time ---------------------------------------------------------------------------------

    def _stream(self, columns: Columns, near: NearDuplicates | None, rejections: Rejections) -> tuple[int, list[int]]:
        """Write down what is to be known of every row that passes by itself.

        Returns:
            Rows read, and the levels in the order in which they were met.
        """
        levels: dict[int, int] = {}
        chunk: list[tuple[int, ...]] = []
        texts: list[str] = []
        sieve = Sieve(self._reader, self.filters, self._rules, self._source.place, rejections)
        read = held = 0

        def flush(done: int) -> None:
            columns.append(chunk)
            if near is not None:
                near.add(texts)
            chunk.clear()
            texts.clear()
            self._stop()
            self._say("reading", read, done / max(self._source.total, 1))

        for found in self._source:
            read += 1
            if (passed := sieve.passed(found)) is not None:
                item, id = passed
                level = levels.setdefault(item.level, len(levels))
                if len(levels) > MOST_BEFORE:
                    raise too_many_levels(self.settings, len(levels))
                answer = (hash64(item.key) or 1) if item.key else 0
                content = hash64(self._reader.check.content(item.truth))
                chunk.append((*found.spot, hash64(item.canonical), answer, content, level, id))
                texts.append(item.canonical)
                held += len(item.canonical)
            if read % CHUNK == 0 or held > CHARACTERS:
                flush(found.spot.offset)
                held = 0
        flush(self._source.total)
        return read, list(levels)

    # --- rows among each other -----------------------------------------------------------------------------

    def _compare(self, columns: Columns, near: NearDuplicates | None) -> Reasons:
        """Ids, questions, near-duplicates, the sample."""
        reasons = Reasons(len(columns))
        if not len(columns):
            return reasons
        self._say("comparing", len(columns), 0.0)
        if self.filters.id:
            self._ids(columns, reasons)
        self._questions(columns, reasons)
        self._say("comparing", len(columns), 0.2)
        if near is not None:
            first = near.of(reasons.alive, self._stop)
            later = np.flatnonzero(first >= 0)
            reasons.mark(later, "near-duplicate", of=first[later])
        left = reasons.kept
        if self.filters.sample is not None and len(left) > self.filters.sample:
            order = np.argsort(mixed(columns["question"][left]), kind="stable")
            reasons.mark(left[order[self.filters.sample :]], "not in the sample")
        self._say("comparing", len(columns), 1.0)
        return reasons

    def _ids(self, columns: Columns, reasons: Reasons) -> None:
        """Leave out all but the first of the rows with one id."""
        later, first = repeats(columns["id"])
        if len(later) and self.filters.bad_rows == "refuse":
            row, other = self._pair(columns, later, first)
            raise row.wrong(f"the same {self.filters.id!r} as at {other.place}", "duplicate id")
        reasons.mark(later, "duplicate id", of=first)

    def _questions(self, columns: Columns, reasons: Reasons) -> None:
        """Leave out what says the same again, and all rows of a question that has several answers."""
        left = reasons.kept
        later, first = repeats(columns["question"][left])
        answers = columns["answer"][left]
        against = answers[later] != answers[first]
        later, first = left[later], left[first]
        if against.any() and self.filters.bad_rows == "refuse":
            row, other = self._pair(columns, later[against], first[against])
            raise contradiction(row, other.place, self._reader.item(row).question)
        doubted = np.isin(first, first[against])
        # None of them can be trusted.
        reasons.mark(np.unique(np.concatenate([later[doubted], first[doubted]])), "contradiction")
        reasons.mark(later[~doubted], "duplicate", of=first[~doubted])

    def _judge(self, columns: Columns, reasons: Reasons) -> tuple[float, ...]:
        """Have the model score what is left, and leave out what lies outside the band."""
        left = reasons.kept
        if not self.filters.by_quality or self._score is None or not len(left):
            return ()
        scores = np.empty(len(left))
        for start in range(0, len(left), PAIRS):
            self._stop()
            self._say("scoring", start, start / len(left))
            rows = self._source.at(columns.spots(left[start : start + PAIRS]))
            items = [self._reader.item(row) for row in rows]
            scores[start : start + len(items)] = self._score(
                [(item.question, right_answer(item.truth)) for item in items]
            )
        least, most = self.filters.least_quality, self.filters.most_quality
        low = scores < (-np.inf if least is None else least)
        high = scores > (np.inf if most is None else most)
        reasons.mark(left[low], "quality too low", details=scores[low])
        reasons.mark(left[high], "quality too high", details=scores[high])
        known = scores[np.isfinite(scores)]
        return (
            tuple(round(float(value), 3) for value in np.percentile(known, (0, 25, 50, 75, 100))) if len(known) else ()
        )

    def _write_down(self, columns: Columns, reasons: Reasons, rejections: Rejections) -> None:
        """Write down the rows that were left out among others."""
        for reason in reasons.names:
            out, of, scores = reasons.marked(reason)
            for start in range(0, len(out), CHUNK):
                self._stop()
                part = slice(start, start + CHUNK)
                numbers = columns["number"][of[part]].tolist() if of is not None else []
                for at, row in enumerate(self._source.at(columns.spots(out[part]))):
                    detail = f"as {self._source.place(numbers[at])}" if numbers else ""
                    if scores is not None:
                        detail = f"{scores[start + at]:.3f} nats a token"
                    rejections.add(row.place, reason, detail, self._reader.item(row).question)

    def _pair(self, columns: Columns, later: Array, first: Array) -> tuple[Row, Row]:
        """The first row that repeats another, and that other."""
        one = int(np.argmin(later))
        row, other = self._source.at(columns.spots(np.array([later[one], first[one]])))
        return row, other

    # --- what is kept --------------------------------------------------------------------------------------

    def _near(self, folder: Path) -> NearDuplicates | None:
        filters = self.filters
        if not filters.near_duplicates:
            return None
        return NearDuplicates(folder, filters.near_duplicates, filters.shingle, filters.same_numbers)

    def _ranks(self, codes: Array, levels: Sequence[int]) -> Array:
        """Levels as their ranks among those that are kept: a curriculum climbs one by one, so none may be empty."""
        there = sorted(levels[code] for code in np.unique(codes))
        if len(there) > MOST_LEVELS:
            raise too_many_levels(self.settings, len(there))
        rank = {level: number for number, level in enumerate(there)}
        ranks: Array = np.array([rank.get(level, 0) for level in levels], dtype=np.uint16)[codes]
        return ranks

    def _keep(self, columns: Columns, kept: Array, ranks: Array, path: Path) -> None:
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(index.FIELDS), shape=(len(kept),))
        for name in ("offset", "size", "number", "question"):
            rows[name] = columns[name][kept]
        rows["level"] = ranks
        rows.flush()

    def _fingerprint(self, columns: Columns, kept: Array, ranks: Array) -> str:
        questions = columns["question"][kept]
        order = np.argsort(questions, kind="stable")
        found = hashlib.blake2b(self._reader.check.digest.encode(), digest_size=16)
        for values in (questions, columns["content"][kept], ranks):
            found.update(values[order].tobytes())
        return found.hexdigest()

    def _say(self, doing: Doing, rows: int, share: float) -> None:
        seconds = time.monotonic() - self._begun
        self._tell(Progress(name=self.family, doing=doing, rows=rows, share=min(share, 1.0), seconds=seconds))


def _code(given: Sequence[str]) -> list[str]:
    """The code of filters in files."""
    files = [one.rpartition(":")[0] for one in given if ".py:" in one]
    return [Path(file).read_text(encoding="utf-8") for file in files]
