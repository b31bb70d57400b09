"""The loop on environments, with a tiny model: trajectories, their rows, and what goes wrong in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import tossing
from pydantic import BaseModel
from tossing import settings
from wild import CANARY, Tosses, Wild

from quintet import EpisodeRole, Loop
from quintet.agents.curator import Curator
from quintet.agents.errors import AgentError
from quintet.agents.solver import shown
from quintet.agents.strategies import strategies
from quintet.agents.table import Episode, Round
from quintet.agents.trainer import Trainer
from quintet.graph.errors import LoopError
from quintet.graph.judging import Judging
from quintet.graph.report import overview, report
from quintet.graph.settings import Settings
from quintet.graph.solving import Side, solve
from quintet.memory.ledger import RunLedger
from quintet.memory.lineage import lineage
from quintet.memory.workspace import Workspace
from quintet.records import (
    BASE,
    Adapter,
    Attempt,
    Call,
    Critique,
    Evaluation,
    Proposal,
    Recall,
    Record,
    Reply,
    Row,
    Selection,
    Task,
    Transition,
)
from quintet.tasks.environment import decode
from quintet.tasks.examiner import Examiner

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    Loop(settings(tiny_model_folder), tasks=[Tosses()], workspace=folder).run()
    return folder


@pytest.fixture
def ledger(workspace: Path) -> Iterator[RunLedger]:
    with Workspace(workspace).ledger() as ledger:
        yield ledger.run("tiny-1")


def trajectory(ledger: RunLedger, attempt: Attempt) -> list[Transition]:
    found = [ledger.get(id) for id in attempt.transitions]
    return [one for one in found if isinstance(one, Transition)]


def test_every_attempt_is_a_trajectory_whose_steps_are_linked_in_a_chain(ledger: RunLedger) -> None:
    attempts = ledger.find(Attempt)
    assert Counter(attempt.task for attempt in attempts).most_common()[-1][1] == 3
    for attempt in attempts:
        steps = trajectory(ledger, attempt)
        assert decode(attempt.text) == [step.action for step in steps]
        assert [step.number for step in steps] == list(range(len(steps)))
        assert [step.before for step in steps] == [None, *(step.id for step in steps[:-1])]
        assert (attempt.call, attempt.sample) == (steps[-1].call, steps[-1].sample)
        assert steps[-1].done or len(steps) == Tosses.turns
    assert len({len(trajectory(ledger, attempt)) for attempt in attempts}) > 1


def test_each_action_was_chosen_in_a_conversation_that_holds_all_before_it(ledger: RunLedger) -> None:
    for attempt in ledger.find(Attempt):
        said: list[tuple[str, str]] = []
        for step in trajectory(ledger, attempt):
            call = ledger.get(step.call)
            assert isinstance(call, Call)
            assert [(message.role, message.content) for message in call.messages[:-1][1:]] == said
            assert len(call.completions) == 1
            said += [("user", call.messages[-1].content), ("assistant", call.completions[0].text)]
            before = ledger.get(step.before or "")
            if isinstance(before, Transition):
                assert call.messages[-1].content == before.observation.strip()


def test_nothing_is_revised_and_the_verdict_is_the_replays(ledger: RunLedger) -> None:
    assert {attempt.turn for attempt in ledger.find(Attempt)} == {0}
    critiques = {critique.attempt: critique for critique in ledger.find(Critique)}
    for attempt in ledger.find(Attempt):
        critique = critiques[attempt.id]
        assert critique.error is None
        assert critique.score == trajectory(ledger, attempt)[-1].reward
        assert critique.verdict == ("accept" if critique.correct else "reject")
    assert len({critique.correct for critique in critiques.values()}) == 2
    assert not [call for call in ledger.find(Call) if call.role == "critic"]


class Never(EpisodeRole):
    """Wants all revised."""

    name = "never"
    after = "critic"

    async def act(self, episode: Episode) -> Wish:
        return Wish()


class Wish(BaseModel):
    verdict: Literal["revise"] = "revise"


def test_a_role_that_wants_a_right_trajectory_revised_is_on_record_and_costs_it_its_row_only(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    suites = {"steer_items": 0, "gate_items": 12, "final_items": 1}
    chosen = settings(tiny_model_folder, rounds=1, evaluation=suites)
    Loop(chosen, roles=[Never()], tasks=[Tosses()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        assert {reply.verdict for reply in ledger.find(Reply)} == {"revise"}
        assert all(attempt.turn == 0 and attempt.transitions for attempt in ledger.find(Attempt))
        right = {critique.attempt for critique in ledger.find(Critique) if critique.correct}
        assert right
        reasons = {one.reason for one in ledger.find(Selection) if one.attempt in right}
        assert reasons == {"never said revise"}
        assert not ledger.find(Row)


def test_a_chosen_trajectory_gives_a_row_for_each_action_with_the_models_own_words(ledger: RunLedger) -> None:
    rows = ledger.find(Row)
    assert rows
    assert len({row.id for row in rows}) == len(rows)
    for selection in ledger.find(Selection):
        mine = [row for row in rows if row.selection == selection.id]
        assert bool(mine) == selection.chosen
        if not mine:
            continue
        attempt = ledger.get(selection.attempt)
        assert isinstance(attempt, Attempt)
        calls = [ledger.get(step.call) for step in trajectory(ledger, attempt)]
        by_words = {(call.messages, call.completions[0].tokens): call for call in calls if isinstance(call, Call)}
        # What was refused, or cut off, is context and no row.
        assert 0 < len(mine) <= len(calls)
        for row in mine:
            assert (row.prompt, row.tokens) in by_words
            assert row.prompt[-1].role == "user"
            assert row.attempt == attempt.id
        assert sum(row.weight for row in mine) == pytest.approx(1.0)


@pytest.mark.parametrize("rules", [{}, {"hardest": ("pass_rate",), "shortest": ("tokens",)}])
async def test_the_row_budget_counts_actions_and_takes_a_trajectory_whole_or_not_at_all(
    workspace: Path, rules: dict[str, tuple[str, ...]]
) -> None:
    async with Loop.resume(None, workspace, tasks=[Tosses()]).context() as context:
        ledger = context.table.ledger
        tasks = {task.id: task for task in ledger.find(Task) if task.split == "train"}
        attempted = dict.fromkeys(one.task for one in ledger.find(Attempt, round=1))
        scene = Round(1, BASE, {"tosses": 0}, [tasks[id] for id in attempted])
        whole = Counter(row.attempt for row in ledger.find(Row, round=1))
        assert max(whole.values()) > 1
        taken = []
        for budget in range(1, sum(whole.values()) + 1):
            settings = context.settings.model_dump()
            learnt = {"allocate": "uniform", "rules": rules} if rules else {}
            settings["curator"] |= {"row_budget": budget, **learnt}
            settings["trainer"] |= {"row_budget": budget}
            table = replace(context.table, settings=Settings.model_validate(settings))
            said = await Curator().sit(table).act(scene)
            chosen = [record for record in said if isinstance(record, Row)]
            refused = [one.reason for one in said if isinstance(one, Selection) and one.attempt in whole]
            for rows in (chosen, Trainer().sit(table).materials(scene).rows):
                assert len(rows) <= budget
                assert all(whole[attempt] == number for attempt, number in Counter(row.attempt for row in rows).items())
            assert len(chosen) == sum(whole.values()) or "over the row budget" in refused
            taken.append(len(chosen))
        assert taken[-1] == sum(whole.values())
        assert taken[0] < taken[-1]


def test_lineage_leads_from_a_row_to_every_step_and_from_a_step_to_the_adapter(ledger: RunLedger) -> None:
    row = next(row for row in ledger.find(Row) if len(row.prompt) > 2)
    attempt = ledger.get(row.attempt)
    assert isinstance(attempt, Attempt)
    above = {relative.id for relative in lineage(ledger, row.id).ancestors}
    assert {*attempt.transitions, *(step.call for step in trajectory(ledger, attempt))} <= above
    below = lineage(ledger, attempt.transitions[0]).descendants
    assert {relative.kind for relative in below} >= {Transition.kind, Attempt.kind, Row.kind, Adapter.kind}


def test_a_search_finds_what_other_tasks_of_earlier_rounds_left_and_is_on_record(ledger: RunLedger) -> None:
    recalls = ledger.find(Recall)
    assert {recall.role for recall in recalls} >= {"solver", "evaluation"}
    held_out = {task.id for task in ledger.find(Task) if task.split != "train"}
    for recall in recalls:
        found = [ledger.get(id) for id in recall.sources]
        assert found
        about = {memory.id if isinstance(memory, Task) else getattr(memory, "task", "") for memory in found}
        assert recall.task not in about
        assert not about & held_out
        made = [getattr(memory, "round", None) for memory in found if not isinstance(memory, Task)]
        assert all(number < recall.round for number in made)
    first = [step for step in ledger.find(Transition) if step.round == 1 and step.observation.startswith("Heads.")]
    assert first
    assert all(step.observation == "Heads.\nNothing was found." for step in first)
    later = [step.observation for step in ledger.find(Transition) if step.round == 2]
    assert any("Toss coin" in observation for observation in later)


def test_no_truth_and_no_evaluation_item_is_in_what_is_said_or_learnt(ledger: RunLedger) -> None:
    kinds: tuple[type[Record], ...] = (Call, Row, Attempt, Transition, Recall, Critique)
    texts = [record.model_dump_json() for kind in kinds for record in ledger.find(kind)]
    assert not any(CANARY in text for text in texts)
    held_out = [task for task in ledger.find(Task) if task.split != "train"]
    rows = [row.model_dump_json() for row in ledger.find(Row)]
    assert held_out
    assert not any(task.question in row for task in held_out for row in rows)
    assert not {step.task for step in ledger.find(Transition)} & {task.id for task in held_out}


def test_evaluation_plays_greedily_and_judges_by_replay(ledger: RunLedger) -> None:
    [gate] = [one for one in ledger.find(Evaluation, round=1) if one.suite == "gate" and one.adapter == "base"]
    family = Tosses()
    for answer in gate.answers:
        task = ledger.get(answer.task)
        assert isinstance(task, Task)
        actions = decode(answer.text)
        assert actions
        outcomes = family.play(task.truth, actions)
        assert outcomes[-1].done or len(actions) == Tosses.turns
        assert answer.score == outcomes[-1].reward
        assert answer.strict == answer.correct


def test_what_an_evaluation_took_is_that_of_every_action(ledger: RunLedger) -> None:
    table: Any = SimpleNamespace(ledger=ledger)
    judging = Judging(table, None, None)  # type: ignore[arg-type]
    [gate] = [one for one in ledger.find(Evaluation, round=1) if one.suite == "gate" and one.adapter == "base"]
    calls = [one for one in ledger.find(Call, role="evaluation") if one.task in gate.tasks and one.adapter == "base"]
    assert len(calls) > gate.n
    assert judging.used(gate).generated == sum(call.completion_tokens for call in calls)


def test_one_of_many_actions_is_no_exemplar(ledger: RunLedger) -> None:
    table: Any = SimpleNamespace(ledger=ledger, examiner=SimpleNamespace(families={"tosses": Tosses()}))
    assert ledger.find(Row)
    assert not [row for row in ledger.find(Row) if shown(table, row)]


def test_a_family_that_searches_is_evaluated_anew_in_each_round(ledger: RunLedger) -> None:
    gates = [one for one in ledger.find(Evaluation) if one.suite == "steer" and one.round]
    assert len(gates) == len({(one.adapter, one.round) for one in gates})


def test_the_report_of_such_a_run_can_be_read(workspace: Path, ledger: RunLedger) -> None:
    assert [one.run for one in overview(workspace)] == ["tiny-1"]
    told = report(ledger, Workspace(workspace))
    assert [one.round for one in told.rounds] == [1, 2]
    assert "round" in told.table()


@pytest.mark.slow
def test_two_runs_with_one_seed_have_one_ledger(tmp_path: Path, workspace: Path, tiny_model_folder: Path) -> None:
    Loop(settings(tiny_model_folder), tasks=[Tosses()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as one, Workspace(workspace).ledger() as other:
        assert one.run("tiny-1").digest() == other.run("tiny-1").digest()


class Misled(Wild):
    """A game in which every other action does harm, whatever the model says."""

    name = "misled"
    orders: tuple[str, ...] = ("raise", "nothing", "hang", "exit", "two", "chance", "luck", "long", "win", "refuse")

    def action(self, text: str) -> str:
        return self.orders[sum(text.encode()) % len(self.orders)]


@pytest.mark.slow
def test_whatever_an_environment_does_wrong_is_on_record_and_the_round_goes_on(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    chosen = settings(
        tiny_model_folder,
        "misled",
        rounds=1,
        proposer={"tasks": 5},
        solver={"samples": 4},
        tasks={"verify_seconds": 0.5},
        evaluation={"steer_items": 0, "gate_items": 4, "final_items": 2},
    )
    Loop(chosen, tasks=[Misled()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        errors = {step.action: step.error for step in ledger.find(Transition) if step.error}
        assert len(set(errors) & {"raise", "nothing", "hang", "exit", "two", "long"}) >= 4
        critiques = {critique.attempt: critique for critique in ledger.find(Critique)}
        refused = [one for one in ledger.find(Attempt) if critiques[one.id].error]
        assert refused
        for attempt in ledger.find(Attempt):
            steps, critique = trajectory(ledger, attempt), critiques[attempt.id]
            if steps[-1].error:
                assert critique.error == steps[-1].error
                assert not critique.correct
            elif steps[-1].action == "luck":
                assert "when they were done again" in (critique.error or "") or critique.score == steps[-1].reward
        assert not [reply for reply in ledger.find(Reply) if reply.error]
        rows = {row.attempt for row in ledger.find(Row)}
        assert not rows & {attempt.id for attempt in refused}


async def test_strategies_and_questions_of_a_users_own_are_refused_in_one_clear_line(ledger: RunLedger) -> None:
    with Examiner([Tosses()]) as examiner:
        table: Any = SimpleNamespace(ledger=ledger, examiner=examiner)
        judging = Judging(table, None, None)  # type: ignore[arg-type]
        [way] = strategies(["self_consistency"])
        [task] = await examiner.draw("tosses", 0, 0, 1, "steer")
        with pytest.raises(AgentError, match=r"self_consistency on tosses: strategies answer .* leave out --strategy"):
            await judging.on("steer", BASE, [task], 0, way)
        side = Side(table, None, [BASE], "tiny-1")  # type: ignore[arg-type]
        with pytest.raises(LoopError, match="tosses is acted out, so a question of your own cannot be put to it"):
            await solve(side, "What is 1 + 1?", "greedy", 1, "tosses")


def test_a_proposal_of_a_family_without_any_is_not_asked_for(ledger: RunLedger) -> None:
    assert {proposal.origin for proposal in ledger.find(Proposal)} == {"drawn"}


def start(workspace: Path, model: Path, *run: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(tossing.__file__)), str(workspace), str(model), *run]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_in_the_middle_of_its_episodes_ends_with_the_ledger_of_an_unbroken_run(
    tmp_path: Path, workspace: Path, tiny_model_folder: Path
) -> None:
    run: tuple[str, ...] = ()
    # Each wave is one action of every trajectory that is still going.
    for wave in (2, 3, 4):
        process = start(tmp_path, tiny_model_folder, *run)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "wave" and event["wave"] == wave and not event["from_log"]:
                break
        else:
            pytest.fail(f"there was no wave {wave} to be killed in")
        process.kill()
        process.communicate(timeout=60)
        run = ("tiny-1",)
    with Workspace(tmp_path).ledger() as ledgers:
        broken = ledgers.run("tiny-1")
        assert broken.find(Call)
        assert not broken.find(Attempt), "it was killed after its episodes"
    out, err = start(tmp_path, tiny_model_folder, *run).communicate(timeout=300)
    assert out, err[-2000:]
    with Workspace(tmp_path).ledger() as one, Workspace(workspace).ledger() as other:
        assert one.run("tiny-1").digest() == other.run("tiny-1").digest()
