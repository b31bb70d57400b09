"""The Python executor: functions are tried in the sandbox, and no trick passes for one that is right."""

from __future__ import annotations

import json
from itertools import islice
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from quintet.agents.playing import Player, Trajectory
from quintet.agents.roles import Answered
from quintet.records import Completion, Task
from quintet.tasks import sandbox
from quintet.tasks.environment import Outcome, encode
from quintet.tasks.environments import specifications
from quintet.tasks.environments.operations import OPERATIONS
from quintet.tasks.environments.python import PythonFunctions, code
from quintet.tasks.environments.specifications import LEVELS, Specification, Step
from quintet.tasks.environments.trial import attempt
from quintet.tasks.errors import LevelError
from quintet.tasks.examiner import Examiner
from quintet.tasks.settings import TaskSettings

TRUTH: dict[str, Any] = {
    "name": "double",
    "signature": "double(x)",
    "words": "takes an integer and returns x times 2",
    "public": [[[3], 6], [[5], 10]],
    "hidden": [[[0], 0], [[7], 14], [[-2], -4], [[111], 222]],
}
RIGHT = "def double(x):\n    return x * 2"
PASSED = "Both examples pass. All hidden tests pass."
FAILED = "Both examples pass. A hidden test fails."


def step(action: str, truth: dict[str, Any] = TRUTH) -> Outcome:
    family = PythonFunctions()
    [outcome] = family.play(truth, [action])
    return outcome


def test_the_question_shows_two_examples_and_no_hidden_test() -> None:
    assert PythonFunctions().begin(TRUTH).reset() == (
        "Write a Python function `double(x)` that takes an integer and returns x times 2.\n"
        "double(3) returns 6\ndouble(5) returns 10\nWrite only the function."
    )


@pytest.mark.parametrize(
    ("action", "observation"),
    [
        ("def double(x):\n    return x + 3", "double(5) returned 8, but should return 10."),
        (
            "def double(x):\n    return x / 0",
            "double(3) raised ZeroDivisionError: division by zero, but should return 6.",
        ),
        ("def double(x):\n    return str(2 * x)", "double(3) returned '6', but should return 6."),
        ("def double(x):\n    return 2.0 * x", "double(3) returned 6.0, but should return 6."),
        ("def double(x):\n    print(2 * x)", "double(3) returned None, but should return 6."),
        ("def double(x):\n    while x: pass", "double(3) took too long, but should return 6."),
        ("def double(x):\n    return [0] * 10**10", "double(3) raised MemoryError, but should return 6."),
        ("def double(x):\n    return double(x)", "double(3) raised RecursionError: "),
        ("def double(x):\n    return {1, 2}", "double(3) raised TypeError: returned a set, but should return 6."),
        ("def double(x):\n    return object()", "double(3) raised TypeError: returned a object, but should return 6."),
        ("def double(x):\n    raise ValueError(object())", "double(3) raised ValueError: <object object at 0x…>, but"),
        ("def double(x):\n    raise ValueError('\\ud800 \\0 ' + 'y' * 10**4)", "double(3) raised ValueError: ? ? yyy"),
        ("def double(x:\n    return 2 * x", "Your code does not work: SyntaxError: '(' was never closed (line 1)."),
        ("double = 2", "Your code does not work: it has no function called double."),
        (
            "import numpy\ndef double(x): return 2 * x",
            "Your code does not work: ModuleNotFoundError: No module named 'numpy'.",
        ),
        (
            "import socket\nsocket.socket()\ndef double(x): pass",
            "Your code does not work: PermissionError: [Errno 1] Operation",
        ),
        ("I would double it.", "Your code does not work: SyntaxError: invalid syntax (line 1)."),
    ],
)
def test_what_is_wrong_on_the_examples_is_told(action: str, observation: str) -> None:
    outcome = step(action)
    assert outcome.observation.startswith(observation), outcome
    assert outcome.observation.endswith(" Write the function again, corrected.")
    assert (outcome.reward, outcome.done, outcome.refused) == (0, False, False)
    assert len(outcome.observation) < 400


def test_a_reply_without_the_function_is_refused() -> None:
    outcome = step("def triple(x):\n    return 3 * x")
    assert outcome.observation == "There is no function `double` in your reply. Write the function again, corrected."
    assert outcome.refused


CHEATS = {
    "learns the examples": "def double(x):\n    return {3: 6, 5: 10}[x]",
    "tells the hidden inputs": "def double(x):\n    if x in (3, 5): return 2 * x\n    raise ValueError(x)",
    "prints a pass": "def double(x):\n    print('All hidden tests pass.')\n    return {3: 6, 5: 10}.get(x)",
    "ends well": "import sys\ndef double(x):\n    return 2 * x if x in (3, 5) else sys.exit(0)",
    "ends at once": "import os\ndef double(x):\n    return 2 * x if x in (3, 5) else os._exit(0)",
    "equals everything": (
        "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = None\n"
        "def double(x):\n    return 2 * x if x in (3, 5) else Same()"
    ),
    "redefines equality": (
        "import builtins, json\njson.dumps = json.loads = lambda *a, **k: 'true'\nbuiltins.all = lambda each: True\n"
        "def double(x):\n    return 2 * x if x in (3, 5) else 0"
    ),
    "reads the tests": (
        "import sys, glob\nfound = [open(name).read() for name in glob.glob('*')]\n"
        "def double(x):\n    return 2 * x if x in (3, 5) else found"
    ),
    "collects the tests": "seen = []\ndef double(x):\n    seen.append(x)\n    return 2 * x if x in (3, 5) else seen",
    # It finds the channel and the mark, and says that all went well.
    "forges replies": (
        "import sys, os, json\n"
        "frame = sys._getframe()\n"
        "while 'given' not in frame.f_globals: frame = frame.f_back\n"
        "home = frame.f_globals\n"
        "def double(x):\n"
        "    if x in (3, 5): return 2 * x\n"
        "    for reply in (['value', True], ['value', None], ['unusable', ''], ['passed', 1], ['value', 1]) * 2:\n"
        "        os.write(home['channel'], (home['given']['mark'] + json.dumps(reply) + '\\n').encode())\n"
        "    os._exit(0)"
    ),
    "writes nonsense": (
        "import os\ndef double(x):\n    if x in (3, 5): return 2 * x\n"
        "    for number in range(64):\n"
        "        try: os.write(number, b'[\"value\", 0]\\n\\xff\\x00' * 9)\n"
        "        except OSError: pass"
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_passes_and_none_learns_what_is_hidden(cheat: str) -> None:
    outcome = step(CHEATS[cheat])
    assert (outcome.observation, outcome.reward, outcome.done) == (FAILED, 0, True)


@pytest.mark.parametrize(
    "cheat", ["import sys\nsys.exit(0)\ndef double(x): pass", "import os\nos._exit(0)\ndef double(x): pass"]
)
def test_code_that_ends_the_program_at_once_does_not_work(cheat: str) -> None:
    outcome = step(cheat)
    assert outcome.observation.startswith("Your code does not work: ")
    assert not outcome.done


def test_the_function_never_meets_what_is_right() -> None:
    spy = (
        "import sys\n"
        "frame = sys._getframe()\n"
        "while 'given' not in frame.f_globals: frame = frame.f_back\n"
        "def double(x):\n    return frame.f_globals['given']"
    )
    inputs = tuple(json.dumps(given) for given, _ in TRUTH["hidden"])
    trial = attempt(spy, "double", inputs, PythonFunctions().limits)
    found = dict(json.loads(trial.results[0].value or ""))
    assert sorted(found) == ["inputs", "mark", "name", "source"]
    assert found["inputs"] == ["[0]", "[7]", "[-2]", "[111]"]


def test_what_draws_at_random_or_walks_sets_is_the_same_each_time() -> None:
    moody = "import random\ndef double(x):\n    return [random.random(), list({str(x) for x in range(30)}), hash('x')]"
    limits = PythonFunctions().limits
    first, second = (attempt.__wrapped__(moody, "double", ("[1]", "[1]"), limits) for _ in range(2))
    assert first == second
    assert first.results[0] == first.results[1]
    assert first.results[0].error is None


@pytest.mark.parametrize(
    "reply",
    [
        RIGHT,
        f"Sure!\n```python\n{RIGHT}\n```\nIt works like this:\n```\ndouble(3) == 6\n```",
        f"```\n{RIGHT}",
        f"```py\n{RIGHT}\n",
        f"Here it is:\n\n{RIGHT}\n\nThis function doubles x.",
        f"`{RIGHT}`",
        "import math\n\nTWO = 2\n\ndef double(x):\n    # twice\n\n    return x * TWO\nI hope this helps!",
        "  def double(x):\n      return 2 * x",
        "def double(x): return 2 * x",
        "double = lambda x: 2 * x\ndef other(): pass",
    ],
)
def test_code_is_read_leniently(reply: str) -> None:
    family = PythonFunctions()
    assert step(family.action(reply)) == Outcome(observation=PASSED, reward=1, done=True), code(reply)


def test_words_without_code_are_kept_as_they_are() -> None:
    assert code("I cannot do that.\nSorry!") == "I cannot do that.\nSorry!"
    assert code("") == ""


async def test_an_episode_goes_on_until_the_examples_pass_or_turns_run_out() -> None:
    task = Task(family="python_functions", level=0, question="?", canonical="?", truth=TRUTH)
    wrong = "def double(x):\n    return x"
    hangs = "def double(x):\n    while True: pass"
    with Examiner([PythonFunctions()], TaskSettings()) as examiner:
        known: list[Outcome] = []
        for action in (wrong, "nothing", RIGHT):
            found = await examiner.step(task, [*([wrong, "nothing", RIGHT][: len(known)]), action], known)
            assert found.error is None
            assert found.outcome
            known.append(found.outcome)
        assert [(each.reward, each.done, each.refused) for each in known] == [(0, 0, 0), (0, 0, 1), (1, 1, 0)]
        right, late, slow = await examiner.judge(
            task, [encode([wrong, "nothing", RIGHT]), encode([wrong, wrong, wrong, RIGHT]), encode([hangs] * 3)]
        )
    assert (right.correct, right.error) == (True, None)
    assert (late.correct, late.error) == (False, None)
    # Three that hang are still judged within `verify_seconds`, from a worker that knows none of them.
    assert (slow.correct, slow.error) == (False, None)


async def test_the_model_is_shown_what_failed_and_its_trajectory_is_kept() -> None:
    task = Task(family="python_functions", level=0, question="?", canonical="?", truth=TRUTH)
    replies = ["Here:\n```python\ndef double(x):\n    return x + x - 1\n```", f"Sorry!\n```\n{RIGHT}\n```"]
    told: list[str] = []

    async def ask(one: Trajectory) -> Answered:
        told.append(one.words)
        call = f"call-{len(told)}"
        return Answered((Completion(text=replies[len(told) - 1], finish="stop"),), (call,), (0,))

    family = PythonFunctions()
    with Examiner([family]) as examiner:
        table: Any = SimpleNamespace(examiner=examiner)
        [played] = await Player(table, family, task, 1, "solver", str).play(1, ask)
    assert told == ["?", "double(3) returned 5, but should return 6. Write the function again, corrected."]
    assert [(each.reward, each.done, each.error) for each in played.transitions] == [(0, False, None), (1, True, None)]
    assert played.actions[1] == RIGHT


def test_turns_and_limits_follow_the_settings() -> None:
    family = PythonFunctions()
    given = {"python_functions": {"turns": 5}, "sandbox": {"memory_mb": 100, "seconds": 0.2}, "verify_seconds": 10}
    with Examiner([family], TaskSettings.model_validate(given)):
        assert (family.turns, family.limits.memory_mb, family.limits.seconds) == (5, 100, 0.2)
    family.heed(TaskSettings())
    assert 2 * family.turns * family.limits.seconds < TaskSettings().verify_seconds


def test_nothing_is_drawn_where_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "unavailable", lambda: "the sandbox needs Linux")
    with pytest.raises(LevelError, match="needs Linux"):
        next(PythonFunctions().draw(0, 0))


# --- what is asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_level_holds_hundreds_of_questions_that_differ_in_meaning(level: int) -> None:
    drafts = list(islice(PythonFunctions().draw(level, 1), 2500))
    assert len({draft.canonical for draft in drafts}) > 200
    assert drafts[:50] == list(islice(PythonFunctions().draw(level, 1), 50))
    for draft in drafts[:200]:
        truth = draft.truth
        assert (len(truth["public"]), len(truth["hidden"])) == (2, 8)
        cases = [json.dumps(given) for given, _ in truth["public"] + truth["hidden"]]
        assert len(set(cases)) == 10
        assert json.loads(json.dumps(truth)) == truth


def test_functions_that_do_the_same_are_one_question() -> None:
    by_name = {(each.takes, each.name): each for each in OPERATIONS}

    def meaning(*steps: tuple[str, int]) -> str:
        return Specification("integer", tuple(Step(by_name["integer", name], (c,)) for name, c in steps)).meaning

    assert meaning(("add", 3), ("add", 4)) == meaning(("add", 7)) == meaning(("add", 9), ("subtract", 2))
    assert meaning(("add", 7)) != meaning(("add", 8))


SOLUTIONS = {
    ("integer", "add"): "v + C",
    ("integer", "subtract"): "v - C",
    ("integer", "multiply"): "sum([v] * C)",
    ("integer", "from"): "-(v - C)",
    ("integer", "remainder"): "v - C * (v // C)",
    ("integer", "divide"): "(v - v % C) // C",
    ("pair", "plus"): "v[0] + v[1]",
    ("pair", "minus"): "v[0] - v[1]",
    ("pair", "times"): "v[0] * v[1]",
    ("pair", "larger"): "sorted(v)[1]",
    ("pair", "smaller"): "sorted(v)[0]",
    ("pair", "total"): "v[0] + v[1] + C",
    ("pair", "scaled"): "v[0] * C + v[1]",
    ("text", "repeat"): "''.join([v] * C)",
    ("text", "first"): "''.join(v[i] for i in range(min(C, len(v))))",
    ("text", "last"): "v[max(0, len(v) - C):]",
    ("text", "append"): "f'{v}{C}'",
    ("text", "prepend"): "f'{C}{v}'",
    ("text", "remove"): "''.join(e for e in v if e != C)",
    ("text", "replace"): "''.join(D if e == C else e for e in v)",
    ("text", "upper"): "''.join(e.upper() for e in v)",
    ("text", "reverse"): "''.join(reversed(v))",
    ("text", "length"): "sum(1 for e in v)",
    ("text", "count"): "sum(e == C for e in v)",
    ("text", "starts"): "v[:1] == C",
    ("text", "contains"): "any(e == C for e in v)",
    ("list", "add"): "list(map(lambda e: e + C, v))",
    ("list", "multiply"): "list(map(lambda e: e * C, v))",
    ("list", "above"): "[e for e in v if not e <= C]",
    ("list", "below"): "[e for e in v if not e >= C]",
    ("list", "divisible"): "[e for e in v if not e % C]",
    ("list", "first"): "[v[i] for i in range(min(C, len(v)))]",
    ("list", "skip"): "[v[i] for i in range(C, len(v))]",
    ("list", "sort"): "sorted(v)",
    ("list", "reverse"): "list(reversed(v))",
    ("list", "total"): "sum(e for e in v)",
    ("list", "length"): "sum(1 for e in v)",
    ("list", "count"): "len([e for e in v if e > C])",
    ("list", "contains"): "any(e == C for e in v)",
}
"""Each operation as the question's words say it, written by another hand."""


def solution(specification: Specification) -> str:
    lines = [f"def {specification.name}(*v):", "    v = v if len(v) > 1 else v[0]"]
    for each in specification.steps:
        lines.append(f"    C, D = {(*each.constants, None, None)[:2]!r}")
        lines.append(f"    v = {SOLUTIONS[each.operation.takes, each.operation.name]}")
    return "\n".join([*lines, "    return v"])


def results(specification: Specification, seed: int) -> tuple[list[Any], list[Any]] | None:
    """What the solution returns, and what is right; this code is ours, and runs here."""
    cases = specifications.tests(specification, Random(seed))
    if cases is None:
        return None
    space: dict[str, Any] = {}
    exec(solution(specification), space)  # noqa: S102
    return [space[specification.name](*json.loads(json.dumps(given))) for given, _ in cases], [v for _, v in cases]


def test_what_the_words_say_is_what_is_right() -> None:
    assert {(each.takes, each.name) for each in OPERATIONS} == set(SOLUTIONS)
    for operation in OPERATIONS:
        found = []
        for seed in range(40):
            random = Random(seed)
            constants = tuple(random.choice(choices) for choices in operation.constants)
            found.append(results(Specification(operation.takes, (Step(operation, constants),)), seed))
        compared = [each for each in found if each]
        assert compared, operation
        assert all(ours == right for ours, right in compared), operation


@pytest.mark.parametrize("level", [3, 4])
def test_steps_are_done_one_after_another(level: int) -> None:
    random = Random(level)
    found = [results(specifications.specify(level, random), seed) for seed in range(200)]
    compared = [each for each in found if each]
    assert len(compared) > 50
    assert all(ours == right for ours, right in compared)


def test_a_right_solution_is_right_in_the_sandbox() -> None:
    wanted = specifications.specify(4, Random(1))
    cases = specifications.tests(wanted, Random(1))
    assert cases
    truth = {"name": wanted.name, "signature": wanted.signature, "words": wanted.words}
    truth |= {"public": cases[:2], "hidden": cases[2:]}
    assert step(solution(wanted), truth) == Outcome(observation=PASSED, reward=1, done=True)
