"""Proposer and solver learn in the whole loop: under which adapters they speak, what is kept from them; resuming."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from parity import CANARY, Parity
from self_play_run import settings  # type: ignore[import-not-found]

from quintet import Loop
from quintet.graph.adapters import registered, standing
from quintet.graph.errors import LoopError
from quintet.graph.report import report
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import (
    BASE,
    EVALUATION,
    Adapter,
    Call,
    Decision,
    Experience,
    Handover,
    Monitors,
    Proposal,
    Row,
    Task,
)

pytestmark = pytest.mark.timeout(900)
SCRIPT = Path(__file__).with_name("self_play_run.py")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("self-play")
    Loop(settings(tiny_model_folder, adapters="each"), tasks=[Parity()], workspace=folder).run()
    return folder


@pytest.fixture
def ledger(workspace: Path) -> Iterator[RunLedger]:
    with Workspace(workspace).ledger() as ledger:
        yield ledger.run("tiny-1")


@pytest.mark.slow
def test_each_role_has_an_adapter_and_speaks_under_it_from_the_next_round_on(ledger: RunLedger) -> None:
    own = [one for one in ledger.find(Adapter) if one.role == "proposer"]
    assert len(own) >= 2
    under = {call.round: call.adapter for call in ledger.find(Call, role="proposer")}
    handed = {one.round: one.adapter for one in ledger.find(Handover)}
    assert under[1] == BASE
    speaking = BASE
    for number in (2, 3):
        speaking = handed.get(number - 1) or speaking
        assert under[number] == speaking
    assert speaking != BASE
    # Each is continued from the one before, on nothing but what was said since.
    ids = [one.id for one in own]
    assert [one.start for one in own] == [BASE, *ids[:-1]]
    learnt = [id for one in own for id in one.experiences]
    assert len(learnt) == len(set(learnt))
    assert all(not one.rows for one in own)


@pytest.mark.slow
def test_neither_solver_nor_gate_ever_meets_the_proposers_adapter(ledger: RunLedger) -> None:
    own = {one.id for one in ledger.find(Adapter) if one.role}
    assert own
    for role in ("solver", "critic", EVALUATION):
        assert not own & {call.adapter for call in ledger.find(Call, role=role)}
    assert not own & {one.candidate for one in ledger.find(Decision)}
    assert not own & {standing(ledger).incumbent}
    solvers = [one for one in ledger.find(Adapter) if not one.role]
    assert solvers
    assert not any(one.experiences for one in solvers)
    assert all(isinstance(ledger.get(id), Row) for one in solvers for id in one.rows)


@pytest.mark.slow
def test_no_experience_holds_an_evaluation_item_or_a_truth(ledger: RunLedger) -> None:
    found = ledger.find(Experience)
    assert found
    held_out = {task.canonical for task in ledger.find(Task) if task.split != "train"}
    for one in found:
        assert CANARY not in one.model_dump_json()
        number = json.loads(one.completion)["number"]
        assert f"parity {number}" not in held_out
        proposal = ledger.get(one.about)
        assert isinstance(proposal, Proposal)
        assert proposal.reason != "held out for evaluation"
        assert ledger.parents(one.id) == [proposal.id, one.call]
    assert any(p.reason == "held out for evaluation" for p in ledger.find(Proposal))


@pytest.mark.slow
def test_every_round_is_watched_and_reported(workspace: Path, ledger: RunLedger) -> None:
    for one in ledger.find(Monitors):
        assert {f"proposer.{name}" for name in ("tokens", "valid", "accepted", "distinct")} <= set(one.values)
    found = report(ledger, Workspace(workspace))
    assert [one.adapter for one in found.rounds if one.decision != "none"] == [
        one.candidate for one in ledger.find(Decision) if one.candidate
    ]
    status = {one.id: (one.role, one.status) for one in registered(workspace)}
    assert {status[one.id] for one in ledger.find(Adapter) if one.role} <= {
        ("proposer", "kept"),
        ("proposer", "dropped"),
    }


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_ledger(
    tmp_path: Path, tiny_model_folder: Path, ledger: RunLedger
) -> None:
    def start(*run: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(SCRIPT), str(tmp_path), str(tiny_model_folder), *run]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def killed_at(process: subprocess.Popen[str], sign: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if sign in line:
                break
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.communicate(timeout=60)

    # Between the proposer's adapter and the candidate, in its training, and when it is asked under what was trained.
    killed_at(start(), "is served")
    killed_at(start("tiny-1"), '"event": "step"')
    killed_at(start("tiny-1"), '"stage": "propose", "round": 3')
    _, err = start("tiny-1").communicate(timeout=600)
    with Workspace(tmp_path).ledger() as found:
        assert found.run("tiny-1").digest() == ledger.digest(), err[-2000:]


@pytest.mark.slow
def test_one_shared_adapter_learns_from_both_roles_and_the_gate_judges_it(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    play = settings(tiny_model_folder, adapters="shared").model_copy(update={"rounds": 2})
    Loop(play, tasks=[Parity()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        made = ledger.find(Adapter)
        assert any(one.rows and one.experiences for one in made)
        assert {one.role for one in made} == {None}
        assert {one.candidate for one in ledger.find(Decision)} - {None} == {one.id for one in made}
        assert not ledger.find(Handover)


@pytest.mark.slow
def test_in_turns_the_proposers_rounds_have_no_candidate(tmp_path: Path, tiny_model_folder: Path) -> None:
    play = settings(tiny_model_folder, adapters="each", train="turns").model_copy(update={"rounds": 2})
    Loop(play, tasks=[Parity()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        assert {(one.round, one.role) for one in ledger.find(Adapter)} <= {(1, None), (2, "proposer")}
        assert (2, "proposer") in {(one.round, one.role) for one in ledger.find(Adapter)}
        assert ledger.find(Decision)[-1].reason == "no candidate: the proposer learns in this round, not the solver"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"training": {"objective": "sft"}},
            'the proposer learns from rewards, and sft does not: training.objective = "grpo"',
        ),
        ({"proposer": {"sources": ["drawn", "invented"]}}, "none of drawn, invented rewards it; add challenger"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_before_a_model_is_loaded(
    tmp_path: Path, changes: dict[str, dict[str, object]], why: str
) -> None:
    given = settings(tmp_path / "no model").model_dump()
    for key, value in changes.items():
        given[key] = {**given[key], **value, **({"mix": {}, "options": {}} if key == "proposer" else {})}
    with pytest.raises(LoopError, match=why):
        Loop(type(settings(tmp_path)).model_validate(given), tasks=[Parity()], workspace=tmp_path).run()
