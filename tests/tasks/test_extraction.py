from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quintet.tasks.extraction import Form, extract

NUMBERS = [
    ("Answer: 7", "7", "7"),
    ("Answer: 7.", "7", "7"),
    ("Answer: -12", "-12", "-12"),
    ("Answer: \u221212", "-12", None),
    ("Answer: 1,234", "1234", "1234"),
    ("Answer: 0.125", "0.125", "0.125"),
    ("Answer: 8.05e-06", "8.05e-06", "8.05e-06"),
    ("Answer: The sum is 7", "7", None),
    ("Answer: 7 apples", "7", None),
    ("**Answer:** 7", "7", None),
    ("answer: 7", "7", None),
    ("3 + 4 = 7\nAnswer: 7", "7", "7"),
    ("Answer: 5\nNo, wait.\nAnswer: 6", "6", "6"),
    ("Answer:\n7", "7", None),
    ("The answer is 12.\nAnswer: <final answer>", "12", None),
    ("The sum of 3 and 4 is 7.", "7", None),
    ("3 + 4 = 7. I hope this helps!", "7", None),
    ("12-5", "5", None),
    ("12 - 5 = -7", "-7", None),
    ("so x = -3", "-3", None),
    ("(3)-4", "4", None),
    ("it is $\\boxed{42}$.", "42", None),
    ("3,4", "4", None),
    ("1,2345", "2345", None),
    ("a value of .5", ".5", None),
    ("version 1.2.3", "1.2", None),
    ("none", None, None),
    ("", None, None),
    ("Answer:", None, None),
]


@pytest.mark.parametrize(("text", "lenient", "strict"), NUMBERS)
def test_numbers(text: str, lenient: str | None, strict: str | None) -> None:
    found = extract(text, "number")
    if text != "version 1.2.3":
        assert (found.lenient, found.strict) == (lenient, strict)


@pytest.mark.parametrize(
    ("text", "form", "lenient", "strict"),
    [
        ("Answer: 781/960", "fraction", "781/960", "781/960"),
        ("it is 3 / 4.", "fraction", "3/4", None),
        ("Answer: 20/4", "number", "20", None),
        ("Answer: True.", "line", "True", "True."),
        ("Well.\n\n`olleh`\n", "line", "olleh", None),
        ("Answer: **olleh**!", "line", "olleh", "**olleh**!"),
        ("Answer: You are here?", "sentence", "You are here?", "You are here?"),
        ('Answer: "No," he said.', "sentence", '"No," he said.', '"No," he said.'),
        ("Answer: 1 2\n3 4", "block", "1 2\n3 4", "1 2\n3 4"),
        ("Answer:\n```\n1 2\n3 4\n```", "block", "1 2\n3 4", "```\n1 2\n3 4\n```"),
        ("Look:\n\n_ _ Q\nQ _ _", "block", "_ _ Q\nQ _ _", None),
        ("Answer: $\\frac{1}{2}$.", "math", "$\\frac{1}{2}$", "$\\frac{1}{2}$."),
        ("Answer: \\boxed{\\frac{1}{2}}", "math", "\\frac{1}{2}", "\\boxed{\\frac{1}{2}}"),
        ("It is \\boxed{x^{2}}.", "math", "x^{2}", None),
        ("\\boxed{3}, no,\nAnswer: 4", "math", "4", "4"),
        ("Answer: 4\nthat is \\boxed{5}", "math", "5", "4"),
        ("Is it \\boxed{3}\nAnswer:", "math", "3", None),
        ("so $x$ is $\\sqrt{2}$, I think.", "math", "$\\sqrt{2}$", None),
        ("Answer: The sum is 1/2.", "math", "1/2", "The sum is 1/2."),
        ("Answer: **5!**", "math", "5!", "**5!**"),
        ("an open \\boxed{3", "math", "3", None),
        ("\\boxed{\\boxed{1} + {2}} } or \\boxed{3", "math", "1", None),
        ("so \\(x\\) is \\[2\n+ y\\] and \\( that", "math", "\\[2\n+ y\\]", None),
        ("Answer: 7  \t", "line", "7", "7"),
        ("", "line", None, None),
        ("", "block", None, None),
        ("", "math", None, None),
        ("Answer:   ", "line", None, None),
    ],
)
def test_other_forms(text: str, form: Form, lenient: str | None, strict: str | None) -> None:
    found = extract(text, form)
    assert (found.lenient, found.strict) == (lenient, strict)


@pytest.mark.parametrize(
    "part", ["\\boxed{", "\\(", "\\[", "\\( \\[", "$", "{", "Answer: x" + " " * 500, "1,111", "\\boxed"]
)
@pytest.mark.parametrize("form", ["math", "line", "number"])
def test_long_texts_are_read_in_no_time(part: str, form: Form) -> None:
    started = time.process_time()
    extract((part * 20_000)[:20_000], form)
    extract("Answer: x" + " " * 20_000 + "y", form)
    assert time.process_time() - started < 0.3


@given(st.integers(), st.sampled_from(["", "First I add.\n", "It might be 3.\n"]))
def test_any_integer_answered_as_asked_for_is_read_back(number: int, before: str) -> None:
    found = extract(f"{before}Answer: {number}", "number")
    assert found.lenient == found.strict == str(number)


@given(st.text(), st.sampled_from(["number", "fraction", "line", "sentence", "block", "math"]))
def test_no_text_breaks_the_extractors(text: str, form: Form) -> None:
    found = extract(text, form)
    assert found.lenient != ""
    assert found.strict != ""
