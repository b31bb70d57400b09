from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from datafiles import CAPITALS, drawn, family, refusal, write_csv, write_lines  # type: ignore[import-not-found]
from hypothesis import given
from hypothesis import strategies as st

from quintet.records import Split, Task
from quintet.tasks import tables
from quintet.tasks.dataset import DatasetFamily
from quintet.tasks.errors import LevelError, LevelTooNarrow, TaskError
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import catalogue, load_families
from quintet.tasks.settings import DatasetSettings, TaskSettings


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "x.jsonl", CAPITALS)


# --- drawing -----------------------------------------------------------------------------------------------

_questions = st.lists(st.text("abc ?", min_size=1).filter(str.strip), min_size=1, max_size=30)


@given(_questions, st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_every_question_once_in_an_order_that_is_the_seeds(
    tmp_path_factory: pytest.TempPathFactory, questions: list[str], seed: int, random: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.jsonl"
    rows = [{"question": question, "answer": "x"} for question in questions]
    first = drawn(family(write_lines(path, rows)), seed=seed)
    random.shuffle(rows)
    other = drawn(family(write_lines(path, rows)), seed=seed)
    assert [draft.canonical for draft in first] == [draft.canonical for draft in other]
    assert sorted(draft.canonical for draft in first) == sorted({" ".join(text.split()) for text in questions})
    fewer = {" ".join(row["question"].split()) for row in rows[:5]}
    part = drawn(family(write_lines(path, rows[:5])), seed=seed)
    assert [draft.canonical for draft in part] == [d.canonical for d in first if d.canonical in fewer]


def numbers(path: Path, count: int) -> Path:
    return write_lines(path, [{"question": f"What follows {n}?", "answer": n + 1} for n in range(count)])


async def test_splits_are_disjoint_and_hold_every_row_under_every_seed(tmp_path: Path) -> None:
    made = family(numbers(tmp_path / "x.jsonl", 400), check="number")
    owners: dict[str, set[str]] = {}
    with Examiner([made]) as examiner:
        for split, seed in product(get_args(Split), (1, 2)):
            with pytest.raises(LevelTooNarrow) as narrow:
                await examiner.draw("mine", 0, seed, 400, split)
            for task in await examiner.draw("mine", 0, seed, narrow.value.found, split):
                assert task.split == split
                owners.setdefault(task.canonical, set()).add(split)
    assert len(owners) == 400
    assert all(len(splits) == 1 for splits in owners.values())


async def test_the_order_is_the_same_in_another_process_and_differs_by_seed(tmp_path: Path) -> None:
    made = family(numbers(tmp_path / "x.jsonl", 200), check="number")
    with Examiner([made]) as examiner, Examiner([pickle.loads(pickle.dumps(made))]) as other:  # noqa: S301
        first = await examiner.draw("mine", 0, 5, 20, "train")
        assert first == await other.draw("mine", 0, 5, 20, "train")
        assert first[:7] == await examiner.draw("mine", 0, 5, 7, "train")
        assert first != await examiner.draw("mine", 0, 6, 20, "train")


def test_the_rows_do_not_travel_with_the_family(tmp_path: Path) -> None:
    made = family(numbers(tmp_path / "x.jsonl", 2000), check="number")
    drawn(made)
    assert len(pickle.dumps(made)) < 5000


def test_a_hundred_thousand_rows_load_in_seconds(tmp_path: Path) -> None:
    path = numbers(tmp_path / "x.jsonl", 100_000)
    started = time.process_time()
    made = family(path, check="number")
    assert time.process_time() - started < 5
    assert made.levels == 1


async def test_a_file_that_changes_under_a_run_is_an_error(lines: Path) -> None:
    with Examiner([family(lines)]) as examiner:
        write_lines(lines, CAPITALS[:2])
        with pytest.raises(LevelError, match="changed since the run began"):
            await examiner.draw("mine", 0, 1, 1, "train")
        write_lines(lines, CAPITALS[::-1])
        with pytest.raises(LevelTooNarrow):
            await examiner.draw("mine", 0, 1, 50, "train")


# --- choices and verifiers ---------------------------------------------------------------------------------


def test_few_answers_that_recur_count_as_choices(tmp_path: Path, lines: Path) -> None:
    truths = [{"question": f"Is {n} even?", "answer": ["yes", "No."][n % 2]} for n in range(20)]
    assert {draft.choices for draft in drawn(family(write_lines(tmp_path / "y.jsonl", truths)))} == {2}
    assert {draft.choices for draft in drawn(family(lines))} == {None}, "three questions, three answers: open"
    halves = [{"question": f"Half of {n % 2}?", "n": n, "answer": ["0", r"\frac12"][n % 2]} for n in range(20)]
    path = write_lines(tmp_path / "z.jsonl", [{**row, "question": f"{row['n']}?"} for row in halves])
    assert {draft.choices for draft in drawn(family(path, check="math"))} == {2}


def test_a_predicate_counts_the_answers_it_knows(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    rows = [{"question": f"{n}?", "least": n, "answer": n % 2} for n in range(20)]
    given: dict[str, Any] = {"check": "predicate", "predicate": f"{code}:longer"}
    assert {draft.choices for draft in drawn(family(write_lines(data, rows), **given))} == {2}
    for row in rows:
        del row["answer"]
    assert {draft.choices for draft in drawn(family(write_lines(data, rows), **given))} == {None}


def test_a_predicates_rows_contradict_by_their_answers_only(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    given: dict[str, Any] = {"check": "predicate", "predicate": f"{code}:longer"}
    rows = [{"id": n, "question": "One?", "answer": "Yes", "least": n} for n in range(3)]
    [draft] = drawn(family(write_lines(data, rows), **given))
    assert draft.truth["row"]["id"] == 0, "the first row"
    write_lines(data, [*rows, {**rows[0], "answer": "no"}])
    assert "with another answer" in refusal(data, **given)
    [draft] = drawn(family(write_lines(data, [{"question": "One?", "least": n} for n in range(3)]), **given))
    assert draft.truth["row"]["least"] == 0


def test_half_a_surrogate_pair_is_refused_wherever_it_stands(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    write_lines(data, [{"question": "One?", "least": 1}, {"question": "Two?", "least": 2, "notes": ["\ud83d"]}])
    said = refusal(data, check="predicate", predicate=f"{code}:longer")
    assert said.startswith("x.jsonl:2: half a surrogate pair")


def test_the_fingerprint_is_that_of_the_data_and_the_predicate(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    rows = [{"question": "One?", "least": 1}, {"question": "Two?", "least": 2}]

    def fingerprint(rows: list[dict[str, Any]]) -> str:
        return family(write_lines(data, rows), check="predicate", predicate=f"{code}:longer").fingerprint

    first = fingerprint(rows)
    assert first == fingerprint(rows[::-1])
    assert first != fingerprint([rows[0], {**rows[1], "least": 3}]), "a column that only the function reads"
    code.write_text(code.read_text() + "# the same, but who knows\n")
    assert first != fingerprint(rows)


async def test_choices_reach_the_task_and_its_wording(tmp_path: Path) -> None:
    rows = [
        {"question": "Which is true?", "options": json.dumps(options), "answer": options[1]}
        for options in (["one", "two"], ["three", "four", "five"])
    ]
    made = family(write_csv(tmp_path / "x.csv", rows), check="choice", choices="options")
    drafts = {draft.choices: draft for draft in drawn(made)}
    assert drafts[3].question == "Which is true?\nA) three\nB) four\nC) five"
    assert made.ask(drafts[3].question).endswith("\nEnd with: Answer: <letter>")
    with Examiner([made]) as examiner:
        task = Task(family="mine", **{**drafts[3].model_dump(), "level": 0})
        found = await examiner.judge(task, ["Answer: B", "Answer: four", "Answer: A", "no idea"])
    assert [judgement.correct for judgement in found] == [True, True, False, False]


async def test_a_formula_that_stalls_costs_only_itself(tmp_path: Path) -> None:
    made = family(write_lines(tmp_path / "x.jsonl", [{"question": "Half?", "answer": r"\frac12"}]), check="math")
    task = Task(family="mine", **drawn(made)[0].model_dump())
    with Examiner([made], TaskSettings(verify_seconds=2)) as examiner:
        await examiner.judge(task, ["Answer: 1"])
        started = time.monotonic()
        texts = ["Answer: 0.5", "Answer: $9^{9^{9^{9}}}$", r"so it is \boxed{\frac{2}{4}}", "Answer: 3"]
        right, stalled, boxed, wrong = await examiner.judge(task, texts)
        assert time.monotonic() - started < 20
    assert (right.correct, boxed.correct, wrong.correct) == (True, True, False)
    assert stalled.error == "verifier took longer than 2 s"
    assert not stalled.correct
    assert wrong.error is None
    assert boxed.answer == r"\frac{2}{4}"


@pytest.fixture
def predicate(tmp_path: Path) -> tuple[Path, Path]:
    code = "def longer(row, answer):\n    return len(answer) > row['least']\n"
    (tmp_path / "mine.py").write_text(code)
    return write_lines(tmp_path / "x.jsonl", [{"question": "Say much.", "least": 5}]), tmp_path / "mine.py"


async def test_a_predicate_runs_in_the_worker(
    predicate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, _ = predicate
    monkeypatch.chdir(tmp_path)
    made = family(data.name, check="predicate", predicate="mine.py:longer")
    monkeypatch.chdir("/")
    with Examiner([made]) as examiner:
        task = Task(family="mine", **drawn(made)[0].model_dump())
        found = await examiner.judge(task, ["Answer: very much", "Answer: no"])
    assert [judgement.correct for judgement in found] == [True, False]


async def test_a_predicate_file_that_fails_is_one_line(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    code.write_text("import nothing_of_that_name\n" + code.read_text())
    made = family(data, check="predicate", predicate=f"{code}:longer")
    with Examiner([made]) as examiner, pytest.raises(TaskError) as refused:
        await examiner.draw("mine", 0, 1, 1, "train")
    assert str(refused.value).startswith(f"predicate {code}:longer cannot be loaded: ModuleNotFoundError")
    assert "importable module" not in str(refused.value)


async def test_a_predicate_that_changes_under_a_run_is_an_error(predicate: tuple[Path, Path]) -> None:
    data, code = predicate
    made = family(data, check="predicate", predicate=f"{code}:longer")
    code.write_text(code.read_text().replace(">", "<"))
    task = Task(family="mine", **drawn(made)[0].model_dump())
    with Examiner([made]) as examiner, pytest.raises(TaskError) as refused:
        await examiner.judge(task, ["Answer: very much"])
    assert str(refused.value) == f"predicate {code}:longer changed since the run began: leave it alone, or start anew"


async def test_data_that_take_too_long_name_the_setting(tmp_path: Path) -> None:
    made = family(numbers(tmp_path / "x.jsonl", 20_000), check="number")
    with Examiner([made], TaskSettings(draw_seconds=0.01)) as examiner, pytest.raises(LevelError, match="raise draw_"):
        await examiner.draw("mine", 0, 1, 20_000, "train")


# --- joining -----------------------------------------------------------------------------------------------


def test_data_sets_join_the_families_by_name(lines: Path) -> None:
    settings = TaskSettings(datasets={"capitals": DatasetSettings(path=str(lines), level="level")})
    found = load_families(datasets=settings.datasets)["capitals"]
    assert isinstance(found, DatasetFamily)
    line = next(info for info in catalogue(datasets=settings.datasets) if info.family == "capitals")
    assert (line.levels, line.proposable, line.source) == (2, False, f"data set {lines}")


def test_a_name_that_is_taken_is_refused_before_the_data_are_read() -> None:
    with pytest.raises(TaskError, match=r"'gcd' comes from reasoning-gym and from data set none\.jsonl: rename one"):
        load_families(datasets={"gcd": DatasetSettings(path="none.jsonl")})


def test_no_reader_is_imported_before_it_is_needed(lines: Path) -> None:
    heavy = {"pyarrow", "datasets", "pandas", "sympy", "math_verify"}
    code = (
        "import sys; from quintet.tasks.dataset import DatasetFamily; "
        "from quintet.tasks.settings import DatasetSettings; "
        f"list(DatasetFamily('x', DatasetSettings(path={str(lines)!r}, check='math')).draw(0, 1)); "
        f"print({heavy} & set(sys.modules))"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "set()\n"


EXAMPLES = Path(tables.__file__).parents[1] / "examples"


def test_the_example_data_are_what_the_config_says_wrote_them(capsys: pytest.CaptureFixture[str]) -> None:
    block = (EXAMPLES / "dataset.toml").read_text().split("these lines:\n#\n")[1].split("\n\n")[0]
    exec("\n".join(line[4:] for line in block.splitlines()))  # noqa: S102
    data = EXAMPLES / "data" / "groups.csv"
    assert capsys.readouterr().out == data.read_text()
    assert data.stat().st_size < 100_000


async def test_the_example_fits_its_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    from quintet.evaluation.suites import Suites
    from quintet.graph.settings import Settings

    monkeypatch.chdir(EXAMPLES.parent)
    settings = Settings.load("examples/dataset.toml", environment={})
    with Examiner([load_families(datasets=settings.tasks.datasets)["groups"]], settings.tasks) as examiner:
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, settings.rounds)
        assert len(suites.tasks) == 570
        for level in (0, 1):
            drawn = await examiner.draw("groups", level, 1, settings.proposer.tasks, "train")
            assert not suites.canonicals & {task.canonical for task in drawn}
