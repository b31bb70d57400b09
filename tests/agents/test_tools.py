"""Tools: what each makes of whatever a model writes, and how a question goes on when one fails or hangs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Script, desk_of
from sitting import sitting

from quintet.agents.strategies import Desk, Solution
from quintet.agents.strategies.acting import WithTools
from quintet.agents.table import Question
from quintet.agents.tools import Tool, ToolError, load_tools, used
from quintet.agents.tools.calculating import Calculator
from quintet.agents.tools.executing import Python, printing
from quintet.agents.tools.port import MOST_CHARACTERS
from quintet.agents.tools.searching import Search
from quintet.models.requests import Request
from quintet.plugins import PluginError
from quintet.records import BASE, Lesson, Proposal, Row, Task
from quintet.tasks import sandbox
from quintet.tasks.settings import SandboxSettings, TaskSettings

NO_DESK: Any = None
HOSTILE = [
    "__import__('os').system('touch /tmp/owned')",
    "9" * 5000,
    "9**9**9",
    "(" * 150 + "1" + ")" * 150,
    "1/0",
    "",
    "\x00",
    "{{ 7 * 7 }}",
    "'; DROP TABLE events; --",
    "\ud800",
    "1 if True else 2",
    "lambda: 1",
]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("17 + 25", "42"),
        ("12 * (3 + 4)", "84"),
        ("7 × 8 =", "56"),
        ("1,000 − 1", "999"),
        ("-(2 - 5)", "3"),
        ("10 / 4", "5/2 = 2.5"),
        ("1 / 3 + 1 / 6", "1/2 = 0.5"),
        ("12345678901234567890 * 98765432109876543210", str(12345678901234567890 * 98765432109876543210)),
    ],
)
async def test_the_calculator_is_exact(words: str, said: str) -> None:
    assert await used(Calculator(), words, NO_DESK) == said


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(-999, 999)), min_size=1, max_size=6))
def test_the_calculator_agrees_with_python(terms: list[tuple[str, int]]) -> None:
    text = "1" + "".join(f" {sign} ({number})" for sign, number in terms)
    assert asyncio.run(used(Calculator(), text, NO_DESK)) == str(eval(text))  # noqa: S307 - made of numbers above


@pytest.mark.parametrize("words", HOSTILE)
async def test_no_words_harm_or_stop_the_calculator(words: str) -> None:
    assert (await used(Calculator(), words, NO_DESK, seconds=2)).startswith("error: ")


@given(st.text(max_size=300))
def test_whatever_is_written_the_calculator_answers(words: str) -> None:
    assert asyncio.run(used(Calculator(), words, NO_DESK))


def at_a_sandbox() -> Any:
    limits = SandboxSettings(seconds=3.0, cpu_seconds=1)
    return SimpleNamespace(table=SimpleNamespace(examiner=SimpleNamespace(settings=TaskSettings(sandbox=limits))))


@pytest.mark.skipif(bool(sandbox.unavailable()), reason="there is no sandbox here")
async def test_python_runs_in_the_sandbox_and_nothing_gets_out_of_it(tmp_path: Path) -> None:
    desk = at_a_sandbox()
    assert await used(Python(), "print(sum(range(1, 11)))", desk) == "55"
    assert await used(Python(), "sum(range(1, 11))", desk) == "55"
    assert await used(Python(), "import math\nmath.gcd(12, 18)", desk) == "6"
    mark = tmp_path / "owned"
    for words, said in (
        (f"open({str(mark)!r}, 'w')", "PermissionError"),
        ("while True: pass", "the program was ended: "),
        ("x = 1", "printed nothing"),
        ("def", "SyntaxError"),
        ("", "write a program"),
        ("import socket; socket.socket()", "PermissionError"),
        ("print('x' * 10**9)", "ended: memory|MemoryError|ended: output"),
    ):
        found = await used(Python(), words, desk)
        assert found.startswith("error: "), words
        assert any(one in found for one in said.split("|")), (words, found)
    for words in HOSTILE:
        assert await used(Python(), words, desk)
    assert not mark.exists()
    assert len(await used(Python(), "print('x' * 5000)", desk)) == MOST_CHARACTERS


def test_a_program_too_deep_to_be_written_again_is_run_as_it_stands() -> None:
    assert printing("x = 2\nx + 1") == "x = 2\nprint(x + 1)"
    deep = "1" + " + 1" * 500
    assert printing(deep) == deep


async def test_without_a_sandbox_python_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        return "no sandbox here: the kernel is too old"

    monkeypatch.setattr("quintet.tasks.sandbox.unavailable", none)
    monkeypatch.setattr("quintet.tasks.sandbox.running.unavailable", none)
    assert Python().unavailable() == none()
    assert await used(Python(), "print(1)", at_a_sandbox()) == f"error: {none()}"


async def test_search_finds_what_was_learnt_and_never_an_evaluation_item_or_the_question_itself(tmp_path: Path) -> None:
    async with sitting(tmp_path, lambda asked: "") as table_:
        table = table_.table
        tasks = {
            word: Task(
                family="chain_sum", level=0, question=f"What is {word}?", canonical=word, truth={"answer": "TRUTH"}
            )
            for word in ("4 + 4", "5 + 5")
        }
        held = tasks["4 + 4"].with_(question="What is 9 + 9?", canonical="9+9", split="gate")
        table.ledger.add(held, *tasks.values())
        for number, task in enumerate(tasks.values()):
            about: dict[str, Any] = {"round": 1, "task": task.id, "attempt": f"attempt-{number}"}
            accepted = Proposal(
                round=1,
                origin="drawn",
                number=number,
                family="chain_sum",
                level=0,
                task=task.id,
                accepted=True,
                reason="new",
            )
            row = Row(**about, selection="selection-1", prompt=(), completion=f"Answer: {task.canonical}")
            table.ledger.add(accepted, row, Lesson(**about, critique="critique-1", text=f"Beware of {task.canonical}."))
        family = table.examiner.families["chain_sum"]
        desk = Desk(table, Question("What is 4 + 4?", 0, BASE, tasks["4 + 4"].id), family)
        # Loading the embedder takes long where much else is at work.
        found = await used(Search(), "What is 4 + 4?", desk, seconds=200)
        assert found.splitlines() == ["What is 5 + 5? Answer: 5 + 5", "Beware of 5 + 5.", "What is 5 + 5?"]
        assert "9 + 9" not in await used(Search(), "What is 9 + 9?", desk)
        for words in HOSTILE:
            assert "TRUTH" not in await used(Search(), words, desk)
        assert await used(Search(), "  ", desk) == "error: say what to look for"


class Raising(Tool):
    """Fails."""

    name = "raising"
    about = "fails"

    async def use(self, words: str, desk: Desk) -> str:
        raise RuntimeError("out of order")


class Hanging(Tool):
    """Never answers."""

    name = "hanging"
    about = "hangs"

    async def use(self, words: str, desk: Desk) -> str:
        await asyncio.sleep(3600)
        return ""


async def test_a_tool_that_fails_or_hangs_gives_an_observation_that_says_so() -> None:
    assert await used(Raising(), "x", NO_DESK) == "error: RuntimeError: out of order"
    assert await used(Hanging(), "x", NO_DESK, seconds=0.05) == "error: no answer within 0.05 s"

    class Refusing(Raising):
        async def use(self, words: str, desk: Desk) -> str:
            raise ToolError("not that")

    assert await used(Refusing(), "x", NO_DESK) == "error: not that"


def test_tools_are_found_by_name_and_a_wrong_name_is_said() -> None:
    assert {tool.name for tool in load_tools()} >= {"calculator", "python", "search"}
    assert [tool.name for tool in load_tools(["search", "calculator", "search"])] == ["search", "calculator"]
    with pytest.raises(PluginError, match="did you mean 'calculator'"):
        load_tools(["calculater"])
    for tool in load_tools():
        assert "\n" not in tool.about
        assert isinstance(tool.paper, str)


def calls(*moves: tuple[str, str] | str) -> Any:
    """Says what is called in turn, then the answer `Answer: 102`, with what the persona was told before it."""
    left = list(moves)

    def says(request: Request, place: int) -> str:
        if request.schema_ is None:
            return "Answer: 102"
        move = left.pop(0)
        return move if isinstance(move, str) else json.dumps({"tool": move[0], "input": move[1]}).replace(" ", "")

    return says


async def acted(tmp_path: Path, *moves: tuple[str, str] | str, **desk: Any) -> tuple[Solution, Script]:
    script = Script(calls(*moves))
    with desk_of(script, tmp_path, **desk) as one:
        return await WithTools().solve(one), script


async def test_the_model_calls_sees_and_answers(tmp_path: Path) -> None:
    solution, script = await acted(tmp_path, ("calculator", "17*6"), ("answer", "102"))
    assert [(step.what, step.text) for step in solution.steps] == [("calculator", "17*6 → 102")]
    assert solution.answer == "102"
    offered, seen, final = [request.messages for request in script.asked]
    assert "- calculator: works out arithmetic" in offered[-1].content
    assert "calculator(17*6) = 102" in seen[-1].content
    assert "calculator(17*6) = 102" in final[0].content


async def test_turns_are_limited_and_the_same_call_is_not_made_twice(tmp_path: Path) -> None:
    solution, script = await acted(tmp_path / "a", *[("calculator", f"{n}+1") for n in range(9)])
    assert len(solution.steps) == WithTools.turns
    assert len(script.asked) == WithTools.turns + 1
    solution, script = await acted(tmp_path / "b", ("calculator", "1+1"), ("calculator", "1+1"), ("calculator", "2+2"))
    assert [step.text for step in solution.steps] == ["1+1 → 2", "1+1: asked before"]


@pytest.mark.parametrize("move", [("calculater", "1+1"), ("calculator", "x"), '{"tool":', "[]", "nonsense", ""])
async def test_a_call_that_cannot_be_done_costs_nothing_but_itself(move: Any, tmp_path: Path) -> None:
    solution, script = await acted(tmp_path, move, ("answer", ""))
    assert solution.answer == "102"
    persona = script.asked[-1].messages[0].content
    assert persona == "You solve short problems.", "an error is no fact for the answer"


async def test_what_is_left_of_a_budget_is_for_the_answer(tmp_path: Path) -> None:
    solution, script = await acted(tmp_path, ("calculator", "17*6"), budget=60)
    assert (solution.answer, len(script.asked), solution.steps) == ("102", 1, ())
