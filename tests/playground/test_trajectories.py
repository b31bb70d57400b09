"""A trajectory is read as a conversation: what was said, done and answered, each record once, nothing that harms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient
from test_otlp import said, spans_of

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.playground.exports import conventions as c
from quintet.playground.exports.onepage import export_page
from quintet.playground.exports.otlp import export_traces
from quintet.records import (
    BASE,
    Answer,
    Attempt,
    Call,
    Completion,
    Critique,
    Evaluation,
    Message,
    Proposal,
    Recall,
    Recalled,
    Record,
    Task,
    Transition,
)
from quintet.tasks.environment import encode

EVIL = "<script>alert(1)</script>\"'"
HEADERS = {"hx-request": "true", "hx-target": "conversation"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[RunLedger]:
    with Workspace(tmp_path / "runs").ledger() as ledgers:
        yield ledgers.begin("made", 0, {"rounds": 1})


@pytest.fixture
def asking(made: RunLedger, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(tmp_path / "runs"), base_url="http://127.0.0.1:8420") as client:
        yield client


def a_task(question: str = "Find it.", split: str = "train") -> Task:
    return Task(family="game", level=0, question=question, canonical=question, truth={}, split=split)


def chain(task: Task, said: list[str], seen: list[str], role: str = "solver", seed: str = "") -> list[Call]:
    """The calls of an episode, each with all that was said before."""
    calls, messages = [], [Message(role="user", content=task.question)]
    for words, answer in zip(said, [*seen, ""], strict=False):
        calls.append(
            Call(
                request=f"{role} {seed} {len(calls)} {task.id}",
                round=1,
                role=role,
                task=task.id,
                model="tiny",
                messages=tuple(messages),
                completions=(Completion(text=words, tokens=(1, 2)),),
            )
        )
        messages += [Message(role="assistant", content=words), Message(role="user", content=answer)]
    return calls


def episode(task: Task, said: list[str], seen: list[str], error: str | None = None, seed: str = "") -> list[Record]:
    """A trajectory that wins with its last action, unless the environment fails then."""
    calls, steps = chain(task, said, seen, seed=seed), list[Transition]()
    for number, (call, words, answer) in enumerate(zip(calls, said, seen, strict=True)):
        last = number == len(said) - 1
        steps.append(
            Transition(
                round=1,
                task=task.id,
                number=number,
                before=steps[-1].id if steps else None,
                call=call.id,
                sample=0,
                action=words.splitlines()[-1],
                observation="" if last and error else answer,
                reward=float(last and not error),
                done=last and not error,
                error=error if last else None,
                refused=number == 0,
            )
        )
    attempt = Attempt(
        round=1,
        task=task.id,
        call=calls[-1].id,
        sample=0,
        turn=0,
        text=encode([step.action for step in steps]),
        answer=None,
        strict_answer=None,
        transitions=tuple(step.id for step in steps),
    )
    critique = Critique(
        round=1,
        task=task.id,
        attempt=attempt.id,
        score=float(not error),
        correct=not error,
        strict=not error,
        verdict="reject" if error else "accept",
        error=error,
    )
    return [*calls, *steps, attempt, critique]


def drawn(task: Task) -> list[Record]:
    proposal = Proposal(
        round=1, origin="drawn", number=0, family="game", level=0, task=task.id, accepted=True, reason="new"
    )
    return [task, proposal]


def pane(client: TestClient, task: Task) -> str:
    return client.get(f"/runs/made/tasks/{task.id}", headers=HEADERS).text


def ids(page: str) -> list[str]:
    return re.findall(r'\bid="((?:\w+)-[0-9a-f]{16})"', page)


def test_each_step_stands_once_in_its_attempt_in_the_order_it_was_done(made: RunLedger, asking: TestClient) -> None:
    task = a_task()
    one = episode(task, ["hm", "I think\ngo left"], ["No.", "There it is."], seed="one")
    other = episode(task, ["go back", "go on", "go up"], ["Well.", "Nothing.", "There it is."], seed="other")
    made.add(*drawn(task), *one, *other)
    page = pane(asking, task)
    found = ids(page)
    assert len(found) == len(set(found))
    assert {record.id for record in (*one, *other)} <= set(found)
    for records in (one, other):
        steps = [record.id for record in records if isinstance(record, Transition)]
        [attempt] = [record.id for record in records if isinstance(record, Attempt)]
        places = [found.index(id) for id in (attempt, *steps)]
        assert places == sorted(places)
    # All began with the same words, which are told once; what came after is each one's own.
    assert page.count("What the solver was told") == 1
    assert page.count("What it was told") == 1 + 2
    assert page.count("refused") == 2
    assert page.count("<b>1</b>, the end") == 2
    assert "go left</b>" in page


def test_an_environment_that_failed_says_why(made: RunLedger, asking: TestClient) -> None:
    task = a_task()
    made.add(*drawn(task), *episode(task, ["go", "jump"], ["Well.", ""], error="the environment took longer than 5 s"))
    page = pane(asking, task)
    assert "the environment failed" in page
    # At the step, and by the critic.
    assert page.count("the environment took longer than 5 s") == 2


def test_what_a_search_found_stands_at_the_step_that_searched(made: RunLedger, asking: TestClient) -> None:
    task, other = a_task(), a_task("Another one.")
    records = episode(task, ["search: doors", "go"], ["Another one.", "There."])
    items = (Recalled(id=other.id, distance=0.2),)
    recall = Recall(round=1, role="solver", task=task.id, query="doors", items=items, sources=(other.id,))
    made.add(*drawn(other), *drawn(task), recall, *records)
    page = pane(asking, task)
    steps = [record.id for record in records if isinstance(record, Transition)]
    places = [ids(page).index(id) for id in (steps[0], recall.id, steps[1])]
    assert places == sorted(places)
    assert "before it spoke" not in page


def test_an_evaluations_episode_is_read_as_one_too(made: RunLedger, asking: TestClient) -> None:
    task = a_task(split="gate")
    calls = chain(task, ["go left", "go on"], ["A wall.", "There it is."], role="evaluation")
    answer = Answer(task=task.id, text=encode(["go left", "go on"]), answer="", score=1.0, correct=True, strict=True)
    evaluation = Evaluation(round=1, suite="gate", adapter=BASE, tasks=(task.id,), answers=(answer,))
    made.add(task, *calls, evaluation)
    page = pane(asking, task)
    found = ids(page)
    assert [id for id in found if id.startswith("call-")] == [call.id for call in calls]
    assert len(found) == len(set(found))
    assert "A wall." in page
    assert "2 actions, reward" in page


def test_what_is_said_in_an_environment_stays_text_on_the_page_and_in_the_exports(
    made: RunLedger, asking: TestClient, tmp_path: Path
) -> None:
    task = a_task(EVIL)
    held = a_task(f"held {EVIL}", split="gate")
    calls = chain(held, [EVIL, EVIL], [EVIL], role="evaluation")
    answer = Answer(task=held.id, text=encode([EVIL, EVIL]), answer=EVIL, score=0, correct=False, strict=False)
    evaluation = Evaluation(round=1, suite="gate", adapter=BASE, tasks=(held.id,), answers=(answer,))
    made.add(*drawn(task), *episode(task, [EVIL, EVIL], [EVIL, EVIL], error=EVIL), held, *calls, evaluation)
    for page in (pane(asking, task), pane(asking, held), asking.get(f"/runs/made/tasks/{task.id}?view=time").text):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
    out = tmp_path / "run.html"
    export_page(tmp_path / "runs", None, out, 200)
    text = out.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    for link in re.findall(r'href="#((?:attempt|call|transition|critique)-[0-9a-f]{16})"', text):
        assert f'id="{link}"' in text
    traces = tmp_path / "run.jsonl"
    export_traces(tmp_path / "runs", None, traces)
    assert traces.read_text(encoding="utf-8").count("\n") >= 1


def test_each_attempt_has_its_number_wherever_it_is_named(made: RunLedger, asking: TestClient) -> None:
    task = a_task()
    one = episode(task, ["go left"], ["There it is."], seed="one")
    other = episode(task, ["go back", "go up"], ["Well.", "There it is."], seed="other")
    made.add(*drawn(task), *one, *other)
    first, second = (record for record in (*one, *other) if isinstance(record, Attempt))
    assert (first.sample, second.sample) == (0, 0)
    for attempt, number in ((first, 1), (second, 2)):
        page = asking.get(f"/runs/made/records/{attempt.id}").text
        assert re.search(rf"<h1[^>]*>Attempt {number}</h1>", page)
        [judged] = [one for one in made.find(Critique) if one.attempt == attempt.id]
        assert f">Attempt {number}</a>" in asking.get(f"/runs/made/records/{judged.id}").text
        lineage = asking.get(f"/runs/made/lineage/{judged.id}").text
        assert f">Attempt {number}</a>" in lineage
        assert f"Attempt {3 - number}<" not in lineage
        assert f'aria-label="Attempt {number}"' in pane(asking, task)
    assert "go back · go up" in asking.get(f"/runs/made/lineage/{second.id}").text


def test_a_step_reads_as_action_observation_and_reward(made: RunLedger, asking: TestClient) -> None:
    task = a_task()
    made.add(*drawn(task), *episode(task, ["go back", "I think\ngo up"], ["Well.", "There it is."]))
    words = " ".join(re.sub(r"<[^>]+>", " ", pane(asking, task)).split())
    assert re.search(r"action 1 go back observed Well\. reward 0, refused", words)
    assert re.search(r"said I think go up action 2 go up observed There it is\. reward 1 , the end", words)


def test_an_export_tells_each_step_at_the_call_that_chose_it(made: RunLedger, tmp_path: Path) -> None:
    task, held = a_task(), a_task("held out", split="gate")
    records = episode(task, ["hm", "go left"], ["No.", "There it is."])
    failed = episode(task, ["hm", "jump"], ["No.", ""], error="ValueError: secret", seed="failed")
    calls = chain(held, ["go left", "go on"], ["A wall."], role="evaluation")
    answer = Answer(task=held.id, text=encode(["go left", "go on"]), answer="", score=1, correct=True, strict=True)
    evaluation = Evaluation(round=1, suite="gate", adapter=BASE, tasks=(held.id,), answers=(answer,))
    made.add(*drawn(task), *records, *failed, held, *calls, evaluation)
    out = tmp_path / "run.pb"
    export_traces(tmp_path / "runs", None, out)
    spans = list(spans_of(ExportTraceServiceRequest.FromString(out.read_bytes())))
    told = {
        said(event)[c.RECORD]: (said(span).get(c.RECORD), said(event))
        for span in spans
        for event in span.events
        if event.name == "quintet.transition"
    }
    steps = [record for record in (*records, *failed) if isinstance(record, Transition)]
    assert set(told) == {step.id for step in steps}
    whose = {id: one.id for one in (*records, *failed) if isinstance(one, Attempt) for id in one.transitions}
    for step in steps:
        at, words = told[step.id]
        assert at == step.call == words[c.RESPONSE_ID]
        assert words[c.ATTEMPT] == whose[step.id]
        assert (words[c.ACTION], words[c.OBSERVATION]) == (step.action, step.observation)
        assert (words[c.REWARD], words[c.DONE], words[c.REFUSED]) == (step.reward, step.done, step.refused)
        assert words.get(c.ERROR_TYPE) == ("ValueError" if step.error else None)
    assert b"secret" not in out.read_bytes()
    judged = [
        said(span)[c.RECORD]
        for span in spans
        if said(span).get(c.AGENT) == "evaluation"
        for event in span.events
        if event.name == c.EVALUATION and c.STRICT in said(event)
    ]
    assert judged == [calls[-1].id]
