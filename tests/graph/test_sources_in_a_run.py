"""All sources in the whole loop: their records, their rewards, and a resume in the middle of the proposer's act."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from parity import CANARY
from tiny import tiny_settings

from quintet import Loop
from quintet.agents.errors import AgentError
from quintet.graph.report import report
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.waves import Waves
from quintet.records import (
    Attempt,
    Baseline,
    Call,
    Experience,
    Handover,
    Monitors,
    Proposal,
    Reward,
    Row,
    Stage,
    Task,
)

SOURCES = ("drawn", "invented", "self_instruct", "transformed", "challenger")
FAMILIES = ["chain_sum", "products"]

pytestmark = pytest.mark.timeout(280)


def settings(model: Path, **changes: Any) -> Any:
    """Every source, on two families that a random model can do nothing in; what it proposes is all noise."""
    proposer = {
        "families": FAMILIES,
        "start_level": {"chain_sum": 2, "products": 3},
        "tasks": 6,
        "sources": SOURCES,
        "each": 4,
        "mix": {"transformed": 6},
        "options": {"challenger": {"band": [0.0, 1.0], "samples": 2}, "self_instruct": {"agreement": 0.2}},
        # A random model knows no numbers but those a schema makes it say.
        "max_tokens": 40,
    }
    suites = {"families": {"chain_sum": [3]}, "steer_items": 2, "gate_items": 12, "retention_items": 0}
    evaluation = {**suites, "final_items": 12, "alpha": 0.4}
    given = {"rounds": 2, "proposer": proposer, "solver": {"samples": 2}, "evaluation": evaluation, **changes}
    # Not merged with the tiny run's own: those are of another family.
    return tiny_settings(model).model_validate({**tiny_settings(model).model_dump(), **given})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    Loop(settings(tiny_model_folder), workspace=folder).run()
    return folder


@pytest.fixture
def ledger(workspace: Path) -> Iterator[RunLedger]:
    with Workspace(workspace).ledger() as ledger:
        yield ledger.run("tiny-1")


def test_every_source_proposes_in_every_round_and_every_proposal_has_a_reason(ledger: RunLedger) -> None:
    proposals = ledger.find(Proposal)
    for number in (1, 2):
        assert {p.origin for p in proposals if p.round == number} == set(SOURCES)
    assert all(p.reason for p in proposals)
    assert not any("failed" in p.reason for p in proposals), {p.content for p in proposals if "failed" in p.reason}


def test_made_tasks_name_their_seeds_and_are_solved_like_any_other(ledger: RunLedger) -> None:
    made = [p for p in ledger.find(Proposal) if p.origin == "transformed" and p.accepted]
    assert {p.how for p in made} >= {"reversed"}
    attempted = {attempt.task for attempt in ledger.find(Attempt)}
    for proposal in made:
        assert proposal.seeds
        assert all(isinstance(ledger.get(seed), Task) for seed in proposal.seeds)
        assert set(proposal.seeds) <= set(ledger.parents(proposal.id))
        assert proposal.task in attempted


def test_what_was_refused_for_an_evaluation_item_is_in_no_prompt_but_the_evaluations(ledger: RunLedger) -> None:
    held_out = {task.question for task in ledger.find(Task) if task.split != "train"}
    for call in ledger.find(Call):
        if call.role != "evaluation":
            assert not any(question in message.content for question in held_out for message in call.messages)
    assert not any(CANARY in call.model_dump_json() for call in ledger.find(Call))


def test_challenges_are_rewarded_in_the_round_in_which_they_were_attempted_the_last_one_too(ledger: RunLedger) -> None:
    accepted = {p.id: p for p in ledger.find(Proposal) if p.origin == "challenger" and p.accepted}
    rewards = ledger.find(Reward)
    assert accepted
    assert {reward.about for reward in rewards} == set(accepted)
    assert all(reward.round == accepted[reward.about].round for reward in rewards)
    # Before the curator chooses: its own records come later.
    order = [event.record.kind for event in ledger.events(0, 100_000, (Reward, Row, Stage))]
    assert order.index("reward") < (order.index("row") if "row" in order else len(order))


def test_what_is_rewarded_trains_nobody_unless_self_play_names_who_learns(ledger: RunLedger) -> None:
    assert ledger.find(Reward)
    assert not [*ledger.find(Experience), *ledger.find(Baseline), *ledger.find(Handover)]
    assert not any(name.startswith("proposer.") for one in ledger.find(Monitors) for name in one.values)


def test_the_report_says_what_became_of_each_sources_proposals(workspace: Path, ledger: RunLedger) -> None:
    found = report(ledger, Workspace(workspace))
    for one in found.rounds:
        proposals = [p for p in ledger.find(Proposal) if p.round == one.round]
        for source, counts in one.counts.sources.items():
            mine = [p for p in proposals if p.origin == source]
            assert (counts.proposed, counts.accepted) == (len(mine), sum(p.accepted for p in mine))
            assert sum(counts.refused.values()) == counts.proposed - counts.accepted
    table = found.table(160)
    assert "where tasks came from" in table
    assert "self_instruct" in table


def test_an_option_that_is_not_there_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    proposer = {"families": FAMILIES, "sources": ["drawn", "challenger"], "options": {"challenger": {"bnad": 1}}}
    with pytest.raises(AgentError, match=r"proposer\.options\.challenger\.bnad: no such option"):
        Loop(settings(tmp_path / "no model", proposer=proposer), workspace=tmp_path).run()


SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_sources_in_a_run import settings
from quintet import Loop
from quintet.models.waves import Waves

left = int(sys.argv[3])
run = Waves._run

async def killed(self, wave):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    await run(self, wave)

Waves._run = killed
loop = Loop.resume("tiny-1", sys.argv[1]) if sys.argv[4:] else Loop(settings(Path(sys.argv[2])), workspace=sys.argv[1])
loop.run()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_each_wave_of_the_proposers_act_the_ledger_is_that_of_an_unbroken_run(
    tmp_path: Path, tiny_model_folder: Path, workspace: Path
) -> None:
    assert hasattr(Waves, "_run")
    here = Path(__file__).parent
    script = SCRIPT.format(tests=str(here.parent), here=str(here))

    def run(wave: int, *more: str) -> int:
        given = [str(tmp_path), str(tiny_model_folder), str(wave), *more]
        done = subprocess.run(
            [sys.executable, "-c", script, *given],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode in (0, -9), done.stderr[-2000:]
        return done.returncode

    # Invented, word problems, their trials, transformed tasks: a kill in each; what was answered stays answered.
    assert run(2) == -9
    for wave in (3, 5, 7):
        assert run(wave, "resume") == -9
    assert run(-1, "resume") == 0
    digests = []
    for folder in (workspace, tmp_path):
        with Workspace(folder).ledger() as ledger:
            digests.append(ledger.run("tiny-1").digest())
    assert digests[0] == digests[1]
