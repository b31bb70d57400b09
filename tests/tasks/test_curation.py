"""Static curation: what is left out, why, and that nothing of it is lost, held in memory or done twice."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datafiles import CAPITALS, FORMATS, Rows, write_csv, write_lines  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quintet.plugins import PluginError
from quintet.records import Split
from quintet.tasks.curation import index
from quintet.tasks.curation.comparing import repeats
from quintet.tasks.curation.contamination import Contamination
from quintet.tasks.curation.curate import CHUNK, Curation, Progress
from quintet.tasks.curation.duplicates import NearDuplicates, rows_of, signatures
from quintet.tasks.curation.family import CuratedFamily
from quintet.tasks.curation.index import Summary
from quintet.tasks.errors import LevelError, TaskError
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import catalogue, load_families
from quintet.tasks.settings import DatasetSettings, FilterSettings, TaskSettings

EVERYTHING: dict[Split, float] = {"train": 1, "steer": 0, "gate": 0, "retention": 0, "final": 0}


def data(
    path: Path, check: str = "exact", level: str = "", limit: int | None = None, **filters: Any
) -> DatasetSettings:
    return DatasetSettings(
        path=str(path),
        check=check,  # type: ignore[arg-type]
        level=level,
        limit=limit,
        filters=FilterSettings(**{"bad_rows": "skip", **filters}),
    )


def curated(data: DatasetSettings, place: Path | None = None, **given: Any) -> tuple[CuratedFamily, Summary]:
    folder, found = Curation("mine", data, **given).into(place or Path(data.path).parent / "curated")
    return CuratedFamily("mine", data, folder, found), found


def rejected(family: CuratedFamily) -> list[tuple[str, str]]:
    """Place and reason of every row left out, the place without the file's folder."""
    lines = (family.folder / index.REJECTED).read_text().splitlines()
    return [(Path(line["place"]).name, line["reason"]) for line in map(json.loads, lines)]


def questions(family: CuratedFamily, level: int = 0, seed: int = 1) -> list[str]:
    return [draft.question for draft in family.draw(level, seed)]


def sums(count: int) -> Rows:
    return [{"question": f"What is {n} plus one?", "answer": n + 1} for n in range(count)]


# --- bad rows ----------------------------------------------------------------------------------------------


BAD = [
    (b'{"question": "no answer?"}', "missing column"),
    (b'{"question": null, "answer": "b"}', "empty cell"),
    (b'{"question": {"text": "a?"}, "answer": "b"}', "wrong type"),
    (b'{"question": "cut', "not JSON"),
    (b'["a?", "b"]', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'{"question": "\xff", "answer": "b"}', "not UTF-8"),
    (b'{"question": "half \\ud83d?", "answer": "b", "level": 0}', "not UTF-8"),
    (b'{"question": "nul \\u0000?", "answer": "b", "level": 0}', "NUL"),
    (b"\x00\x00\x00", "not JSON"),
    (b'{"question": "long?", "answer": "' + b"x" * 300_000 + b'"}', "too long"),
    (b'{"question": "level?", "answer": "b", "level": "hard"}', "no level"),
    (b'{"question": "level?", "answer": "b", "level": 1.5}', "no level"),
]


def test_bad_rows_are_left_out_with_place_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = [json.dumps(row).encode() for row in CAPITALS]
    path.write_bytes(b"\n".join([good[0], *(line for line, _ in BAD), b"", *good[1:]]))
    family, found = curated(data(path, level="level", row_bytes=200_000))
    assert rejected(family) == [(f"x.jsonl:{number}", reason) for number, (_, reason) in enumerate(BAD, 2)]
    assert (found.read, found.kept, sum(found.rejected.values())) == (len(BAD) + 3, 3, len(BAD))
    assert found.levels == 2, "ranks of the levels that are left"
    assert [set(questions(family, level)) for level in (0, 1)] == [
        {"Capital of France?", "Capital of Norway?"},
        {"Capital of Burkina Faso?"},
    ]
    found.model_dump_json().encode()
    assert "\0" not in str(found.examples)


@pytest.mark.parametrize(("line", "reason"), BAD[:6])
def test_bad_rows_are_refused_unless_they_may_be_skipped(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(json.dumps(CAPITALS[0]).encode() + b"\n" + line + b"\n")
    with pytest.raises(TaskError, match=r"x\.jsonl:2: "):
        curated(data(path, bad_rows="refuse", letters=0.1))
    assert list((tmp_path / "curated").iterdir()) == [], "never half of it"


def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        'question,answer\n"Two\nlines?",yes\n"never closed?,no\nOne?,1\nthree,cells,here\n'
        + f"long?,{'x' * 3000}\n"
        + '"Quoted ""well""?",2\nlast?,"no'
    )
    family, found = curated(data(path, row_bytes=2000))
    assert rejected(family) == [
        ("x.csv:4", "too long"),
        ("x.csv:6", "wrong number of cells"),
        ("x.csv:7", "too long"),
        ("x.csv:9", "not CSV"),
    ]
    assert set(questions(family)) == {"Two\nlines?", "One?", 'Quoted "well"?'}
    assert {draft.truth["source"].rpartition(":")[2] for draft in family.draw(0, 1)} == {"2", "5", "8"}
    assert found.read == 7


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "splits"])
async def test_every_format_is_read_again_by_its_place(tmp_path: Path, name: str) -> None:
    rows = [{**row, "level": 0} for row in CAPITALS] + [
        {"question": f"The {n}th city?", "answer": f"c{n}", "level": 0} for n in range(1500)
    ]
    path = FORMATS[name](tmp_path / name, rows)
    family, found = curated(data(path, longest_question=20), tmp_path / "curated")
    assert (found.read, found.kept, found.rejected) == (1503, 1502, {"question too long": 1})
    with Examiner([family], TaskSettings(shares=EVERYTHING)) as examiner:
        tasks = await examiner.draw("mine", 0, 3, 1502, "train")
        assert {task.question: task.truth["answer"] for task in tasks} == {
            row["question"]: row["answer"] for row in rows if len(row["question"]) <= 20
        }


@pytest.mark.parametrize("content", ["", "\n\n", '{"question": "a?"}\n'])
def test_no_rows_are_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(TaskError) as refused:
        curated(data(path))
    assert str(refused.value).removeprefix(f"{path}: no rows") in ("", " are left of 1: 1 missing column")


@pytest.mark.parametrize(("content", "said"), [("question,answer\n", "no rows"), ("", "not even column names")])
def test_a_header_alone_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(TaskError, match=said):
        curated(data(path))


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.zst", "x.parquet.xz"])
def test_compressed_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    for filters in (FilterSettings(), FilterSettings(bad_rows="skip")):
        with pytest.raises(TaskError, match="compressed; unpack it first"):
            load_families(datasets={"x": DatasetSettings(path=str(tmp_path / name), filters=filters)})


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no such file or folder"):
        curated(data(tmp_path / "none.jsonl"))


# --- rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "bad", "reason"),
    [
        ({"shortest_question": 10}, "Why so?", "question too short"),
        ({"longest_question": 30}, "Why " * 10 + "?", "question too long"),
        ({"shortest_answer": 2}, ("Why is the sky blue?", "x"), "answer too short"),
        ({"longest_answer": 9}, ("Why is the sky blue?", "because of it"), "answer too long"),
        ({"forbidden": [r"(?i)click here"]}, "CLICK HERE: what is it?", "forbidden pattern"),
        ({"allowed": [r"\?$", "^Say"]}, "What is that.", "no allowed pattern"),
        ({"letters": 0.5}, "12345 67890 what?", "few letters"),
        ({"symbols": 0.2}, "<<< $$$ >>> what? ###", "many symbols"),
        ({"repeated_lines": 0.3}, "same line\nsame line\nother", "repeated lines"),
        ({"repeated_words": 0.15}, "buy it now at once here " * 2 + "?", "repeated words"),
    ],
)
def test_rules_leave_out_what_they_name(tmp_path: Path, filters: dict[str, Any], bad: Any, reason: str) -> None:
    asked, answer = bad if isinstance(bad, tuple) else (bad, "blue")
    rows = [{"question": "What colour is the sky?", "answer": "blue"}, {"question": asked, "answer": answer}]
    family, found = curated(data(write_lines(tmp_path / "x.jsonl", rows), **filters))
    assert rejected(family) == [("x.jsonl:2", reason)]
    assert found.kept == 1


def test_an_expression_that_takes_for_ever_leaves_the_row_out(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [*CAPITALS, {"question": "a" * 60 + "!", "answer": "x"}])
    begun = time.monotonic()
    family, _ = curated(data(path, forbidden=[r"^(a|a)*$"], pattern_seconds=0.05))
    assert rejected(family) == [("x.jsonl:4", "pattern took too long")]
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"forbidden": ["(a"]}, "is no regular expression"),
        ({"shortest_question": 9, "longest_question": 3}, "shortest_question is 9, above longest_question"),
        ({"least_quality": -1.0, "most_quality": -2.0}, "not below most_quality"),
        ({"near_duplicates": 1.5}, "less than or equal to 1"),
        ({"shingles": 3}, "Extra inputs"),
    ],
)
def test_filters_that_make_no_sense_are_refused_at_load(filters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FilterSettings(**filters)


FILTERS = """
from quintet import Filter

class Shouts(Filter):
    name = "shouts"
    def reject(self, question, answer):
        if question == "fail":
            raise OSError("no way")
        return "shouts: in capitals" if question.isupper() else ""

class Raves(Filter):
    name = "raves"
    def reject(self, question, answer):
        return f"of its own {question}"

class Broken(Filter):
    name = "broken"
    def reject(self, question, answer):
        return {}[answer]

class Other:
    pass
"""


def test_a_filter_of_the_users_own_joins_and_may_fail(tmp_path: Path) -> None:
    (tmp_path / "filters_of_mine.py").write_text(FILTERS)
    rows = [*CAPITALS, {"question": "WHAT?", "answer": "a"}, {"question": "fail", "answer": "b"}]
    path = write_lines(tmp_path / "x.jsonl", rows)
    family, _ = curated(data(path, also=[f"{tmp_path}/filters_of_mine.py:Shouts"]))
    assert rejected(family) == [("x.jsonl:4", "shouts"), ("x.jsonl:5", "filter shouts failed")]
    assert family.curated.examples["filter shouts failed"] == f"OSError: no way, at {path}:5: fail"
    broken = data(path, also=[f"{tmp_path}/filters_of_mine.py:Broken"])
    with pytest.raises(
        TaskError, match=r"of 5: 5 filter broken failed; filter broken failed at .*x\.jsonl:1: KeyError: '"
    ):
        curated(broken)
    raves = data(write_lines(path, sums(150)), also=[f"{tmp_path}/filters_of_mine.py:Raves"])
    with pytest.raises(TaskError, match=r"no rows are left of 150: .* 50 other reasons"):
        curated(raves)
    with pytest.raises(TaskError, match="is no Filter"):
        curated(data(path, also=[f"{tmp_path}/filters_of_mine.py:Other"]))
    with pytest.raises(PluginError, match="filter 'nothing' is unknown"):
        curated(data(path, also=["nothing"]))


# --- rows among each other ---------------------------------------------------------------------------------


def test_ids_duplicates_and_contradictions(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "question": "Capital of France?", "answer": "Paris"},
        {"id": 2, "question": " capital  of FRANCE? ", "answer": "paris."},
        {"id": 1, "question": "Capital of Peru?", "answer": "Lima"},
        {"id": 3, "question": "Capital of Norway?", "answer": "Oslo"},
        {"id": 4, "question": "Capital of Norway?", "answer": "Bergen"},
        {"id": 5, "question": "Capital of Norway?", "answer": "Oslo"},
    ]
    path = write_lines(tmp_path / "x.jsonl", rows)
    family, _ = curated(data(path, id="id"))
    assert sorted(rejected(family)) == [
        ("x.jsonl:2", "duplicate"),
        ("x.jsonl:3", "duplicate id"),
        ("x.jsonl:4", "contradiction"),
        ("x.jsonl:5", "contradiction"),
        ("x.jsonl:6", "contradiction"),
    ]
    assert questions(family) == ["Capital of France?"]
    refused = {"bad_rows": "refuse", "letters": 0.1}
    with pytest.raises(TaskError, match=r"x\.jsonl:3: the same 'id' as at .*x\.jsonl:1"):
        curated(data(path, id="id", **refused))
    with pytest.raises(TaskError, match=r"x\.jsonl:5: the same question as at .*x\.jsonl:4, with another answer"):
        curated(data(path, **refused))


def test_near_duplicates_keep_the_first_and_heed_numbers(tmp_path: Path) -> None:
    asked = "A farmer has {} cows and sells {} of them at the market. How many cows are left?"
    rows = [
        {"question": asked.format(12, 5), "answer": 7},
        {"question": asked.format(13, 5), "answer": 8},
        {"question": asked.format(12, 5).replace("at the market", "on the market"), "answer": 7},
        {"question": "What is the capital of Burkina Faso, in Africa?", "answer": 1},
    ]
    path = write_lines(tmp_path / "x.jsonl", rows)
    family, _ = curated(data(path, near_duplicates=0.6))
    assert rejected(family) == [("x.jsonl:3", "near-duplicate")]
    line = json.loads((family.folder / index.REJECTED).read_text())
    assert line["detail"].endswith("x.jsonl:1")
    family, _ = curated(data(path, near_duplicates=0.6, same_numbers=False))
    assert [place for place, _ in rejected(family)] == ["x.jsonl:2", "x.jsonl:3"]


def jaccard(one: str, other: str, run: int) -> float:
    parts = [{text.encode()[at : at + run] for at in range(len(text.encode()) - run + 1)} for text in (one, other)]
    return len(parts[0] & parts[1]) / len(parts[0] | parts[1])


def test_likeness_is_estimated_without_bias(tmp_path: Path) -> None:
    source = random.Random(1)
    words = [f"w{number:03d}" for number in range(500)]
    texts, exact = [], []
    for _ in range(300):
        one = source.choices(words, k=16)
        other = [source.choice(words) if source.random() < 0.15 else word for word in one]
        texts += [" ".join(one), " ".join(other)]
        exact.append(jaccard(*texts[-2:], 5))
    near = NearDuplicates(tmp_path, 0.8, 5, same_numbers=False)
    near.add(texts)
    errors = near.likeness(np.arange(0, 600, 2), np.arange(1, 600, 2)) - np.array(exact)
    assert abs(errors.mean()) < 0.01
    assert errors.std() < 0.05


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_a_signature_is_the_texts_own_wherever_it_stands(texts: list[str], shingle: int) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    together = signatures(texts, shingle)
    for text, found in zip(texts, together, strict=True):
        assert (signatures([text], shingle)[0] == found).all()


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_let_what_is_like_enough_meet(threshold: float) -> None:
    rows = rows_of(threshold)
    assert 1 - (1 - threshold**rows) ** (128 // rows) >= 0.9


@given(st.lists(st.integers(0, 5), max_size=30))
def test_repeats_name_the_first_of_each(values: list[int]) -> None:
    later, first = repeats(np.array(values, dtype=np.uint64))
    expected = {at: values.index(value) for at, value in enumerate(values) if values.index(value) < at}
    assert dict(zip(later.tolist(), first.tolist(), strict=True)) == expected


def test_a_sample_is_of_the_questions_not_of_their_order(tmp_path: Path) -> None:
    rows = sums(200)
    one, _ = curated(data(write_lines(tmp_path / "x.jsonl", rows), sample=20))
    other, _ = curated(data(write_lines(tmp_path / "y.jsonl", rows[::-1]), sample=20))
    assert sorted(questions(one)) == sorted(questions(other))
    assert len(questions(one)) == 20
    assert one.fingerprint == other.fingerprint


# --- contamination -----------------------------------------------------------------------------------------


ITEMS = [
    "State the final answer to the following arithmetic problem: 4 + 5 =",
    "State the final answer to the following arithmetic problem: 6 + 7 =",
    "A train leaves Oslo at nine and reaches Bergen at four; how long does it take?",
    "2 + 2",
    "What is 3 + 4?",
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("Tell me: state the FINAL answer to the following arithmetic problem:  4 + 5 =", True),
        ("State the final answer to the following arithmetic problem: 9 + 1 =", False),
        ("My train leaves Oslo at nine and reaches Bergen at four, is it late?", True),
        ("My train leaves Oslo at nine and is late", False),
        ("2 + 2", True),
        ("How much is 2 + 2 + 9?", False),
        ("Dear friend, what is 3 + 4? Thanks", True),
        ("Dear friend, what is 3 - 4? Thanks", False),
    ],
)
def test_items_are_found_whole_or_by_a_run_that_is_their_own(asked: str, found: bool) -> None:
    assert bool(Contamination(ITEMS, 8).reject(asked, "")) is found


# --- the model's judgement ---------------------------------------------------------------------------------


def test_quality_is_asked_of_what_is_left_and_keeps_a_band(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def score(pairs: Sequence[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return [-float(answer) / 100 if answer != "7" else float("-inf") for _, answer in pairs]

    path = write_lines(tmp_path / "x.jsonl", [*sums(600), sums(1)[0], {"question": "short?", "answer": 5}])
    filters = {"least_quality": -4.0, "most_quality": -1.0, "shortest_question": 10}
    family, found = curated(data(path, check="number", **filters), score=score, scorer="this one")
    assert len(asked) == 600, "each once, what other filters leave out not at all"
    assert found.rejected == {
        "question too short": 1,
        "duplicate": 1,
        "quality too low": 201,
        "quality too high": 98,
    }
    assert len(found.qualities) == 5
    assert "nats a token" in (family.folder / index.REJECTED).read_text()
    curated(data(path, check="number", **filters), score=score, scorer="this one")
    assert len(asked) == 600, "not done twice"
    curated(data(path, check="number", **filters), score=score, scorer="that one")
    assert len(asked) == 1200, "another model may judge otherwise"


def test_a_predicate_has_no_answer_to_score() -> None:
    with pytest.raises(ValidationError, match="need a right answer"):
        DatasetSettings(
            path="x.jsonl", check="predicate", predicate="a.py:b", filters=FilterSettings(least_quality=-3.0)
        )


# --- streaming, and what stays on disk ---------------------------------------------------------------------


def test_a_row_of_100_megabytes_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        for row in sums(3):
            file.write(json.dumps(row).encode() + b"\n")
            file.write(b'{"question": "' + b"x" * 10_000)
            for _ in range(100 if row["answer"] == 2 else 0):
                file.write(b"x" * 1_000_000)
            file.write(b'", "answer": "1"}\n')
    code = (
        "import resource, sys; from pathlib import Path; from quintet.tasks.curation.curate import Curation; "
        "from quintet.tasks.settings import DatasetSettings; "
        f"data = DatasetSettings(path={str(path)!r}, filters=dict(bad_rows='skip', longest_question=99)); "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        f"print(Curation('x', data).into(Path({str(tmp_path / 'out')!r}))[1].rejected); "
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    rejected, grown = done.stdout.splitlines()
    assert rejected == "{'question too long': 2, 'too long': 1}"
    assert int(grown) < 60, "MiB"


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr("quintet.tasks.curation.curate.CHUNK", 256)

    def peak(rows: int) -> int:
        path = write_lines(tmp_path / f"{rows}.jsonl", sums(rows))
        tracemalloc.start()
        try:
            curated(data(path, check="number"), tmp_path / f"out-{rows}")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Some numbers for each row, a column at a time: held whole, a row takes 500 bytes and more.
    assert (peak(2500) - peak(500)) / 2000 < 120


def test_what_was_done_is_not_done_again_unless_something_changed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", sums(50))
    told: list[Progress] = []
    one, _ = curated(data(path), tell=told.append)
    assert told
    assert {progress.doing for progress in told} == {"reading", "comparing"}
    told.clear()
    again, _ = curated(data(path), tell=told.append)
    assert (again.folder, told) == (one.folder, [])
    os.utime(path, (0, 0))
    touched, _ = curated(data(path), tell=told.append)
    assert (touched.folder, told) == (one.folder, []), "the bytes count, not the time"
    assert len(questions(touched)) == 50
    others = [curated(data(path, longest_question=21))[0], curated(data(path, contamination=3), items=ITEMS)[0]]
    write_lines(path, sums(51))
    others.append(curated(data(path))[0])
    assert len({family.folder for family in [one, *others]}) == 4


def test_a_killed_curation_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", sums(3 * CHUNK))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curated(data(path), stop=stop)
    assert list((tmp_path / "curated").iterdir()) == []
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / "curated" / f"mine-0123.part-{dead.pid}"
    left.mkdir()
    family, _ = curated(data(path))
    assert not left.exists()
    (family.folder / index.ROWS).unlink()
    curated(data(path))
    assert (family.folder / index.ROWS).exists(), "what is not whole is done again"


def test_kill_9_leaves_no_half_file_and_the_work_is_done_anew(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", sums(3 * CHUNK))
    code = (
        "import sys, time; from pathlib import Path; from quintet.tasks.curation.curate import Curation; "
        "from quintet.tasks.settings import DatasetSettings; "
        f"data = DatasetSettings(path={str(path)!r}, filters=dict(bad_rows='skip', longest_question=20)); "
        "tell = lambda progress: (print(progress.doing, flush=True), time.sleep(60)); "
        f"Curation('mine', data, tell=tell).into(Path({str(tmp_path / 'curated')!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        process.kill()
    [left] = (tmp_path / "curated").iterdir()
    assert ".part-" in left.name
    family, found = curated(data(path, longest_question=20))
    assert [folder.name for folder in (tmp_path / "curated").iterdir()] == [family.folder.name]
    assert sum(found.rejected.values()) == len(rejected(family)) == 3 * CHUNK - found.kept


def test_a_file_that_changes_is_noticed_when_it_is_drawn_from(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", sums(20))
    family, _ = curated(data(path))
    os.utime(path, (0, 0))
    assert len(questions(family)) == 20
    write_lines(path, [{**row, "answer": 0} for row in sums(20)])
    with pytest.raises(LevelError, match="changed since the run began"):
        questions(pickle.loads(pickle.dumps(family)))  # noqa: S301
    path.unlink()
    with pytest.raises(TaskError, match="no such file"):
        questions(pickle.loads(pickle.dumps(family)))  # noqa: S301


def test_draws_follow_seed_and_questions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quintet.tasks.curation.family.FIRST", 128)
    monkeypatch.setattr("quintet.tasks.curation.family.TOGETHER", 50)
    rows = [{**row, "level": n % 3} for n, row in enumerate(sums(1200))]
    one, _ = curated(data(write_lines(tmp_path / "x.jsonl", rows), check="number", level="level"))
    other, _ = curated(data(write_csv(tmp_path / "y.csv", rows[::-1]), check="number", level="level"))
    first = [questions(family, 1, seed) for family in (one, other) for seed in (1, 2)]
    assert first[0] == first[2]
    assert first[1] == first[3] != first[0]
    assert sorted(questions(one, 1)) == sorted(row["question"] for row in rows if row["level"] == 1)
    assert one.levels == other.levels == 3


def test_filters_join_the_catalogue_and_leave_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write_lines(tmp_path / "x.jsonl", CAPITALS)
    datasets = {"capitals": data(path, level="level")}
    assert next(info for info in catalogue(datasets=datasets) if info.family == "capitals").levels == 2
    family = load_families(datasets=datasets)["capitals"]
    assert len(list(family.draw(0, 1))) == 2
    del family
    assert list((tmp_path / "temporary").iterdir()) == []


def test_few_answers_that_recur_are_known_to_be_few(tmp_path: Path) -> None:
    rows = [{"question": f"Is {n} even?", "answer": ["yes", "no"][n % 2]} for n in range(40)]
    _, found = curated(data(write_lines(tmp_path / "x.jsonl", rows)))
    assert found.answers == 2
    assert curated(data(write_lines(tmp_path / "y.jsonl", sums(40))))[1].answers is None


# --- the example -------------------------------------------------------------------------------------------

EXAMPLES = Path(index.__file__).parents[2] / "examples"


def test_the_examples_data_are_what_its_script_writes() -> None:
    data = EXAMPLES / "data"
    done = subprocess.run([sys.executable, data / "stalls.py"], capture_output=True, check=True)
    assert done.stdout == (data / "stalls.jsonl").read_bytes()


def test_the_examples_defects_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quintet.graph.settings import Settings

    monkeypatch.chdir(EXAMPLES.parent)
    stalls = Settings.load("examples/curated.toml", environment={}).tasks.datasets["stalls"]
    _, found = Curation("stalls", stalls, items=["Solve the following multiplication: 2 * 13."]).into(tmp_path)
    assert found.read == sum(found.rejected.values()) + found.kept
    assert set(found.rejected) == {
        "not JSON",
        "missing column",
        "wrong value",
        "question too short",
        "many symbols",
        "repeated words",
        "evaluation item",
        "duplicate id",
        "contradiction",
        "duplicate",
        "near-duplicate",
    }
