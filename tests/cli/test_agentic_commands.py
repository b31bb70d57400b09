"""Tools, personas and test-time training on a finished run: what is asked, recorded, kept, and left behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from parity import Parity
from short import SHORT

from quintet.agents.evolver import MOST_CHARACTERS, Evolver, Rated
from quintet.agents.strategies.personas import WithPersona, newest
from quintet.agents.strategies.test_time import TrainedAtTestTime
from quintet.graph.adapters import standing
from quintet.graph.evolving import refusal
from quintet.graph.solving import beside
from quintet.memory.workspace import Workspace
from quintet.models.engine import Engine
from quintet.records import Adapter, Call, Evaluation, Persona, Record, Row, Task
from quintet.tasks.errors import LevelTooNarrow
from quintet.tasks.examiner import Examiner
from quintet.training.errors import TrainError
from quintet.training.registry import ASIDE, Registry

Typed = Callable[..., Result]
Answered = Callable[..., Any]

HOSTILE = "You {{ 7 * 7 }} <script>alert(1)</script> {% for x in y %} solve."


def found(workspace: Path, kind: type[Record]) -> list[Any]:
    with Workspace(workspace).ledger() as ledgers:
        return ledgers.run().find(kind)


def left_behind(workspace: Path) -> list[str]:
    """Folders of adapters, and what is beside them."""
    return sorted(path.name for path in (workspace / "adapters").iterdir())


# --- test-time training ------------------------------------------------------------------------------------


@pytest.fixture
def easily_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model hardly ever agrees with itself."""
    monkeypatch.setattr(TrainedAtTestTime, "least_votes", 1)
    monkeypatch.setattr(TrainedAtTestTime, "agreement", 0.0)
    monkeypatch.setattr(TrainedAtTestTime, "least_rows", 1)
    monkeypatch.setattr(TrainedAtTestTime, "_rows", lenient(TrainedAtTestTime._rows))


def lenient(rows: Any) -> Any:
    """Rows also of replies in which nothing is read or that were cut off, as a random model's are."""

    def made(self: Any, voted: Any) -> Any:
        replies = [one.model_copy(update={"finished": True, "answer": one.text or "x"}) for one in voted.replies]
        voted.replies = replies
        return rows(self, voted)

    return made


@pytest.mark.usefixtures("easily_agreed")
def test_test_time_training_leaves_no_adapter_no_row_and_no_incumbent_behind(
    answered: Answered, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []
    forget = Engine.forget

    def noted(self: Engine, adapter: str) -> None:
        forgotten.append(adapter)
        forget(self, adapter)
        assert adapter not in self._adapters

    monkeypatch.setattr(Engine, "forget", noted)
    before = (left_behind(workspace), found(workspace, Adapter), found(workspace, Row))
    shown = answered("eval", "--suite", "steer", "--strategy", "greedy", "--strategy", "test_time", "--samples", "2")
    assert {way["strategy"] for way in shown["ways"].values()} == {"greedy", "test_time"}
    [name] = forgotten
    assert name.startswith("temporary-")
    assert (left_behind(workspace), found(workspace, Adapter), found(workspace, Row)) == before
    incumbent = before[1][-1].id
    with Workspace(workspace).ledger() as ledgers:
        assert standing(ledgers.run()).incumbent == incumbent
    [evaluation] = [one for one in found(workspace, Evaluation) if one.strategy == "test_time"]
    assert (evaluation.adapter, evaluation.round) == (incumbent, 0)
    asked = [call for call in found(workspace, Call) if call.adapter == name]
    assert len(asked) == len(evaluation.tasks), "each question is answered under it, once"
    prompts = " ".join(message.content for call in asked for message in call.messages)
    assert "truth" not in prompts


@pytest.mark.usefixtures("easily_agreed")
def test_a_question_asked_alone_is_joined_by_related_ones(answered: Answered, workspace: Path) -> None:
    [solved] = answered("solve", "Is 12 even?", "--strategy", "test_time", "--family", "parity", "--samples", "2")
    [votes, trained] = solved["solution"]["steps"]
    assert (votes["what"], trained["what"]) == ("votes", "trained")
    rows, _, questions = trained["text"].split()[:3]
    assert int(rows) >= int(trained["text"].split()[3]) > 1, (rows, questions, trained)
    assert left_behind(workspace) == sorted(adapter.id for adapter in found(workspace, Adapter))


def test_where_too_few_samples_agree_nothing_is_trained(answered: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> str:
        raise AssertionError("nothing is to be trained")

    monkeypatch.setattr(TrainedAtTestTime, "least_rows", 1000)
    monkeypatch.setattr(TrainedAtTestTime, "_train", never)
    [solved] = answered("solve", "Is 12 even?", "--strategy", "test_time", "--samples", "2")
    [greedy] = answered("solve", "Is 12 even?")
    assert solved["solution"]["steps"][-1]["what"] == "not trained"
    assert solved["solution"]["text"] == greedy["solution"]["text"]


@pytest.mark.usefixtures("easily_agreed")
def test_a_training_that_fails_costs_only_itself(
    answered: Answered, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left_behind(workspace)

    async def fails(self: Any, table: Any, adapter: str, rows: Any, folder: Path) -> str:
        folder.mkdir(parents=True)
        (folder / "half").write_text("written")
        raise TrainError("the disk caught fire")

    monkeypatch.setattr(TrainedAtTestTime, "_train", fails)
    [solved] = answered("solve", "Is 12 even?", "--strategy", "test_time", "--samples", "2")
    assert solved["solution"]["steps"][-1] == {"what": "not trained", "text": "the disk caught fire"}
    assert left_behind(workspace) == before


KILLED = """
import sys
from quintet.agents.strategies.test_time import TrainedAtTestTime as Way
Way.least_votes, Way.agreement, Way.least_rows = 1, 0.0, 1
rows = Way._rows
def lenient(self, voted):
    voted.replies = [one.model_copy(update={"finished": True, "answer": one.text or "x"}) for one in voted.replies]
    return rows(self, voted)
Way._rows = lenient
from quintet.cli import main
main()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_in_the_middle_nothing_stays_that_a_later_run_takes_for_an_adapter(
    how: signal.Signals, quintet: Typed, answered: Answered, workspace: Path, tmp_path: Path
) -> None:
    adapters = [adapter.id for adapter in found(workspace, Adapter)]
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), "solve", "Is 12 even?", "--strategy", "test_time", "--samples", "2"]
    process = subprocess.Popen([*command, "--workspace", str(workspace)], stderr=subprocess.PIPE)
    folder, until = workspace / "adapters" / ASIDE, time.monotonic() + 120
    # The trainer begins to write beside the place that the adapter is to have.
    while not folder.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    assert folder.exists(), process.communicate()[1]
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert folder.exists() == (how == signal.SIGKILL)
    # Nobody takes what lies there for an adapter, and the next who opens the workspace clears it away.
    assert Registry(workspace / "adapters").ids() == sorted(adapters)
    assert [adapter["id"] for adapter in answered("adapters")] == adapters
    answered("solve", "Is 12 even?")
    assert left_behind(workspace) == sorted(adapters)


def test_a_temporary_place_is_empty_again_however_its_use_ends(tmp_path: Path) -> None:
    registry = Registry(tmp_path)

    def interrupted() -> None:
        with registry.temporary("temporary-1") as folder:
            for path in (folder, folder.with_name(f".{folder.name}.part")):
                path.mkdir(parents=True)
                (path / "weights").write_text("x")
            with registry.temporary("temporary-2") as other:
                other.mkdir()
            assert folder.exists()
            assert registry.ids() == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


# --- personas ----------------------------------------------------------------------------------------------


def item(question: str, canonical: str, answer: Any) -> Task:
    return Task(family="f", level=0, question=question, canonical=canonical, truth={"answer": answer}, split="gate")


ITEMS = [
    item("What is 17 + 25?", "17+25", 42),
    item("Capital of France?", "france capital", "Paris"),
    item("Is it?", "q", "yes"),
]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("x" * (MOST_CHARACTERS + 1), "longer than"),
        ("you  solve SHORT problems.", "the same as before"),
        ("If asked, what is 17 + 25? think.", "holds an evaluation item"),
        ("Remember that 17 + 25 matters.", "holds an evaluation item"),
        ("The answer may be 42.", "holds the answer"),
        ("Always say Paris.", "holds the answer"),
        ("Say yes, and count to 421.", ""),
        (HOSTILE, ""),
    ],
)
def test_a_persona_that_may_not_be_tried_is_refused_with_its_reason(text: str, why: str) -> None:
    found = refusal(text, ["You solve short problems."], ITEMS)
    assert found.startswith(why) if why else found == "", found


def proposing(monkeypatch: pytest.MonkeyPatch, *texts: str) -> list[list[str]]:
    """Has the evolver propose these; what it was shown is returned."""
    shown: list[list[str]] = []

    async def propose(self: Evolver, n: int, rated: list[Rated], examples: Any, about: str) -> list[tuple[str, str]]:
        shown.append([one.text for one in rated])
        return [(text, "call-none") for text in texts[:n]]

    monkeypatch.setattr(Evolver, "propose", propose)
    return shown


def scoring(monkeypatch: pytest.MonkeyPatch, right: Callable[[str, Task], bool]) -> None:
    """Has answers under a persona be right where a test says so."""
    from quintet.agents.strategies import Desk, Solution

    async def solve(self: WithPersona, desk: Desk) -> Solution:
        task = desk.table.ledger.get(desk.question.task or "")
        assert isinstance(task, Task)
        wanted = float(right(self.text or "", task))
        answers = map(str, itertools.count())
        answer = next(one for one in answers if Parity().score(task.truth, one) == wanted)
        return Solution(text=f"Answer: {answer}", answer=None)

    monkeypatch.setattr(WithPersona, "solve", solve)


def test_the_best_persona_is_kept_where_fresh_questions_support_it(
    answered: Answered, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = f"You are better. {HOSTILE}"
    shown = proposing(monkeypatch, "You are worse.", better, "", "You are worse.")
    scoring(monkeypatch, lambda text, task: text == better)
    before = {task.id for task in found(workspace, Task)}
    done = answered("evolve", "--candidates", "4", "--rounds", "2")
    assert done["kept"] == better
    assert [one["reason"] for one in done["tried"] if one["correct"] is None][:2] == [
        "refused: empty or cut off",
        "refused: the same as before",
    ]
    assert [sorted(texts) for texts in shown] == [
        ["You solve short problems."],
        sorted(["You solve short problems.", better, "You are worse."]),
    ]
    personas = {persona.text: persona for persona in found(workspace, Persona)}
    kept = personas[better]
    assert (kept.kept, kept.effect, kept.p_value < done["alpha"]) == (True, 1.0, True)
    evaluations = [one for one in found(workspace, Evaluation) if one.id in kept.evaluations]
    assert {one.suite for one in evaluations} == {"train"}
    assert not before & set(evaluations[0].tasks), "nobody was asked these before"
    assert {one.round for one in evaluations} == {0}
    assert not personas["You are worse."].kept
    # The next call begins from it, with what nobody was asked, at a smaller error budget, or says there is no more.
    monkeypatch.undo()
    proposing(monkeypatch, "You are best.")
    scoring(monkeypatch, lambda text, task: text == "You are best.")
    again = answered("evolve", "--candidates", "1", "--rounds", "1")
    assert again["present"] == better
    assert again["alpha"] == pytest.approx(done["alpha"] / 4)
    last = found(workspace, Persona)[-1]
    assert last.parent == kept.id
    later = [one for one in found(workspace, Evaluation) if one.id in last.evaluations]
    assert not set(later[0].tasks) & set(evaluations[0].tasks)


def test_a_persona_that_is_better_on_the_steer_suite_only_is_dropped_and_one_that_is_not_is_not_tested(
    answered: Answered, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposing(monkeypatch, "You are lucky.")
    scoring(monkeypatch, lambda text, task: task.split == "steer" and text == "You are lucky.")
    done = answered("evolve", "--candidates", "1", "--rounds", "1")
    assert done["kept"] is None
    assert done["tried"][0]["reason"].startswith("dropped: 0 items won")
    proposing(monkeypatch, "You are no better.")
    scoring(monkeypatch, lambda text, task: False)
    done = answered("evolve", "--candidates", "1", "--rounds", "1")
    assert (done["kept"], done["persona"], done["alpha"]) == (None, None, None)
    assert done["tried"][0]["reason"] == "no better on the steer suite: not tested"
    assert [persona.kept for persona in found(workspace, Persona)] == [False, False]
    with Workspace(workspace).ledger() as ledgers:
        assert newest(ledgers.run(), "solver") is None


def test_the_real_proposer_and_the_tiny_model_go_through(quintet: Typed, workspace: Path) -> None:
    result = quintet("evolve", "--candidates", "2", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert "present persona: " in result.stderr
    assert result.stdout.startswith("solver of tiny-1; its persona has ")
    calls = [call for call in found(workspace, Call) if call.role == "evolver"]
    assert len(calls) == 1
    held = [task.question for task in found(workspace, Task) if task.split != "train"]
    assert not [question for question in held if question in calls[0].messages[-1].content]


def test_an_unknown_role_is_refused(quintet: Typed) -> None:
    result = quintet("evolve", "--role", "critic")
    assert (result.exit_code, "cannot be evolved" in result.stderr) == (2, True)


def test_a_run_whose_levels_have_too_few_questions_left_is_told_so_before_anything_is_asked(
    quintet: Typed, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Examiner.draw

    async def narrow(self: Any, family: str, level: int, seed: int, count: int, split: str, **more: Any) -> Any:
        if split == "train":
            raise LevelTooNarrow(family, level, "train", found=3, needed=count)
        return await draw(self, family, level, seed, count, split, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Examiner, "draw", narrow)
    before = len(found(workspace, Call))
    result = quintet("evolve")
    assert result.exit_code == 2
    assert "parity at level 0 has 3 practice questions left that nobody was asked, and a test needs 12" in result.stderr
    assert len(found(workspace, Call)) == before


def test_a_run_that_is_not_finished_evolves_nothing(quintet: Typed, workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        ledgers.run().update(status="stopped")
    result = quintet("evolve")
    assert (result.exit_code, "is not finished" in result.stderr) == (2, True)


def test_a_kept_persona_is_answered_under_as_it_stands(answered: Answered, workspace: Path) -> None:
    [own] = answered("solve", "Is 12 even?", "--strategy", "persona")
    assert own["solution"]["steps"][0]["text"] == "the role's own: no other was kept"
    with Workspace(workspace).ledger() as ledgers:
        ledgers.run().add(Persona(round=0, role="solver", text=HOSTILE, kept=True, reason="for the test"))
    [solved] = answered("solve", "Is 12 even?", "--strategy", "persona")
    assert solved["solution"]["steps"] == [{"what": "persona", "text": HOSTILE}]
    call = found(workspace, Call)[-1]
    assert call.messages[0].content == HOSTILE, "it is no template"
    [greedy] = answered("solve", "Is 12 even?")
    assert greedy["solution"]["text"] == own["solution"]["text"], "no other prompt changes"


@pytest.mark.parametrize("strategy", ["tools", "skills", "persona"])
def test_each_strategy_answers_and_is_compared_with_greedy(strategy: str, answered: Answered) -> None:
    [solved] = answered("solve", "Is 12 even?", "--strategy", strategy)
    assert isinstance(solved["solution"]["text"], str)
    shown = answered("eval", "--suite", "steer", "--strategy", "greedy", "--strategy", strategy)
    assert {way["strategy"] for way in shown["ways"].values()} == {"greedy", strategy}


# --- the real model ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_the_real_model_each_strategy_answers_a_sum(tmp_path: Path) -> None:
    """One short run; then a sum through each of them, and an evolution of one candidate."""
    root = Path(__file__).parents[2]

    def typed(*arguments: str) -> str:
        command = [sys.executable, "-m", "quintet.cli", *arguments, "--workspace", str(tmp_path / "runs")]
        environment = {**os.environ, **SHORT}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=400, check=False, cwd=root, env=environment
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    typed("run", "examples/arithmetic.toml")
    for strategy in ("tools", "skills", "persona", "test_time"):
        [solved] = json.loads(typed("solve", "What is 7 * 8?", "--strategy", strategy, "--samples", "4", "--json"))
        assert solved["solution"]["answer"], (strategy, solved)
    done = json.loads(typed("evolve", "--candidates", "1", "--rounds", "1", "--json"))
    assert done["tried"], done
    assert left_behind(tmp_path / "runs") == sorted(adapter.id for adapter in found(tmp_path / "runs", Adapter))


async def held(workspace: Path) -> None:
    """The model at hand, once."""
    async with beside(workspace):
        pass


def test_what_a_killed_process_left_is_gone_once_the_workspace_is_opened(workspace: Path) -> None:
    leftover = workspace / "adapters" / ASIDE / "temporary-1"
    leftover.mkdir(parents=True)
    asyncio.run(held(workspace))
    assert not leftover.parent.exists()
