"""The skill library: which functions are kept, how they are told apart, recalled, composed and taken out again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sitting import Sitting, sitting

from quintet.agents.hearing import hear
from quintet.agents.librarian import Librarian
from quintet.agents.skills import (
    MOST_CHARACTERS,
    SkillError,
    about,
    asked_for,
    meaning,
    renamed,
    signature,
    together,
    written,
)
from quintet.agents.strategies import Desk, Solution
from quintet.agents.strategies.programming import WithSkills
from quintet.agents.table import Question, Round
from quintet.records import BASE, Attempt, Critique, Record, Reply, Skill, Task
from quintet.tasks import sandbox
from quintet.tasks.environment import encode

needs_a_sandbox = pytest.mark.skipif(bool(sandbox.unavailable()), reason="there is no sandbox here")

DOUBLE = "def double(x):\n    return 2 * x"
QUADRUPLE = f"{DOUBLE}\n\ndef quadruple(x):\n    return double(double(x))"


def skill(name: str = "double", code: str = DOUBLE, uses: tuple[str, ...] = (), **more: Any) -> Skill:
    values = {"about": "returns twice x", "task": "task-1", "attempt": "attempt-1", **more}
    return Skill(round=1, name=name, code=code, uses=uses, **values)


# --- code --------------------------------------------------------------------------------------------------


def test_of_a_program_the_function_is_kept_with_what_it_needs_and_nothing_is_done() -> None:
    found = written(
        f"import math\nFACTOR = 2\n{DOUBLE}\n\ndef main(x):\n    return double(x)\n\nprint(main(3))\nmain(1)"
    )
    assert found.name == "main"
    assert found.code == f"import math\nFACTOR = 2\n\n{DOUBLE}\n\ndef main(x):\n    return double(x)"
    assert written(QUADRUPLE, "double").name == "double"


@pytest.mark.parametrize(
    ("code", "wanted", "why"),
    [
        ("def f(", "", "no Python"),
        ("x = 1", "", "no function"),
        (DOUBLE, "triple", "no such function"),
        ("def print(x):\n    return x", "", "takes a name of Python's own"),
        (f"def f():\n    return '{'x' * MOST_CHARACTERS}'", "", "too long"),
        ("\x00", "", "no Python"),
        ("(" * 5000, "", "no Python"),
        (f"def f(x):\n    return x{' + 1' * 500}", "", "nested too deeply"),
        ("class A:\n    def f(self):\n        return 1", "", "no function"),
    ],
)
def test_what_is_no_skill_is_refused_with_its_reason(code: str, wanted: str, why: str) -> None:
    with pytest.raises(SkillError, match=why):
        written(code, wanted)


@given(st.text(max_size=200))
def test_whatever_a_model_writes_is_a_skill_or_a_reason(code: str) -> None:
    with contextlib.suppress(SkillError):
        assert written(code).name


def test_two_are_the_same_whatever_their_names_comments_and_docstrings() -> None:
    same = "def twice(x):\n    '''Doubles.'''\n    return 2 * x  # twice"
    assert meaning(written(same)) == meaning(skill())
    assert meaning(written("def twice(x):\n    return x + x")) != meaning(skill())
    recursive = "def f(n):\n    return 1 if n < 2 else n * f(n - 1)"
    assert meaning(written(recursive)) == meaning(written(recursive.replace("f(", "g(")))


def test_a_name_that_is_taken_gets_a_number_also_where_the_function_calls_itself() -> None:
    found = renamed(written("def f(n):\n    return 1 if n < 2 else n * f(n - 1)"), {"f", "f_2"})
    assert (found.name, found.code) == ("f_3", "def f_3(n):\n    return 1 if n < 2 else n * f_3(n - 1)")
    assert renamed(found, {"f"}) == found


def test_a_known_skill_inside_another_is_used_and_not_repeated() -> None:
    known = skill()
    found = written(QUADRUPLE, known=[known])
    assert (found.name, found.uses) == ("quadruple", (known.id,))
    assert "def double" not in found.code
    other = written(QUADRUPLE.replace("2 * x", "x + x"), known=[known])
    assert other.uses == ()
    assert "def double" in other.code


def test_a_skill_brings_what_it_uses_along_once_and_a_circle_ends() -> None:
    double = skill()
    quadruple = skill("quadruple", "def quadruple(x):\n    return double(double(x))", (double.id,))
    eight = skill("eight", "def eight(x):\n    return double(quadruple(x))", (quadruple.id, double.id))
    library = {one.id: one for one in (double, quadruple, eight)}
    space: dict[str, Any] = {}
    exec(together([eight, double], library), space)  # noqa: S102 - written above
    assert space["eight"](3) == 24
    assert together([eight], library).count("def double") == 1
    assert together([skill(uses=("skill-gone",))], {}) == DOUBLE
    turning = skill(uses=("skill-x",))
    assert together([turning], {"skill-x": turning}) == DOUBLE
    assert signature(skill(code="def double(x: int, *, y=1):\n    return x")) == "double(x: int, *, y=1)"


def test_what_a_task_asks_for_is_read_in_its_first_line() -> None:
    question = (
        "Write a Python function `minus(a, b)` that takes two integers and returns a minus b.\nminus(1, 2) returns -1"
    )
    assert (asked_for(question), about(question)) == ("minus", "takes two integers and returns a minus b.")
    assert (asked_for("Write something."), about("Write something.")) == ("", "Write something.")


# --- the librarian -----------------------------------------------------------------------------------------


def asked(name: str = "double", what: str = "returns twice x", family: str = "python_functions") -> Task:
    question = f"Write a Python function `{name}(x)` that {what}.\n{name}(1) returns 2"
    return Task(family=family, level=0, question=question, canonical=f"{name} {what}", truth={"hidden": "TRUTH"})


def attempted(task: Task, code: str, number: int = 1, sample: int = 0, right: bool = True, **more: Any) -> list[Record]:
    text = encode(["def wrong", code])
    made: dict[str, Any] = {"round": number, "task": task.id}
    attempt = Attempt(**made, call="call-1", sample=sample, turn=0, text=text, answer=text, strict_answer=text)
    verdict: Any = "accept" if right else "reject"
    judged = Critique(
        **made, attempt=attempt.id, score=float(right), correct=right, strict=right, verdict=verdict, **more
    )
    return [attempt, judged]


async def sorted_by_the_librarian(table: Sitting, tasks: list[Task], number: int = 1) -> tuple[list[Skill], Reply]:
    said = await hear(Librarian().sit(table.table), Round(number, BASE, {}, tasks))
    [reply] = [one for one in said if isinstance(one, Reply)]
    assert reply.error is None, reply.error
    return [one for one in said if isinstance(one, Skill)], reply


async def test_right_functions_become_skills_and_all_else_is_counted(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda asked: "") as table:
        tasks = [
            asked(),
            asked("twice"),
            asked("solve", "adds one"),
            asked("solve", "adds two"),
            asked("broken"),
            asked("wrong"),
        ]
        elsewhere = asked(family="letters")
        long = DOUBLE.replace("return 2 * x", "y = 2 * x\n    return y")
        table.table.ledger.add(
            *tasks,
            elsewhere,
            *attempted(tasks[0], long, sample=0),
            *attempted(tasks[0], DOUBLE, sample=1),
            *attempted(tasks[1], DOUBLE.replace("double", "twice")),
            *attempted(tasks[2], "def solve(x):\n    return x + 1"),
            *attempted(tasks[3], "def solve(x):\n    return x + 2"),
            *attempted(tasks[4], DOUBLE),
            *attempted(tasks[5], "def wrong(x):\n    return 0", right=False),
            *attempted(elsewhere, DOUBLE),
        )
        skills, reply = await sorted_by_the_librarian(table, [*tasks, elsewhere])
        assert [(one.name, one.about) for one in skills] == [
            ("double", "returns twice x."),
            ("solve", "adds one."),
            ("solve_2", "adds two."),
        ]
        assert skills[0].code == DOUBLE, "the shortest"
        assert reply.content == {
            "kept": ["double", "solve", "solve_2"],
            "left_out": {"known already": 1, "no such function": 1},
        }
        again, _ = await sorted_by_the_librarian(table, [*tasks, elsewhere])
        assert again == skills, "a node that runs again keeps the same"
        # The next round knows them.
        more = asked("quadruple", "returns four times x")
        table.table.ledger.add(more, *attempted(more, QUADRUPLE, 2), *attempted(tasks[0], DOUBLE, 2))
        [composed], reply = await sorted_by_the_librarian(table, [tasks[0], more], 2)
        assert composed.uses == (skills[0].id,)
        assert "def double" not in composed.code
        assert reply.content["left_out"] == {"known already": 1}
        assert await hear(Librarian().sit(table.table), Round(3, BASE, {}, [elsewhere])) == []


async def test_skills_are_recalled_by_what_they_do_and_a_rollback_leaves_what_was_verified(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda asked: "") as table:
        ledger, memory = table.table.ledger, table.table.memory
        await memory.sync()
        task = asked()
        proven, rumour = attempted(task, DOUBLE), attempted(task, "def double(x):\n    return x", sample=1, right=False)
        made = [
            skill(task=task.id, attempt=proven[0].id, about="returns the larger of two numbers"),
            skill(task=task.id, attempt=rumour[0].id, about="counts the vowels of a word"),
        ]
        ledger.add(task, *proven, *rumour, *made)
        found = await memory.recall("how many vowels has a word?", Skill, before=9, count=1)
        assert [one.about for one, _ in found] == ["counts the vowels of a word"]
        assert await memory.recall("vowels", Skill, before=1) == []
        assert await memory.recall("vowels", Skill, before=9, exclude=[task.id]) == []
        assert memory.made_under([BASE]) == [made[1].id]
        await memory.retire([made[1].id], "rolled back")
        assert await memory.recall("how many vowels has a word?", Skill, before=9, present=True) == []
        [(kept, _)] = await memory.recall("returns the larger of two numbers", Skill, before=9)
        assert kept.id == made[0].id


async def test_an_index_from_before_there_were_skills_takes_them_in(tmp_path: Path) -> None:
    from quintet.memory.index import Index
    from quintet.memory.memory import Memory

    async with sitting(tmp_path, lambda asked: "") as table:
        task = asked()
        table.table.ledger.add(task, *attempted(task, DOUBLE))
        await table.table.memory.sync()
        assert await table.table.memory.recall("double", Skill, before=9) == []
        table.table.ledger.add(skill(task=task.id))
        later = Memory(table.table.ledger, Index(tmp_path / "chroma"))
        try:
            assert len(await later.recall("double", Skill, before=9)) == 1
        finally:
            later.close()


# --- answering with skills ---------------------------------------------------------------------------------


async def solved(tmp_path: Path, program: str, *skills: Skill) -> tuple[Solution, list[str]]:
    def says(asked: str) -> str:
        return program if "Python" in asked else "Answer: greedy"

    async with sitting(tmp_path, says) as table:
        task = asked()
        table.table.ledger.add(task, *(one.with_(task=task.id) for one in skills))
        family = table.table.examiner.families["chain_sum"]
        solution = await WithSkills().solve(Desk(table.table, Question("What is twice 21?", 0, BASE), family))
        return solution, table.model.heard


@needs_a_sandbox
@pytest.mark.parametrize("program", ["print(double(21))", "```python\nprint(double(21))\n```", "double(21)"])
async def test_a_program_that_calls_a_skill_gives_the_answer(program: str, tmp_path: Path) -> None:
    solution, heard = await solved(tmp_path, program, skill())
    assert (solution.text, solution.answer) == ("Answer: 42", "42")
    assert [step.what for step in solution.steps] == ["skill", "program", "output"]
    assert "double(x)  # returns twice x" in heard[0]
    assert "TRUTH" not in json.dumps(heard)


@needs_a_sandbox
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print(triple(21))", "NameError"),
        ("while True: pass", "was ended"),
        ("x = 1", "printed nothing"),
        ("print('x' * 300)", "more than 200 characters"),
        ("I do not know.", "SyntaxError"),
        ("", "printed nothing"),
        ("import os; os.fork()", "PermissionError"),
    ],
)
async def test_where_the_program_fails_the_plain_reply_answers(program: str, why: str, tmp_path: Path) -> None:
    solution, _ = await solved(tmp_path, program, skill())
    assert solution.text == "Answer: greedy"
    assert solution.steps[-1].what == "no program"
    assert why in solution.steps[-1].text


async def test_without_skills_or_with_a_damaged_one_the_plain_reply_answers(tmp_path: Path) -> None:
    solution, heard = await solved(tmp_path / "none", "print(1)")
    assert (solution.text, len(heard)) == ("Answer: greedy", 1)
    assert solution.steps[-1].text == "no skill was recalled"
    solution, _ = await solved(tmp_path / "damaged", "print(1)", skill(code="def ("))
    assert solution.text == "Answer: greedy"
