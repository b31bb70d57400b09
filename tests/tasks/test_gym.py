from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from quintet.records import Task
from quintet.tasks.errors import LevelError, TaskError
from quintet.tasks.examiner import Examiner
from quintet.tasks.families import catalogue, load_families, pick
from quintet.tasks.gym_table import FORMS, LIBRARY_LEVELS
from quintet.tasks.levels import LADDERS
from quintet.tasks.truths import decode, encode
from quintet.tasks.written import Written

EXAMPLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "graph_color": lambda truth: json.dumps(
        {str(key): value for key, value in decode(truth)["metadata"]["possible_answer"].items()}
    ),
    "propositional_logic": lambda truth: truth["metadata"]["example_answer"],
    "rubiks_cube": lambda truth: truth["metadata"]["example_correct_answer"],
}
"""Right answers of families that have no single one."""

NO_EXAMPLE = {"boxnet", "rush_hour"}
"""Families whose items hold no right answer at all."""

HANGS = {"sokoban": 3}
"""Families whose lowest level takes too long, and one that does not."""


def test_the_table_of_families_is_the_librarys() -> None:
    from reasoning_gym.factory import CURRICULA, create_curriculum

    found = {
        name: max(len(attribute.levels) for attribute in create_curriculum(name).attributes.values())
        for name in CURRICULA
    }
    assert found == LIBRARY_LEVELS
    assert set(FORMS) <= set(found)
    assert set(LADDERS) <= set(found)


def test_listing_families_does_not_import_the_library() -> None:
    code = "import sys; from quintet.tasks.families import catalogue; "
    code += "print(sum(info.source == 'reasoning-gym' for info in catalogue()), *sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    count, *modules = done.stdout.split()
    assert count == "102"
    assert "reasoning_gym" not in modules


def test_families_are_picked_by_name() -> None:
    families = load_families()
    assert [family.name for family in pick(families, ["gcd", "lcm", "gcd"])] == ["gcd", "lcm"]
    with pytest.raises(TaskError, match="did you mean 'gcd'"):
        pick(families, ["gdc"])
    assert {info.family for info in catalogue() if info.proposable} == {
        "basic_arithmetic",
        "basic_arithmetic_tools",
        "chain_sum",
        "chain_sum_tools",
        "gcd",
        "lcm",
        "products",
        "products_tools",
    }


def test_a_family_whose_name_looks_like_one_at_a_level_is_refused() -> None:
    family = Written()
    family.name = "written@2"
    with pytest.raises(TaskError, match=r"'written@2' \(quintet.tasks.written.Written\): a family's name holds no @"):
        load_families([family])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LIBRARY_LEVELS))
async def test_every_family_draws_and_accepts_its_own_answer_after_json(examiner: Examiner, name: str) -> None:
    drawn = await examiner.draw(name, HANGS.get(name, 0), 3, 2, "train")
    for task in drawn:
        stored = Task.model_validate_json(task.model_dump_json())
        answer = EXAMPLES[name](stored.truth) if name in EXAMPLES else stored.truth["answer"]
        plain, bold, wrong = await examiner.judge(
            stored, [f"Answer: {answer}", f"So.\n**Answer:** {answer}", "Answer: rubbish"]
        )
        assert not wrong.correct
        if name not in NO_EXAMPLE:
            assert plain.correct
            assert plain.strict
            assert bold.correct
            assert not bold.strict


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LADDERS))
async def test_every_level_below_the_librarys_can_be_drawn(examiner: Examiner, name: str) -> None:
    for level in range(len(LADDERS[name].narrow)):
        task = (await examiner.draw(name, level, 1, 1, "train"))[0]
        assert (await examiner.judge(task, [f"Answer: {task.truth['answer']}"]))[0].strict


async def test_a_level_that_the_library_refuses_is_a_level_error(examiner: Examiner) -> None:
    with pytest.raises(LevelError, match="refused by reasoning-gym: AssertionError: rotation must be"):
        await examiner.draw("caesar_cipher", 3, 0, 1, "train")


async def test_choices_are_known_where_they_are_few(examiner: Examiner) -> None:
    for name, choices in {"ransom_note": 2, "knights_knaves": 4, "count_bits": 8, "chain_sum": None}.items():
        assert (await examiner.draw(name, 0, 0, 1, "train"))[0].choices == choices


async def test_a_wrong_answer_is_wrong_where_the_library_accepts_anything(examiner: Examiner) -> None:
    task = (await examiner.draw("game_of_life_halting", 0, 0, 1, "train"))[0]
    texts = ["Answer: True", "Answer: False", "Answer: perhaps"]
    found = {text: judgement.correct for text, judgement in zip(texts, await examiner.judge(task, texts), strict=True)}
    assert sum(found.values()) == 1
    assert found[f"Answer: {task.truth['answer']}"]


HOLES = [
    "n_queens",
    "spiral_matrix",
    "binary_matrix",
    "string_insertion",
    "simple_integration",
    "countdown",
    "puzzle24",
]


@pytest.mark.parametrize("name", HOLES)
async def test_no_verifier_runs_what_a_model_wrote(examiner: Examiner, name: str, tmp_path: Path) -> None:
    task = (await examiner.draw(name, 0, 1, 1, "train"))[0]
    target = tmp_path / "owned"
    attacks = [
        f"__import__('os').system('touch {target}')",
        f"__import__('subprocess').run(['touch', '{target}'])",
        f"open('{target}', 'w')",
        f"__import__('pathlib').Path('{target}').touch()",
        f"[__import__('os').mkdir('{target}')]",
    ]
    found = await examiner.judge(task, [f"Answer: {attack}" for attack in attacks])
    assert not target.exists()
    assert not any(judgement.correct for judgement in found)


@pytest.mark.parametrize(
    "value",
    [
        ((1, 2), [3, (4,)]),
        {1: "a", (2, 3): {"b"}},
        {"~": "dict", "value": [1]},
        [datetime(2020, 1, 2, 3, 4), date(2020, 1, 2), Fraction(1, 3), b"\x00\xff", None, True, 1.5],
    ],
)
def test_truths_survive_json_exactly(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_what_json_cannot_keep_is_refused() -> None:
    with pytest.raises(TypeError, match="holds a object"):
        encode([object()])
