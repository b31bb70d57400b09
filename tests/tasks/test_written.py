"""Written questions: what is read in a model's JSON, which numbers a text names, what a question is in disguise."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quintet.tasks import expressions
from quintet.tasks.errors import Ungrounded
from quintet.tasks.numerals import numbers
from quintet.tasks.transforming import backwards, is_expression, is_pair, joined
from quintet.tasks.written import Written, in_words, readings, reworded, word_problem


def problem(expression: str, question: str) -> str:
    return json.dumps({"expression": expression, "question": question})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Twenty-one apples and 3 pears", [21, 3]),
        ("two hundred five, a dozen and 1,200", [205, 12, 1200]),
        ("thirty, five", [35]),
        ("twelve plus eighteen", [12, 18]),
        ("3.5 metres", [Decimal("3.5")]),
        ("someone weighed often", []),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(text: str, found: list[Decimal]) -> None:
    assert numbers(text) == found


def test_an_answer_is_computed_only_where_question_and_expression_name_the_same_numbers() -> None:
    question = "Ann has 8 pens and gets five more. How many pens are there?"
    assert word_problem(problem("8 + 5", question)).answer == "13"
    assert word_problem(problem("8 + 6", question)).answer is None
    assert word_problem(problem("8 / 5", question)).answer is None
    assert word_problem(problem("8 + 5 + 5", question)).answer is None


@given(st.text(max_size=300))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for read in (word_problem, lambda content: reworded(content, "What is 3 + 4, in words?")):
        for content in (text, problem(text, text), json.dumps({"question": text})):
            with suppress(Ungrounded):
                read(content)


@given(st.integers(2, 99), st.integers(2, 99), st.sampled_from("+-*"), st.booleans())
def test_a_backward_question_is_answered_by_the_operand_that_it_hides(a: int, b: int, sign: str, first: bool) -> None:
    canonical = expressions.canonical(f"{a} {sign} {b}")
    assert is_pair(canonical)
    try:
        made = backwards(canonical, first).draft
    except Ungrounded:
        return
    asked, _, worth = made.question.removeprefix("Which number is missing? ").partition(" = ")
    whole = asked.replace("?", made.truth["answer"])
    assert expressions.value(expressions.parse(whole)) == int(worth)
    assert expressions.canonical(whole) == canonical


@given(st.integers(2, 99), st.integers(2, 99))
def test_a_backward_question_is_the_same_on_either_side_of_a_sum_and_amounts_to_a_difference(a: int, b: int) -> None:
    try:
        one, other = backwards(f"{a}+{b}", False), backwards(f"{b}+{a}", True)
    except Ungrounded:
        return
    assert one.draft.canonical == other.draft.canonical
    assert one.meanings == (f"{a + b}-{a}",)


def test_two_tasks_are_joined_into_the_sum_of_both_and_known_by_what_that_is() -> None:
    made = joined("3+4", "5*6")
    assert made.draft.truth == {"answer": "37"}
    assert made.meanings == (expressions.canonical("3 + 4 + 5 * 6"),)
    assert made.draft.canonical == joined("5*6", "3+4").draft.canonical
    assert not is_expression("gcd(4,6)")


def test_a_question_in_words_is_read_as_the_typed_question_that_it_may_be() -> None:
    question = "In the hall stand twelve chairs, in the garden 18; how many are there?"
    assert readings(question, "30") == {"12+18"}
    assert readings(question, "6") == {"18-12", "gcd(12,18)"}
    assert readings(question, "36") == {"lcm(12,18)"}
    assert readings(question, "7") == set()
    assert readings(f"How much are {'9' * 99} and {'8' * 99}?", "1e99") == set()


def test_the_same_words_are_the_same_question() -> None:
    assert in_words("Ann has  8 pens, and 5 more?") == in_words("ANN HAS 8 PENS AND 5 MORE ?")
    assert in_words("Ann has 8 pens") != in_words("Ann has 9 pens")
    assert in_words("What is 8 - 5?") != in_words("What is 8 + 5?")


def test_the_family_goes_into_the_worker_and_reads_numbers() -> None:
    family = pickle.loads(pickle.dumps(Written()))  # noqa: S301
    assert family.score({"answer": "13"}, "13.0") == 1.0
    assert family.score({"answer": "13"}, "31") == 0.0
    assert family.score({"answer": "13"}, "thirteen") == 0.0
    assert list(family.draw(0, 0)) == []
