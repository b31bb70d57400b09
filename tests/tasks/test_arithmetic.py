from __future__ import annotations

import json
import re
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quintet.tasks import expressions
from quintet.tasks.arithmetic import ARITHMETIC
from quintet.tasks.errors import Ungrounded
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import load_families

FAMILIES = load_families()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("4 + 3", "3+4"),
        ("3 - -4", "3+4"),
        ("7 * 4", "4*7"),
        ("9 - 2", "9-2"),
        ("2 - 9", "2-9"),
        ("( 2 + -8 )", "2-8"),
        ("-( 3 - 5 )", "5-3"),
        ("-4 * 3 * 2", "-2*3*4"),
        ("( 4 + 3 ) * 2", "2*(3+4)"),
        ("10 + 9", "9+10"),
    ],
)
def test_expressions_of_one_meaning_are_one_question(text: str, canonical: str) -> None:
    assert expressions.canonical(text) == canonical


_numbers = st.integers(-99, 99)


@given(st.lists(_numbers, min_size=2, max_size=5), st.randoms(use_true_random=False), st.sampled_from("+*"))
def test_operand_order_does_not_matter_where_it_does_not(numbers: list[int], random: Random, operator: str) -> None:
    shuffled = numbers.copy()
    random.shuffle(shuffled)
    one, other = (f" {operator} ".join(map(str, order)) for order in (numbers, shuffled))
    assert expressions.canonical(one) == expressions.canonical(other)


_expressions = st.recursive(
    st.integers(0, 20).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=6,
)


@given(_expressions)
def test_a_canonical_expression_is_worth_the_same_and_is_its_own(text: str) -> None:
    canonical = expressions.canonical(text)
    tree = expressions.parse(text)
    assert expressions.value(expressions.parse(canonical)) == expressions.value(tree) == eval(text)  # noqa: S307
    assert expressions.canonical(canonical) == canonical


@pytest.mark.parametrize(
    "text", ["", "3 **4", "f(3)", "x + 1", "3.5 + 1", "1 if 2 else 3", "(" * 150, "1+" * 150, "True + 1"]
)
def test_anything_but_integers_and_operators_is_no_expression(text: str) -> None:
    with pytest.raises(expressions.ExpressionError):
        expressions.parse(text)


PROPOSALS = [
    ("chain_sum", {"first": 27, "operator": "+", "second": 5}, "5+27", "32", 2),
    ("chain_sum", {"first": 3, "operator": "-", "second": 9}, "3-9", "-6", 0),
    ("chain_sum", {"first": 20, "operator": "+", "second": 9}, "9+20", "29", 1),
    ("chain_sum", {"first": 123, "operator": "+", "second": 9}, "9+123", "132", 5),
    ("products", {"first": 12, "second": 39}, "12*39", "468", 2),
    ("products", {"first": 39, "second": 12}, "12*39", "468", 2),
    ("products", {"first": 7, "second": 8}, "7*8", "56", 0),
    ("products", {"first": 100, "second": 8}, "8*100", "800", 5),
    ("gcd", {"first": 40, "second": 12}, "gcd(12,40)", "4", 2),
    ("gcd", {"first": 1000, "second": 12}, "gcd(12,1000)", "4", 4),
    ("lcm", {"first": 8, "second": 6}, "lcm(6,8)", "24", 0),
    ("basic_arithmetic", {"expression": "4+ 3"}, "3+4", "7", 0),
    ("basic_arithmetic", {"expression": "4 * 3"}, "3*4", "12", 1),
    ("basic_arithmetic", {"expression": "4 + 3 - 9"}, "3+4-9", "-2", 2),
    ("basic_arithmetic", {"expression": "2*(3+4)"}, "2*(3+4)", "14", 6),
]


@pytest.mark.parametrize(("family", "proposal", "canonical", "answer", "level"), PROPOSALS)
async def test_proposals_are_grounded_by_computing(
    examiner: Examiner, family: str, proposal: dict[str, object], canonical: str, answer: str, level: int
) -> None:
    task = await examiner.ground(family, json.dumps(proposal))
    assert (task.canonical, task.truth["answer"], task.level) == (canonical, answer, level)
    right, wrong = await examiner.judge(task, [f"Answer: {answer}", f"Answer: {answer}1"])
    assert right.correct
    assert right.strict
    assert not wrong.correct


@pytest.mark.parametrize(
    ("family", "content", "reason"),
    [
        ("chain_sum", "3 + 4", "malformed"),
        ("chain_sum", '{"first": 3, "operator": "*", "second": 4}', "malformed"),
        ("chain_sum", '{"first": 3, "operator": "+"}', "malformed"),
        ("chain_sum", '{"first": 3, "operator": "+", "second": 4, "answer": 7}', "malformed"),
        ("chain_sum", '{"first": 30000, "operator": "+", "second": 4}', "out of range"),
        ("chain_sum", f'{{"first": 1{"0" * 30}, "operator": "+", "second": 4}}', "out of range"),
        ("chain_sum", '{"first": -3, "operator": "+", "second": 4}', "out of range"),
        ("chain_sum", '{"first": 3, "operator": "+", "second": 0}', "trivial"),
        ("chain_sum", '{"first": 3, "operator": "-", "second": 3}', "trivial"),
        ("products", '{"first": 1, "second": 9}', "trivial"),
        ("products", '{"first": 9, "second": 0}', "trivial"),
        ("gcd", '{"first": 9, "second": 9}', "trivial"),
        ("lcm", '{"first": 9, "second": 1}', "trivial"),
        ("basic_arithmetic", '{"expression": "3 * (4 - 4)"}', "trivial"),
        ("basic_arithmetic", '{"expression": "347"}', "trivial"),
        ("basic_arithmetic", '{"expression": "8 / 2"}', "malformed"),
        ("basic_arithmetic", '{"expression": "__import__(1)"}', "malformed"),
        ("basic_arithmetic", '{"expression": "99999 + 4"}', "out of range"),
        ("spell_backward", "{}", "cannot be proposed"),
        ("chain_sum", "x" * 30_000, "malformed"),
    ],
)
async def test_proposals_are_refused_with_a_reason(examiner: Examiner, family: str, content: str, reason: str) -> None:
    with pytest.raises(Ungrounded) as refused:
        await examiner.ground(family, content)
    assert refused.value.reason == reason


@pytest.mark.parametrize("name", sorted(ARITHMETIC))
def test_own_wording_is_the_librarys(name: str) -> None:
    family = ARITHMETIC[name](name)
    library = family.levels - 1
    for level in (0, library):
        for draft in islice(family.draw(level, 4), 5):
            found = re.search(
                family.wording.replace("{}", "\x00").translate(ESCAPED).replace("\x00", "(.*)"), draft.question
            )
            assert found
            assert found.end() - found.start() == len(draft.question)
            operands = re.findall(r"\d+", found[1])
            assert sorted(re.findall(r"\d+", draft.question)) == sorted(operands), "only operands, no answer"


ESCAPED = {ord(character): f"\\{character}" for character in "()*+.?="}


@pytest.mark.parametrize("name", sorted(ARITHMETIC))
def test_every_drawn_truth_is_what_the_expression_is_worth(name: str) -> None:
    family = FAMILIES[name]
    for level in range(min(6, family.levels)):
        for draft in islice(family.draw(level, 9), 40):
            assert family.score(draft.truth, draft.truth["answer"]) == 1
            if name in ("chain_sum", "products"):
                text = draft.question.split(": ")[1].split(" =")[0].split(". ")[0]
                assert eval(text) == int(draft.truth["answer"])  # noqa: S307


async def test_two_families_that_ask_the_same_share_the_question(examiner: Examiner) -> None:
    one = await examiner.ground("chain_sum", '{"first": 3, "operator": "+", "second": 4}')
    other = await examiner.ground("basic_arithmetic", '{"expression": "4 + 3"}')
    assert (one.canonical, one.split) == (other.canonical, other.split)
