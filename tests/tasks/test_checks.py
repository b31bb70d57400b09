from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quintet.tasks.checks import Check, words
from quintet.tasks.dataset import CHECKS
from quintet.tasks.errors import TaskError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row


def check(kind: str, **given: Any) -> Check:
    if kind == "choice":
        given.setdefault("choices", "options")
    return CHECKS[kind](DatasetSettings(path="x.jsonl", check=kind, **given))  # type: ignore[arg-type]


def score(kind: str, cells: dict[str, Any], text: str, **given: Any) -> float:
    """What a reply is worth: the answer is read as the worker reads it."""
    from quintet.tasks.extraction import extract

    verifier = check(kind, **given)
    truth = {**verifier.truth(Row("x.jsonl:7", cells)), "source": "x.jsonl:7"}
    answer = extract(text, verifier.form).lenient
    return 0.0 if answer is None else verifier.score(truth, answer)


def refusal(kind: str, cells: dict[str, Any], **given: Any) -> str:
    with pytest.raises(TaskError) as refused:
        check(kind, **given).truth(Row("x.jsonl:7", cells))
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "truth", "reply", "right"),
    [
        ("exact", "Buenos Aires", "Answer: buenos  aires.", True),
        ("exact", "Buenos Aires", "I think it is\n**Buenos Aires**!", True),
        ("exact", "Buenos Aires", "Answer: Buenos", False),
        ("exact", "Straße", "Answer: STRASSE", True),
        ("exact", "Caf\u00e9", "Answer: Cafe\u0301", True),
        ("exact", 12, "Answer: 12", True),
        ("exact", True, "Answer: true", True),
        ("exact", "$5", "Answer: $5", True),
        ("exact", "$5", "Answer: $6", False),
        ("exact", '"Hamlet"', 'Answer: "Hamlet"', True),
        ("exact", "*args", "Answer: *args", True),
        ("exact", "\u22125", "Answer: \u22125", True),
        ("exact", "\u22125", "Answer: 5", False),
        ("exact", "O'", "Answer: O'", True),
        ("exact", "Hint: the answer: 4", "Answer: Hint: the answer: 4", True),
        ("number", "1,234", "Answer: 1234", True),
        ("number", 1234, "The answer is 1,234.", True),
        ("number", 1234, "Answer: 1234.0", True),
        ("number", 1234567, "Answer: 1234568", False),
        ("number", 0, "Answer: 0.0000001", False),
        ("number", 3.14159265, "Answer: 3.1415927", True),
        ("number", 3.14159265, "Answer: 3.1416", False),
        ("number", "2.5e-7", "Answer: 0.00000025", True),
        ("number", 0.5, f"Answer: 1{'0' * 400}", False),
        ("number", 1999999.9, "Answer: 2000000", True),
        ("number", 0.5, "Answer: 1e999999999", False),
        ("number", 7, "Answer: 1e99999999999999999999", False),
        ("number", 7, "Answer: 7e-999999999", False),
        ("number", 5, "Answer: none", False),
        ("math", r"\frac{1}{2}", "Answer: 0.5", True),
        ("math", r"\frac{1}{2}", "Answer: 1/2", True),
        ("math", r"\frac{1}{2}", r"so $x = \frac{2}{4}$, that is \boxed{\frac{2}{4}}.", True),
        ("math", r"\frac{1}{2}", "Answer: 2", False),
        ("math", r"\frac{1}{2}", r"\boxed{2}", False),
        ("math", "x^2+2x+1", "Answer: $(x+1)^2$", True),
        ("math", "x^2+2x+1", "Answer: (x+1)**2", True),
        ("math", "x^2+2x+1", "Answer: (x-1)^2", False),
        ("math", r"Hence the answer is $\boxed{\sqrt{8}}$.", r"Answer: 2\sqrt{2}", True),
        ("math", "7", "Answer: The sum is 7.", True),
        ("math", "7", "Answer: $7", True),
        ("math", r"\$5", "Answer: 5", True),
        ("math", "120", "Answer: 5!", True),
        ("math", "5!", "Answer: 5", False),
        ("math", r"\text{Evelyn Jones}", "Answer: Evelyn Jones", True),
        ("math", "even", "Answer: Even.", True),
        ("math", r"\{1,2\}", r"Answer: \{2, 1\}", True),
        ("math", r"\text{Evelyn}", "Answer: Evelyn", True),
        ("math", r"\text{Evelyn}", "Answer: Martin", False),
        ("math", "-3", "Answer: \u22123", True),
    ],
)
def test_right_and_wrong_answers(kind: str, truth: object, reply: str, right: bool) -> None:
    assert score(kind, {"answer": truth}, reply) == right


OPTIONS = {"options": ["Rome", "Paris", "The Hague", "Oslo"], "answer": "Paris"}


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Answer: B", True),
        ("Answer: b.", True),
        ("Answer: (B)", True),
        ("Answer: B) Paris", True),
        ("Answer: **B**: Paris", True),
        ("Answer: paris.", True),
        ("The correct answer is B.", True),
        ("Answer: Option B", True),
        ("Answer: B) Rome", False),
        ("Answer: A", False),
        ("Answer: Rome", False),
        ("Answer: A) Paris", False),
        ("Answer: E", False),
        ("Answer: B or C", False),
        ("Answer: (B) or (C)", False),
        ("Answer: B) C)", False),
        ("Answer: B. C.", False),
        ("Answer: B) or C", False),
        ("Answer: (b) or c", False),
        ("Answer: (B) and D.", False),
        ("Answer: B) Paris or A) Rome", False),
        ("Answer: B) Paris or Rome", False),
        ("Answer: (B) (B)", True),
        ("Answer: B) since f(a) = 3, as a city", True),
        ("Answer: Rome or Paris", False),
        ("Answer: Be sure", False),
        ("Answer: B) since it is so", True),
    ],
)
def test_a_choice_is_named_by_letter_or_text_without_contradiction(reply: str, right: bool) -> None:
    assert score("choice", OPTIONS, reply) == right


def test_the_right_choice_is_given_by_text_letter_or_index() -> None:
    numbers = ["2", "3", "0", "1"]
    assert score("choice", {"options": numbers, "answer": 2}, "Answer: A") == 1
    assert score("choice", {"options": numbers, "answer": 2}, "Answer: C", answer_by="index") == 1
    assert score("choice", {"options": '["x", "y"]', "answer": "b"}, "Answer: y", answer_by="letter") == 1


def test_choices_are_shown_with_letters_and_counted() -> None:
    verifier = check("choice")
    truth = verifier.truth(Row("x.jsonl:7", OPTIONS))
    assert verifier.shown("Where?", truth) == "Where?\nA) Rome\nB) Paris\nC) The Hague\nD) Oslo"
    assert verifier.choices(truth) == 4
    other = verifier.truth(Row("x.jsonl:8", {**OPTIONS, "options": OPTIONS["options"][::-1]}))
    assert verifier.meaning("Where?", truth) == verifier.meaning("where?", other)
    assert verifier.key(truth) == verifier.key(other)


@pytest.mark.parametrize(
    ("kind", "cells", "said"),
    [
        ("exact", {"reply": "x", "question": "?"}, "x.jsonl:7: no column 'answer'; there are reply, question"),
        ("exact", {"answer": None}, "x.jsonl:7: 'answer' is empty"),
        ("exact", {"answer": " "}, "x.jsonl:7: 'answer' is empty"),
        ("exact", {"answer": ["x"]}, "x.jsonl:7: 'answer' is a list, not text: ['x']"),
        ("exact", {"answer": "a\nb"}, "'answer' has several lines"),
        ("exact", {"answer": "**"}, "x.jsonl:7: 'answer' holds nothing that could be read"),
        ("choice", {"options": [1.0, float("nan")], "answer": "1.0"}, "is not a list of texts"),
        ("number", {"answer": "abc"}, "x.jsonl:7: 'answer' is not a number: 'abc'"),
        ("number", {"answer": "3 apples"}, "not a number"),
        ("number", {"answer": True}, "not a number"),
        ("number", {"answer": float("nan")}, "x.jsonl:7: 'answer' is empty"),
        ("number", {"answer": "1e999"}, "not a number"),
        ("choice", {"options": "Rome, Paris", "answer": "Rome"}, "'options' is neither a list nor the JSON of one"),
        ("choice", {"options": ["Rome"], "answer": "Rome"}, "needs 2 to 26 choices"),
        ("choice", {"options": ["Rome", "rome."], "answer": "Rome"}, "names a choice twice"),
        ("choice", {"options": ["Rome", {}], "answer": "Rome"}, "is not a list of texts"),
        ("choice", {"options": ["Rome", "Paris"], "answer": "B"}, "none of the choices (Rome, Paris): 'B'"),
    ],
)
def test_a_row_that_cannot_be_checked_is_refused_with_its_place(kind: str, cells: dict[str, Any], said: str) -> None:
    assert said in refusal(kind, cells)


def test_the_answer_may_follow_a_mark_in_its_column() -> None:
    solved = {"answer": "3 and 4 make 7.\n#### 7"}
    assert score("number", solved, "Answer: 7", answer_after="####") == 1
    assert "nothing after '####'" in refusal("number", {"answer": "7"}, answer_after="####")
    assert "nothing after '####'" in refusal("number", {"answer": "7 ####  "}, answer_after="####")


def test_mathematics_sets_no_alarm_which_only_the_main_thread_may() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(score, "math", {"answer": "x+x"}, "Answer: 2x").result() == 1


def test_a_right_answer_that_math_verify_cannot_read_is_an_error_not_a_wrong_answer() -> None:
    verifier = check("math")
    with pytest.raises(TaskError, match=r"x\.jsonl:7: math-verify cannot read the right answer"):
        verifier.score({"answer": "$$", "source": "x.jsonl:7"}, "7")


@given(st.text())
def test_an_exact_answer_is_right_whatever_its_case_and_final_stop(text: str) -> None:
    if words(text).strip(".,;:!?… "):
        assert words(f" {text} .") == words(text)


@given(
    st.text("ab-\u2212*`\"'$ \u201c.,:!?\u2026", min_size=1), st.sampled_from(["Answer: {}", "Answer: **{}**", "{}"])
)
def test_every_truth_that_is_accepted_can_be_answered(text: str, form: str) -> None:
    with suppress(TaskError):
        assert score("exact", {"answer": text}, form.format(text)) == 1
        assert check("exact").score({"answer": text}, text) == 1, "the strict reading"


def test_choices_are_found_by_texts_that_the_extractor_strips() -> None:
    cells = {"options": ["$5", "*args", "\u22127", "+"], "answer": "*args"}
    assert score("choice", cells, "Answer: *args") == 1
    assert score("choice", cells, "Answer: B) *args") == 1
    assert score("choice", {**cells, "answer": "\u22127"}, "Answer: \u22127") == 1
    assert score("choice", {**cells, "options": ["$5", "5"], "answer": "5"}, "Answer: 5") == 0, "which of the two?"
    assert score("choice", {**cells, "options": ["*", "+"], "answer": "*"}, "Answer: A") == 1


@given(st.integers(), st.sampled_from(["{}", "{:,}", "{}.0", "+{}"]))
def test_a_whole_number_is_right_however_it_is_written_and_no_other_is(number: int, form: str) -> None:
    if form == "+{}" and number < 0:
        form = "{}"
    assert score("number", {"answer": form.format(number)}, f"Answer: {number}") == 1
    assert score("number", {"answer": number}, f"Answer: {form.format(number)}") == 1
    assert score("number", {"answer": number}, f"Answer: {number + 1}") == 0


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=26, unique=True), st.data())
def test_every_choice_is_right_by_its_letter_only(numbers: list[int], data: st.DataObject) -> None:
    right, given = (data.draw(st.integers(0, len(numbers) - 1)) for _ in range(2))
    cells = {"options": numbers, "answer": numbers[right]}
    assert score("choice", cells, f"Answer: {chr(65 + given)}") == (right == given)
    assert score("choice", cells, f"Answer: {numbers[given]}") == (right == given)


PREDICATE = """
import math
LIMIT = 3
def near(row, answer):
    return abs(float(answer) - row["answer"]) < row["slack"]
def graded(row, answer):
    return 1 / int(answer)
def wordy(row, answer):
    return "yes"
"""


@pytest.fixture
def predicates(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PREDICATE)
    return path


def test_a_predicate_sees_the_row_and_the_answer(predicates: Path) -> None:
    row = {"question": "?", "answer": 10, "slack": 0.5}
    assert score("predicate", row, "Answer: 10.2", predicate=f"{predicates}:near") == 1
    assert score("predicate", row, "Answer: 11", predicate=f"{predicates}:near") == 0
    assert score("predicate", row, "Answer: 4", predicate=f"{predicates}:graded") == 0.25
    with pytest.raises(TaskError, match="returned 'yes': true, false or 0 to 1 is right"):
        score("predicate", row, "Answer: 4", predicate=f"{predicates}:wordy")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nera", "mine.py defines no 'nera'; did you mean 'near'?"),
        ("xyzzy", "define it at the top of the file"),
    ],
)
def test_a_predicate_that_is_not_there_is_refused_before_anything_runs(predicates: Path, name: str, said: str) -> None:
    predicates.write_text(PREDICATE + "\nraise SystemExit('this ran')\n")
    with pytest.raises(TaskError) as refused:
        check("predicate", predicate=f"{predicates}:{name}")
    assert said in str(refused.value)


def test_a_predicate_file_that_is_missing_or_broken_is_refused(predicates: Path) -> None:
    with pytest.raises(TaskError, match="No such file"):
        check("predicate", predicate=f"{predicates.parent}/none.py:near")
    predicates.write_text("def near(row, answer):\n    return (\n")
    with pytest.raises(TaskError, match=r"mine\.py:2"):
        check("predicate", predicate=f"{predicates}:near")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"check": "choice"}, 'check = "choice" and the setting choices need each other'),
        ({"choices": "options"}, 'check = "choice" and the setting choices need each other'),
        ({"check": "predicate"}, 'check = "predicate" and the setting predicate need each other'),
        ({"check": "predicate", "predicate": "mine.py"}, "'mine.py' is not FILE.py:FUNCTION"),
        ({"answer_by": "letter"}, 'is for check = "choice"'),
        ({"question": "What is {a"}, "is no template"),
        ({"question": "What is {}?"}, "write {column}"),
        ({"question": "What is {a.b:3}?"}, "write {column}"),
        ({"question": "What is {{a}}?"}, "shows no column"),
        ({"question": "Is {answer} right?"}, "which holds the answer"),
        ({"question": "answer"}, "which holds the answer"),
        ({"limit": 0}, "greater than 0"),
        ({"chek": "exact"}, "chek"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatasetSettings(path="x.jsonl", **given)
    assert said in str(refused.value)
