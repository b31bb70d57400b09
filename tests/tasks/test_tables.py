from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest
from datafiles import (  # type: ignore[import-not-found]
    CAPITALS,
    FORMATS,
    drawn,
    family,
    refusal,
    write_csv,
    write_lines,
    write_splits,
)

from quintet.records import Split
from quintet.tasks.errors import LevelTooNarrow
from quintet.tasks.examiner import Examiner
from quintet.tasks.settings import TaskSettings


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "x.jsonl", CAPITALS)


# --- formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_gives_the_same_questions_in_the_worker(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path / name, CAPITALS)
    made = family(path, level="level")
    assert made.levels == 2, "ranks, so that no level is empty"
    shares: dict[Split, float] = {"train": 1, "steer": 0, "gate": 0, "retention": 0, "final": 0}
    with Examiner([made], TaskSettings(shares=shares)) as examiner:
        tasks = [*await examiner.draw("mine", 0, 3, 2, "train"), *await examiner.draw("mine", 1, 3, 1, "train")]
        assert {task.question: task.truth["answer"] for task in tasks} == {
            row["question"]: row["answer"] for row in CAPITALS
        }
        assert all(task.truth["answer"] not in task.question for task in tasks)
        place = tasks[-1].truth["source"].removeprefix(str(path))
        assert place == {".jsonl": ":3", ".ndjson": ":3", ".csv": ":4", ".tsv": ":4"}.get(path.suffix, " row 3")
        right, wrong = await examiner.judge(tasks[-1], ["Answer: ouagadougou.", "Answer: Oslo"])
        assert (right.correct, right.strict, wrong.correct) == (True, True, False)


def test_the_split_of_a_saved_folder_is_chosen(tmp_path: Path) -> None:
    path = write_splits(tmp_path / "splits", CAPITALS)
    assert [draft.question for draft in drawn(family(path, split="test"))] == ["Capital of Peru?"]
    assert refusal(path, split="dev") == "splits: no split 'dev'; there are train, test"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a download of `owner/letters` leaves in the cache."""
    import datasets
    from datasets.packaged_modules.json.json import Json

    data = str(write_lines(tmp_path / "d.jsonl", CAPITALS))
    cache = tmp_path / "cache"
    builder = Json(cache_dir=str(tmp_path / "other"), dataset_name="letters", data_files={"train": [data]})
    builder.download_and_prepare(output_dir=str(cache / "owner___letters" / "default" / "0.0.0" / "abc"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return "owner/letters"


async def test_a_hub_data_set_comes_from_the_local_cache(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    with Examiner([family(hub, config="default")], TaskSettings()) as examiner, pytest.raises(LevelTooNarrow):
        await examiner.draw("mine", 0, 1, 50, "train")
    said = refusal("owner/nothing")
    assert said.startswith("owner/nothing: no such file or folder here, and the local cache has no such data set")
    assert said.endswith("network = true downloads it")
    assert "test" in refusal(hub, split="test")


def test_only_the_network_setting_downloads_and_only_once(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load(name: str, config: str | None, split: str) -> Any:
        asked.append((name, config, split))
        return datasets.Dataset.from_list(CAPITALS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    made = family(hub, network=True)
    assert len(drawn(made)) == 3
    assert asked == [(hub, None, "train")]


@pytest.mark.parametrize(("name", "needs"), [("x.parquet", "pyarrow"), ("saved", "datasets"), ("owner/x", "datasets")])
def test_a_missing_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, needs: str) -> None:
    path = FORMATS[name](tmp_path / name, CAPITALS) if name in FORMATS else name
    monkeypatch.setitem(sys.modules, needs, None)
    said = refusal(path)
    assert f"needs {needs}" in said
    assert 'pip install "quintet[data]"' in said


def test_a_missing_math_verify_is_one_line(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal(lines, check="math") == 'x.jsonl: check = "math" needs math-verify: pip install "quintet[data]"'


def test_templates_show_columns_and_braces(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", [{"a b": "3", "c": "4", "answer": "7"}])
    assert drawn(family(path, question="{{Add}} {a b} to {c}."))[0].question == "{Add} 3 to 4."
    assert refusal(path, question="Add {a} to {c}") == "x.csv:1: no column 'a'; there are a b, c, answer"


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", CAPITALS)
    with path.open("a") as file:
        file.write("not JSON\n")
    assert len(drawn(family(path, limit=3))) == 3
    assert refusal(path, limit=4) == "x.jsonl:4: not JSON: Expecting value (column 1)"


def test_cells_may_hold_line_feeds_and_files_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes('\ufeffquestion,answer\r\n"Two\r\nlines?",yes\r\n\r\nOne?,"no"\r\nBad?\r\n'.encode())
    assert refusal(path) == "x.csv:6: 1 cells, but there are 2 columns: question, answer"
    made = drawn(family(path, limit=2))
    assert {draft.truth["source"].rpartition(":")[2] for draft in made} == {"2", "5"}
    assert {draft.canonical for draft in made} == {"two lines?", "one?"}


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"question": "a?", "answer": "b"}\n\n{"question": "c?"}\n', "x.jsonl:3: no column 'answer'"),
        (b'{"question": "a?", "answer": "b"}\n{"question": \n', "x.jsonl:2: not JSON: Expecting value (column 13)"),
        (b'["a?", "b"]\n', 'x.jsonl:1: a list, not an object such as {"question": "..."}'),
        (b'{"question": "a?", "answer": "b"}\n{"question": "\xff"}\n', "x.jsonl:2: not UTF-8: invalid start byte"),
        (b'{"question": "a?", "answer": ' + b"9" * 5000 + b"}\n", "x.jsonl:1: not JSON that can be read"),
        (b"[" * 100_000, "x.jsonl:1: not JSON that can be read"),
        (b'{"question": null, "answer": "b"}\n', "x.jsonl:1: 'question' is empty"),
        (b'{"question": {"text": "a?"}, "answer": "b"}\n', "x.jsonl:1: 'question' is a dict, not text"),
        (b'{"question": "a\\ud83d?", "answer": "b"}\n', "x.jsonl:1: half a surrogate pair"),
        (b'{"question": "a?", "answer": "b"}\n{"question": "c?", "answer": NaN}\n', "x.jsonl:2: 'answer' is empty"),
        (b"", "x.jsonl: no rows"),
        (b"\n \n", "x.jsonl: no rows"),
    ],
)
def test_errors_in_json_lines_name_the_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert refusal(path).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("question,reply\na?,b\n", "x.csv:1: no column 'answer'; there are question, reply"),
        ("question,answer,answer\na?,b,c\n", "x.csv:1: two columns have the same name"),
        ('question,answer\na?,b\n"c?,d\n', "x.csv:3: not CSV: unexpected end of data"),
        ("question,answer\na?,b\nc?,d,e\n", "x.csv:3: 3 cells, but there are 2 columns"),
        ("question,answer\na?,b\nc?,\n", "x.csv:3: 'answer' is empty"),
        (f"question,answer\na?,{'b' * 200_000}\n", "x.csv:2: not CSV: field larger than field limit"),
        ("question,answer\n", "x.csv: no rows"),
    ],
)
def test_errors_in_csv_name_the_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    assert refusal(path).startswith(said)


@pytest.mark.parametrize("name", ["x.parquet", "saved"])
def test_errors_in_tables_name_the_row(tmp_path: Path, name: str) -> None:
    rows = [{"question": f"{n}?", "answer": "7" if n != 1500 else "abc"} for n in range(1, 2000)]
    path = FORMATS[name](tmp_path / name, rows)
    assert refusal(path, check="number") == f"{name} row 1500: 'answer' is not a number: 'abc'"
    assert refusal(path, answer="reply") == f"{name}: no column 'reply'; there are question, answer"


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.jsonl") == f"x.jsonl: no such file or folder in {tmp_path}"
    for name in ("x.json", "x"):
        (tmp_path / name).write_text("{}")
        assert "cannot be read; there are .jsonl" in refusal(tmp_path / name)
    (tmp_path / "x.parquet").write_text("PAR1 not really PAR1")
    assert refusal(tmp_path / "x.parquet").startswith("x.parquet: not Parquet that can be read")
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").startswith("folder: not a folder that save_to_disk wrote")


def test_the_same_question_with_another_answer_names_both_lines(tmp_path: Path) -> None:
    again = {"question": " capital  of FRANCE? ", "answer": "paris."}
    path = write_lines(tmp_path / "x.jsonl", [*CAPITALS, again])
    assert len(drawn(family(path))) == 3, "the same answer in other words is no contradiction"
    write_lines(path, [*CAPITALS, again, {**again, "answer": "Lyon"}])
    said = refusal(path)
    assert said.startswith("x.jsonl:5: the same question as at ")
    assert "x.jsonl:1, with another answer" in said


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_a_number_that_is_missing_is_an_empty_cell(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path / name, [{"question": f"{n}?", "answer": n} for n in (1.5, float("nan"))])
    place = {"x.parquet": "x.parquet row 2", "x.jsonl": "x.jsonl:2"}[name]
    assert refusal(path) == f"{place}: 'answer' is empty"


def test_too_little_memory_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(path: str) -> None:
        raise OSError(errno.ENOMEM, "Memory mapping file failed")

    path = FORMATS["saved"](tmp_path / "saved", CAPITALS)
    monkeypatch.setattr(datasets, "load_from_disk", fail)
    assert "raise memory_mb" in refusal(path)


@pytest.mark.parametrize("level", [1.5, "hard", None, True, float("nan"), float("inf")])
def test_levels_are_whole_numbers(tmp_path: Path, level: object) -> None:
    path = write_lines(tmp_path / "x.jsonl", [CAPITALS[0], {"question": "?", "answer": "x", "level": level}])
    assert refusal(path, level="level").startswith("x.jsonl:2: 'level' is no level")


def test_levels_are_ranks_and_not_too_many(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": n, "level": [5, 1, 3.0, "3"][n % 4]} for n in range(8)]
    made = family(write_lines(tmp_path / "x.jsonl", rows), level="level")
    found = [[int(draft.truth["answer"]) % 4 for draft in drawn(made, level)] for level in range(made.levels)]
    assert [set(level) for level in found] == [{1}, {2, 3}, {0}]
    years = [{"question": f"{n}?", "answer": n, "level": 1900 + n} for n in range(101)]
    assert (
        refusal(write_lines(tmp_path / "x.jsonl", years), level="level")
        == "x.jsonl: 'level' has 101 levels: 100 at most"
    )
