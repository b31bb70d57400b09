"""The loop on a tiny model: what is recorded, what is kept secret, what two runs have in common."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from parity import CANARY, Parity
from pydantic import BaseModel
from tiny import tiny_settings

from quintet import Episode, EpisodeRole, Loop
from quintet.evaluation.errors import SuiteError
from quintet.graph.errors import LoopError
from quintet.graph.report import overview
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.errors import ModelError
from quintet.plugins import PluginError
from quintet.records import (
    Adapter,
    Attempt,
    Call,
    Critique,
    Decision,
    Evaluation,
    Opening,
    Recall,
    Reply,
    Row,
    Selection,
    Task,
    Verification,
)

pytestmark = pytest.mark.timeout(240)


class Opinion(BaseModel):
    verdict: str


class Objector(EpisodeRole):
    """Rejects everything, without asking the model."""

    async def act(self, episode: Episode) -> Opinion:
        return Opinion(verdict="reject")


class Wordy(EpisodeRole):
    """Says a plain text."""

    after = "objector"

    async def act(self, episode: Episode) -> str:
        return "I have nothing to add"


class Babbling(EpisodeRole):
    """Answers nonsense."""

    after = "objector"

    async def act(self, episode: Episode) -> list[Any]:
        return [42]


class Broken(FakeListChatModel):
    """Never answers."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no route to the model")


class Faulty(EpisodeRole):
    """Raises."""

    after = "objector"

    async def act(self, episode: Episode) -> None:
        raise RuntimeError("no idea")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A workspace with one finished run."""
    folder = tmp_path_factory.mktemp("workspace")
    Loop(tiny_settings(tiny_model_folder), tasks=[Parity()], workspace=folder).run()
    return folder


@pytest.fixture
def ledger(workspace: Path) -> Iterator[RunLedger]:
    with Workspace(workspace).ledger() as ledger:
        yield ledger.run("tiny-1")


def test_all_five_roles_leave_their_records(ledger: RunLedger) -> None:
    for kind in (Task, Call, Attempt, Critique, Selection, Row, Adapter, Evaluation, Decision, Recall):
        assert ledger.find(kind), f"no {kind.kind} is on record"
    assert {call.role for call in ledger.find(Call)} == {"proposer", "solver", "critic", "evaluation"}


def test_ground_truth_reaches_the_verifier_alone(ledger: RunLedger) -> None:
    assert all(task.truth["canary"] == CANARY for task in ledger.find(Task))
    seen = [record.model_dump_json() for kind in (Call, Row, Attempt, Critique) for record in ledger.find(kind)]
    assert seen
    assert not any(CANARY in text for text in seen)


def test_no_evaluation_item_is_trained_on_or_shown_to_a_role(ledger: RunLedger) -> None:
    held_out = {task.question for task in ledger.find(Task) if task.split != "train"}
    trained = {task.canonical for task in ledger.find(Task) if task.split == "train"}
    assert held_out
    assert not trained & {task.canonical for task in ledger.find(Task) if task.split != "train"}
    for call in ledger.find(Call):
        if call.role != "evaluation":
            assert not any(question in message.content for question in held_out for message in call.messages)


def test_base_and_promoted_are_asked_in_the_same_words_greedily_without_exemplars(ledger: RunLedger) -> None:
    calls = ledger.find(Call, role="evaluation")
    assert all(call.options["temperature"] == 0 for call in calls)
    assert all(len(call.messages) == 2 for call in calls)
    by_task: dict[str | None, set[str]] = {}
    for call in calls:
        by_task.setdefault(call.task, set()).add(json.dumps([dict(message) for message in call.messages]))
    assert all(len(wordings) == 1 for wordings in by_task.values())


def test_a_revision_heeds_the_advice_and_does_not_see_what_failed(ledger: RunLedger) -> None:
    critiques = {critique.attempt: critique for critique in ledger.find(Critique)}
    revisions = [attempt for attempt in ledger.find(Attempt) if attempt.revises]
    assert revisions
    for attempt in revisions:
        call, failed = ledger.get(attempt.call), ledger.get(attempt.revises or "")
        assert isinstance(call, Call)
        assert isinstance(failed, Attempt)
        assert critiques[failed.id].feedback in call.messages[0].content
        # One exemplar at most stands between persona and question, and it is no failed attempt.
        assert len(call.messages) in (2, 4)


def test_every_row_is_the_models_own_verified_attempt_at_the_plain_prompt(ledger: RunLedger) -> None:
    for row in ledger.find(Row):
        attempt = ledger.get(row.attempt)
        assert isinstance(attempt, Attempt)
        assert row.completion == attempt.text
        [critique] = [c for c in ledger.find(Critique) if c.attempt == attempt.id]
        assert critique.correct
        task = ledger.get(row.task)
        assert isinstance(task, Task)
        assert len(row.prompt) == 2
        assert row.prompt[1].content.startswith(task.question)


def test_every_attempt_is_chosen_or_refused_with_a_reason(ledger: RunLedger) -> None:
    selections = ledger.find(Selection)
    assert {selection.attempt for selection in selections} == {attempt.id for attempt in ledger.find(Attempt)}
    assert all(selection.reason for selection in selections)


def test_the_final_suite_is_opened_once_and_on_record(ledger: RunLedger) -> None:
    [opening], [verdict] = ledger.find(Opening), ledger.find(Verification)
    finals = [e for e in ledger.find(Evaluation) if e.suite == "final"]
    assert all(evaluation.tasks == opening.tasks for evaluation in finals)
    assert {verdict.base, *([verdict.promoted] if verdict.promoted else [])} == {e.id for e in finals}


def test_the_report_says_what_the_ledger_holds(workspace: Path, ledger: RunLedger) -> None:
    result = Loop.resume("tiny-1", workspace, tasks=[Parity()]).result()
    assert result.status == "finished"
    assert [r.round for r in result.rounds] == [1, 2]
    assert sum(r.attempts for r in result.rounds) == len(ledger.find(Attempt))
    assert sum(r.rows for r in result.rounds) == len(ledger.find(Row))
    assert result.final is not None
    assert result.final.n == 12
    assert result.budget.tokens > 0
    assert result.budget.peak_rss_mb > 100
    assert "final suite" in result.table()


def test_same_seed_same_ledger_and_another_seed_another(
    workspace: Path, ledger: RunLedger, tiny_model_folder: Path, tmp_path: Path
) -> None:
    again = Loop(tiny_settings(tiny_model_folder), tasks=[Parity()], workspace=tmp_path)
    again.run()
    other = Loop(tiny_settings(tiny_model_folder, seed=1, rounds=1), tasks=[Parity()], workspace=tmp_path)
    other.run()
    with Workspace(tmp_path).ledger() as ledgers:
        assert ledgers.run("tiny-1").digest() == ledger.digest()
        ids = {task.id for task in ledgers.run("tiny-2").find(Task)}
    assert ids != {task.id for task in ledger.find(Task)}


def test_a_finished_run_says_so_and_goes_on_when_rounds_are_added(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(tiny_settings(tiny_model_folder, rounds=1), tasks=[Parity()], workspace=tmp_path)
    loop.run()
    with monkeypatch.context() as without:
        # It is said before a model is loaded.
        without.setattr("quintet.graph.conducting.opened", None)
        with pytest.raises(LoopError, match="finished with round 1; add rounds with --rounds 2"):
            Loop.resume("tiny-1", tmp_path, tasks=[Parity()]).run()
    assert loop.result().status == "finished"
    result = Loop.resume("tiny-1", tmp_path, tasks=[Parity()]).run(rounds=2)
    assert [r.round for r in result.rounds] == [1, 2]
    assert result.final is not None
    assert result.final.opening == 2
    # On record, so that a run stopped in a round added goes on to the last of them.
    assert Loop.resume("tiny-1", tmp_path).settings.rounds == 2


def test_a_run_that_cannot_begin_leaves_none_behind(tiny_model_folder: Path, tmp_path: Path) -> None:
    wide = tiny_settings(tiny_model_folder, evaluation={"gate_items": 100_000})
    with pytest.raises(SuiteError, match="gate suite"):
        Loop(wide, tasks=[Parity()], workspace=tmp_path).run()
    with pytest.raises(ModelError, match="nowhere"):
        Loop(tiny_settings(tmp_path / "nowhere"), tasks=[Parity()], workspace=tmp_path).run()
    # Said first, before a model is looked for.
    for section in ({"curator": {"metrics": ["wurds"]}}, {"training": {"objective": "stf"}}):
        with pytest.raises(PluginError, match="is unknown"):
            Loop(tiny_settings(tmp_path / "nowhere", **section), tasks=[Parity()], workspace=tmp_path).run()
    assert overview(tmp_path) == []


def test_a_run_that_was_killed_is_not_said_to_run(tmp_path: Path) -> None:
    with Workspace(tmp_path).ledger() as ledgers:
        ledgers.begin("tiny-1", 0, {})
    assert [run.status for run in overview(tmp_path)] == ["interrupted"]


def test_training_waits_for_approval_and_a_refusal_trains_nothing(tiny_model_folder: Path, tmp_path: Path) -> None:
    loop = Loop(tiny_settings(tiny_model_folder, rounds=1, approve=True), tasks=[Parity()], workspace=tmp_path)
    [question] = [event for event in loop.stream() if event.get("event") == "question"]
    with Workspace(tmp_path).ledger() as ledgers:
        assert question["rows"] == len(ledgers.run("tiny-1").find(Row)) > 0
    assert loop.result().status == "waiting"
    loop.answer = False
    result = loop.run()
    assert result.status == "finished"
    assert result.rounds[0].reason == "no candidate: training was not approved"


def test_a_critic_that_cannot_be_asked_costs_its_advice_and_no_verdict(tiny_model_folder: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model_folder, rounds=1)
    Loop(settings, tasks=[Parity()], models={"critic": Broken(responses=[])}, workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        assert {c.attempt for c in ledger.find(Critique)} == {a.id for a in ledger.find(Attempt)}
        assert any("no route" in (call.error or "") for call in ledger.find(Call, role="critic"))


def test_words_of_the_critic_that_cannot_be_rendered_are_no_silent_loss(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(tiny_model_folder, rounds=1, critic={"max_tokens": 24, "template": "{{ nobody.knows }}"})
    Loop(settings, tasks=[Parity()], workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        errors = [reply.error or "" for reply in ledgers.run("tiny-1").find(Reply) if reply.role == "critic"]
    assert errors
    assert all("template of role 'critic'" in error for error in errors)


def test_the_solver_speaks_through_the_model_that_is_trained(tiny_model_folder: Path) -> None:
    with pytest.raises(LoopError, match="solver"):
        Loop(tiny_settings(tiny_model_folder), models={"solver": Broken(responses=[])})


def test_settings_of_a_role_that_did_not_join_are_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(LoopError, match="scribe"):
        Loop(tiny_settings(tiny_model_folder, roles={"scribe": {}}))


def test_a_ledger_elsewhere_is_found_again_by_its_workspace(tiny_model_folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    settings = tiny_settings(tiny_model_folder, rounds=1, memory={"database": url})
    result = Loop(settings, tasks=[Parity()], workspace=tmp_path / "here").run()
    assert result.status == "finished"
    assert [run.run for run in overview(tmp_path / "here")] == ["tiny-1"]
    assert url not in result.model_dump_json()
    assert Loop.resume("tiny-1", tmp_path / "here", tasks=[Parity()]).run(rounds=2).rounds[-1].round == 2


def test_a_verdict_of_a_joined_role_counts_and_a_faulty_role_costs_its_reply_only(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    loop = Loop(
        tiny_settings(tiny_model_folder, rounds=1),
        roles=[Objector(), Faulty(), Wordy(), Babbling()],
        tasks=[Parity()],
        workspace=tmp_path,
    )
    result = loop.run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        replies = ledger.find(Reply)
        assert {reply.verdict for reply in replies if reply.role == "objector"} == {"reject"}
        assert {reply.error for reply in replies if reply.role == "faulty"} == {"RuntimeError: no idea"}
        assert {reply.content.get("text") for reply in replies if reply.role == "wordy"} == {"I have nothing to add"}
        [nonsense] = {reply.error for reply in replies if reply.role == "babbling"}
        assert "int" in (nonsense or "")
        assert not ledger.find(Row)
        assert any(critique.correct for critique in ledger.find(Critique))
    assert "objector said reject" in result.rounds[0].counts.attempts_refused


def test_a_run_must_be_resumed_with_the_roles_that_it_began_with(tiny_model_folder: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model_folder, rounds=1)
    Loop(settings, roles=[Objector()], tasks=[Parity()], workspace=tmp_path).run()
    with pytest.raises(LoopError, match="objector"):
        Loop.resume("tiny-1", tmp_path, tasks=[Parity()]).run(rounds=2)


def test_a_workspace_in_use_is_refused_with_the_run_that_uses_it(tmp_path: Path, tiny_model_folder: Path) -> None:
    loop = Loop(tiny_settings(tiny_model_folder), tasks=[Parity()], workspace=tmp_path)
    with Workspace(tmp_path).claim("other-1"), pytest.raises(LedgerError, match="other-1"):
        loop.run()


# At the end of a stage what it came to is written, and is not yet part of a checkpoint.
@pytest.mark.parametrize("at", ["begin", "end"])
def test_leaving_the_stream_stops_the_run_which_then_can_be_resumed(
    tiny_model_folder: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, at: str
) -> None:
    loop = Loop(tiny_settings(tiny_model_folder, rounds=1), tasks=[Parity()], workspace=tmp_path)
    for event in loop.stream():
        if (event.get("stage"), event.get("event")) == ("episodes", at):
            break
    gc.collect()
    assert not [warning for warning in recwarn if "unraisable" in str(warning.category).lower()]
    assert loop.result().status == "stopped"
    # Nothing lingers: the workspace is free, and no thread of the run is left.
    assert Loop.resume(workspace=tmp_path, tasks=[Parity()]).run().status == "finished"


async def test_the_graph_can_be_invoked_by_hand(tiny_model_folder: Path, tmp_path: Path) -> None:
    loop = Loop(tiny_settings(tiny_model_folder, rounds=1), tasks=[Parity()], workspace=tmp_path)
    async with loop.context() as context:
        state = await loop.graph().ainvoke(loop.opening(), context=context)
    assert state["round"] == 1
    assert loop.result().final is not None


def test_the_graph_can_be_drawn() -> None:
    drawn = Loop(tiny_settings(Path("nowhere"))).graph().get_graph().draw_mermaid()
    for node in ("propose", "episodes", "curate", "approve", "train", "evaluate", "decide", "finish"):
        assert node in drawn


def test_an_evaluation_beside_the_run_changes_no_rounds_report(tiny_model_folder: Path, tmp_path: Path) -> None:
    loop = Loop(tiny_settings(tiny_model_folder, rounds=1), workspace=tmp_path, tasks=[Parity()])
    before = loop.run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run("tiny-1")
        steer = next(e for e in ledger.find(Evaluation) if e.suite == "steer")
        beside = steer.with_(
            round=0, adapter="base", answers=tuple(a.model_copy(update={"correct": False}) for a in steer.answers)
        )
        assert ledger.add(beside) == 1
    assert loop.result().rounds == before.rounds
