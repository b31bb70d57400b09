"""Conversations: every record of a task in its place, the outline beside it, and nothing that harms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.reading.outline import Place, worth_reading
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.records import (
    Adapter,
    Answer,
    Attempt,
    Call,
    Completion,
    Critique,
    Decision,
    Evaluation,
    Lesson,
    Message,
    Proposal,
    Recall,
    Recalled,
    Record,
    Reply,
    Row,
    Selection,
    Task,
)

EVIL = "<script>alert(1)</script>\"'"
PANE, OUTLINE = {"hx-request": "true", "hx-target": "conversation"}, {"hx-request": "true", "hx-target": "outline"}


def bubbles(page: str) -> list[str]:
    """The records of a page, in order."""
    return re.findall(r'\bid="((?:\w+)-[0-9a-f]{16})"', page)


def listed(page: str) -> list[str]:
    """The tasks of an outline, in order."""
    return re.findall(r'data-step data-task="(task-[0-9a-f]{16})"', page)


def events_of(ledger: RunLedger, task: str) -> list[Any]:
    return [event for event in ledger.events(limit=100_000) if event.task == task]


def pane(client: TestClient, run: str, task: str, query: str = "") -> str:
    return client.get(f"/runs/{run}/tasks/{task}{query}", headers=PANE).text


# --- a real run, with the Skeptic at the table ----------------------------------------------------------------------


def test_each_record_of_a_task_is_there_once(client: TestClient, ledger: RunLedger) -> None:
    seen = set[str]()
    for task in ledger.find(Task):
        found = bubbles(pane(client, ledger.run, task.id))
        records = [event.id for event in events_of(ledger, task.id)]
        assert len(found) == len(set(found))
        assert set(records) <= set(found)
        seen |= set(found)
    kinds = (Attempt, Critique, Reply, Selection, Row, Proposal)
    assert {record.id for kind in kinds for record in ledger.find(kind) if getattr(record, "task", None)} <= seen


def test_they_are_read_in_the_order_in_which_they_were_said(client: TestClient, ledger: RunLedger) -> None:
    for task in {attempt.task for attempt in ledger.find(Attempt)}:
        found = bubbles(pane(client, ledger.run, task))
        place = {id: number for number, id in enumerate(found)}
        events = events_of(ledger, task)
        for kind in (Attempt, Critique, Reply, Selection, Row):
            of_kind = [place[event.id] for event in events if event.kind == kind.kind]
            assert of_kind == sorted(of_kind)
        for event in events:
            match event.record:
                case Attempt(revises=str(failed), call=call):
                    assert place[failed] < place[call] < place[event.id]
                case Critique(attempt=attempt):
                    assert place[attempt] < place[event.id]
                case Lesson(critique=critique) | Row(selection=critique):
                    assert place[critique] < place[event.id]
                case Reply(turn=turn):
                    turns = {one.id: one.record.turn for one in events if one.kind == Attempt.kind}
                    assert all((place[id] < place[event.id]) == (of <= turn) for id, of in turns.items())


def test_what_the_solver_was_told_stands_once_for_its_samples(client: TestClient, ledger: RunLedger) -> None:
    attempts = [attempt for attempt in ledger.find(Attempt) if attempt.turn == 0]
    task = attempts[0].task
    assert sum(attempt.task == task for attempt in attempts) > 1
    page = pane(client, ledger.run, task)
    first = page.partition("<h3>")[2].partition("<article")[0]
    assert first.count("What the solver was told") == 1
    call = ledger.get(attempts[0].call)
    assert isinstance(call, Call)
    assert f'id="{call.id}"' in first
    assert call.messages[-1].content.split("\n")[0] in first


def test_a_sixth_role_speaks_in_a_colour_of_its_own(client: TestClient, ledger: RunLedger) -> None:
    reply = next(reply for reply in ledger.find(Reply) if reply.role == "skeptic" and reply.task and reply.content)
    page = pane(client, ledger.run, reply.task or "")
    bubble = re.search(rf'<article class="bubble (hue-\d)[^>]*id="{reply.id}".*?</article>', page, re.S)
    assert bubble
    assert "skeptic" in bubble[0]
    assert "doubt" in bubble[0]
    assert f'id="{reply.call}"' in bubble[0]


def test_the_truth_is_told_when_it_is_asked_for(client: TestClient, ledger: RunLedger) -> None:
    task = ledger.get(ledger.find(Attempt)[0].task)
    assert isinstance(task, Task)
    path = f"/runs/{ledger.run}/tasks/{task.id}"
    secret = next(iter(task.truth))
    assert f"&#34;{secret}&#34;" not in client.get(path).text
    part = client.get(f"{path}?truth=show", headers={"hx-request": "true", "hx-target": "truth"}).text
    assert f"&#34;{secret}&#34;" in part
    assert "<html" not in part
    assert part.strip() in client.get(f"{path}?truth=show").text


def test_an_evaluation_item_has_its_answers(client: TestClient, ledger: RunLedger) -> None:
    evaluations = ledger.find(Evaluation)
    item = evaluations[0].tasks[0]
    page = pane(client, ledger.run, item)
    asking = [evaluation for evaluation in evaluations if item in evaluation.tasks]
    assert [id for id in bubbles(page) if id.startswith("evaluation-")] == [evaluation.id for evaluation in asking]
    calls = [event.id for event in events_of(ledger, item)]
    assert calls
    assert all(bubbles(page).count(id) == 1 for id in calls)
    run = f"/runs/{ledger.run}"
    assert item not in listed(client.get(f"{run}/tasks/{item}").text)
    assert item in listed(client.get(f"{run}/tasks/{item}?round=evaluation").text)
    assert not set(listed(client.get(f"{run}/outline?round=all").text)) & {id for e in evaluations for id in e.tasks}


def test_steps_in_time(client: TestClient, ledger: RunLedger) -> None:
    attempt = ledger.find(Attempt)[0]
    page = pane(client, ledger.run, attempt.task, "?view=time")
    assert "<rect" in page
    assert "style=" not in page
    spans = re.findall(r'<rect x="([\d.]+)%" y="2" width="([\d.]+)%"', page)
    assert all(0 <= float(left) <= 100.01 - float(width) for left, width in spans)
    for call in ledger.find(Call, task=attempt.task):
        assert f"#{call.id}" in page
    assert "model call ×3" in page


def test_filters_find_what_came_of_it(client: TestClient, ledger: RunLedger) -> None:
    def of(query: str) -> set[str]:
        return set(listed(client.get(f"/runs/{ledger.run}/outline?round=all&{query}").text))

    right = {critique.task for critique in ledger.find(Critique) if critique.correct}
    asked = {proposal.task for proposal in ledger.find(Proposal) if proposal.task}
    assert of("") == asked
    assert of("came=row") == {row.task for row in ledger.find(Row)}
    assert of("came=lesson") == {lesson.task for lesson in ledger.find(Lesson)}
    assert of("came=revised") == {attempt.task for attempt in ledger.find(Attempt) if attempt.revises}
    assert of("came=solved") >= right
    assert of("family=parity") == asked
    assert of("family=none") == set()
    assert of("came=nonsense") == asked
    for number in (1, 2):
        in_round = {proposal.task for proposal in ledger.find(Proposal, round=number) if proposal.task}
        assert set(listed(client.get(f"/runs/{ledger.run}/outline?round={number}").text)) == in_round


def test_a_reply_to_htmx_is_the_part_that_it_swaps(client: TestClient, ledger: RunLedger) -> None:
    task, run = ledger.find(Attempt)[0].task, f"/runs/{ledger.run}"
    part = client.get(f"{run}/tasks/{task}", headers=PANE).text
    assert part.startswith('<section class="pane" id="conversation"')
    assert "<title>" in part
    assert 'hx-swap-oob="true"' in part
    again = client.get(f"{run}/tasks/{task}", headers={**PANE, "hx-history-restore-request": "true"}).text
    assert "<html" in again
    found = client.get(f"{run}/outline?round=1&q=&came=&family=&task={task}&at=1", headers=OUTLINE)
    assert found.headers["hx-replace-url"] == f"{run}/tasks/{task}?round=1"
    assert "<html" not in found.text
    assert "hx-replace-url" not in client.get(f"{run}/outline?round=1&page=0").headers


def test_without_scripts_the_form_keeps_what_is_open(client: TestClient, ledger: RunLedger) -> None:
    task = ledger.find(Attempt)[0].task
    page = client.get(f"/runs/{ledger.run}/conversations?round=1&came=&family=&q=&task={task}&at=1").text
    assert f'data-task="{task}"' in page
    assert '<option value="1" selected>' in page


def test_what_is_no_task_has_no_conversation(client: TestClient, ledger: RunLedger) -> None:
    attempt = ledger.find(Attempt)[0]
    for id in ("task-0000000000000000", attempt.id, "nonsense"):
        reply = client.get(f"/runs/{ledger.run}/tasks/{id}")
        assert reply.status_code == 404
        assert "no " in reply.text


# --- runs made for a test -------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Iterator[RunLedger]:
    """An empty run."""
    with Workspace(tmp_path / "runs").ledger() as ledgers:
        yield ledgers.begin("made", 0, {"rounds": 1})


@pytest.fixture
def asking(made: RunLedger, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(tmp_path / "runs"), base_url="http://127.0.0.1:8420") as client:
        yield client


def a_task(question: str, **values: Any) -> Task:
    values = {"family": "sums", "level": 1, "canonical": question, "truth": {"answer": "4"}, **values}
    return Task(question=question, **values)


def proposed(task: Task, round: int = 1, **values: Any) -> Proposal:
    values = {"origin": "drawn", "number": 0, "accepted": True, "reason": "new", **values}
    return Proposal(round=round, family=task.family, level=task.level, task=task.id, **values)


def a_call(task: Task | None, texts: tuple[str, ...] = ("4",), words: str = "", **values: Any) -> Call:
    values = {"round": 1, "role": "solver", "model": "tiny", "request": f"{words}{texts}{values}", **values}
    return Call(
        task=task.id if task else None,
        messages=(Message(role="user", content=words or "What is it?"),),
        completions=tuple(Completion(text=text, tokens=(1, 2)) for text in texts),
        **values,
    )


def tried(task: Task, call: Call, sample: int = 0, **values: Any) -> Attempt:
    text = call.completions[sample].text
    values = {"round": call.round, "turn": 0, "answer": text, "strict_answer": None, **values}
    return Attempt(task=task.id, call=call.id, sample=sample, text=text, **values)


def judged(attempt: Attempt, correct: bool, **values: Any) -> Critique:
    values = {"verdict": "accept" if correct else "reject", **values}
    about = {"round": attempt.round, "task": attempt.task, "attempt": attempt.id}
    return Critique(**about, score=float(correct), correct=correct, strict=False, **values)


def rescued(task: Task, round: int = 1, words: str = "Count again.") -> list[Record]:
    """A conversation in which a revision is right."""
    call = a_call(task, ("5", "6"), round=round)
    first, second = tried(task, call), tried(task, call, 1)
    wrong = judged(first, False, verdict="revise", feedback=words)
    again = a_call(task, ("4",), words, turn=1, round=round)
    right = tried(task, again, turn=1, revises=first.id)
    good = judged(right, True)
    lesson = Lesson(round=round, task=task.id, attempt=right.id, critique=wrong.id, text=f"Heed: {words}")
    return [task, proposed(task, round), call, first, second, wrong, judged(second, False), again, right, good, lesson]


def test_an_empty_run_says_so(asking: TestClient) -> None:
    assert "Nothing was asked yet" in asking.get("/runs/made/conversations").text
    assert "No conversation fits" in asking.get("/runs/made/outline").text


def test_the_newest_rescue_is_opened_first(made: RunLedger, asking: TestClient) -> None:
    plain, rows, lessons, early = (a_task(f"What is {n}?") for n in range(4))
    assert worth_reading(made) is None
    made.add(plain, proposed(plain))
    assert worth_reading(made) == Place(1, plain.id)
    call = a_call(rows)
    attempt = tried(rows, call)
    chosen = Selection(round=1, task=rows.id, attempt=attempt.id, chosen=True, reason="right")
    row = Row(round=1, task=rows.id, attempt=attempt.id, selection=chosen.id, prompt=(), completion="4")
    made.add(rows, proposed(rows), call, attempt, judged(attempt, True), chosen, row)
    assert worth_reading(made) == Place(1, rows.id)
    made.add(*rescued(lessons))
    assert worth_reading(made) == Place(1, lessons.id)
    # Nothing came of the next round yet.
    made.add(early, proposed(early, 2), a_call(early, round=2))
    assert worth_reading(made) == Place(1, lessons.id)
    page = asking.get("/runs/made/conversations").text
    assert lessons.question in page
    assert re.search(rf'data-task="{lessons.id}"[^>]*aria-current="page"', page)


def test_a_revision_quotes_the_feedback_that_led_to_it(made: RunLedger, asking: TestClient) -> None:
    task = a_task("What is 2 + 2?")
    records = rescued(task)
    made.add(*records)
    page = pane(asking, "made", task.id)
    quote = page.partition('<div class="quotes">')[2].partition("</div>")[0]
    first, wrong = records[3].id, records[5].id
    assert f'href="#{first}"' in quote
    assert f'href="#{wrong}"' in quote
    assert "Count again." in quote
    assert "0 of 2 right" in page
    assert "1 of 1 right" in page
    assert f'href="#{records[8].id}">revised as attempt 3' in page


def test_the_outline_marks_what_came(made: RunLedger, asking: TestClient) -> None:
    task = a_task("What is 2 + 2?")
    made.add(*rescued(task))
    line = re.search(r"<li>.*?</li>", asking.get("/runs/made/outline").text, re.S)
    assert line
    assert "0/2 ✗" in line[0]
    assert "revised, and right then" in line[0]
    assert "gave a lesson" in line[0]
    assert "gave a row" not in line[0]
    assert "error" not in line[0]


def test_a_task_asked_again_has_a_part_for_each_round(made: RunLedger, asking: TestClient) -> None:
    task, other = a_task("What is 2 + 2?"), a_task("What is 3 + 3?")
    made.add(*rescued(task, 1), other, proposed(other, 2), *rescued(task, 2))
    page = pane(asking, "made", task.id)
    assert 'id="round-1" >' in page
    assert 'id="round-2" open>' in page
    assert 'id="round-1" open>' in pane(asking, "made", task.id, "?round=1")
    assert 'id="round-1" open>' in pane(asking, "made", task.id, "?round=all&at=1")
    assert listed(asking.get("/runs/made/outline?round=all").text) == [task.id, other.id, task.id]
    whole = asking.get(f"/runs/made/tasks/{task.id}?round=all&at=1").text
    assert len(re.findall(r'data-round="1"[^>]*aria-current', whole)) == 1
    assert len(re.findall(r'data-round="2"[^>]*aria-current', whole)) == 0


def test_the_outline_comes_in_pages(made: RunLedger, asking: TestClient) -> None:
    tasks = [a_task(f"What is twice the number {n}?") for n in range(120)]
    made.add(*(record for task in tasks for record in (task, proposed(task))))
    ids = [task.id for task in tasks]
    first = asking.get("/runs/made/outline?round=1").text
    assert listed(first) == ids[:50]
    assert "70 more" in first
    assert "earlier" not in first
    # A common beginning tells nothing.
    assert "… 7?" in first
    more = asking.get("/runs/made/outline?round=1&page=1&edges=down").text
    assert listed(more) == ids[50:100]
    assert "20 more" in more
    assert "earlier" not in more
    assert listed(asking.get("/runs/made/outline?round=1&page=99").text) == ids[100:]
    # The page with the open task is the one that is shown.
    page = asking.get(f"/runs/made/tasks/{ids[110]}").text
    assert listed(page) == ids[100:]
    assert "100 earlier" in page
    assert f"/runs/made/tasks/{ids[109]}?round=1" in page
    # A page fetched anew is itself only, and the last one grows.
    alone = asking.get("/runs/made/outline?round=1&page=1&edges=none").text
    assert listed(alone) == ids[50:100]
    assert 'class="edge"' not in alone
    assert "data-last" in asking.get("/runs/made/outline?round=1&page=2&edges=none").text


def test_questions_are_searched(made: RunLedger, asking: TestClient) -> None:
    tasks = [a_task("How many APPLES?"), a_task("100% of them"), a_task("1000 of them", family="shares")]
    made.add(*(record for task in tasks for record in (task, proposed(task))))
    found = lambda query: listed(asking.get(f"/runs/made/outline?{query}").text)  # noqa: E731
    assert found("q=apples") == [tasks[0].id]
    assert found("q=100%25") == [tasks[1].id]
    assert found("family=shares") == [tasks[2].id]
    assert found("q=them&family=sums") == [tasks[1].id]


def test_what_failed_is_shown_with_its_reason(made: RunLedger, asking: TestClient) -> None:
    task, fine = a_task("What is 2 + 2?"), a_task("What is 3 + 3?")
    mute = a_call(task, (), role="critic", request="mute", error="TimeoutError: no answer in 30 s")
    call = a_call(task, ("4",))
    attempt = tried(task, call)
    error = judged(attempt, False, error="the verifier crashed: exit 9")
    silent = Reply(round=1, role="referee", task=task.id, error="stalled for more than 5 s")
    made.add(task, proposed(task), call, attempt, mute, error, silent, fine, proposed(fine), a_call(fine))
    page = pane(asking, "made", task.id)
    for reason in (mute.error, error.error, silent.error):
        assert reason
        assert page.count(reason) == 1
    assert "no reply" in page
    assert "said nothing" in page
    assert "could not verify it" in page
    assert bubbles(page).count(mute.id) == 1
    assert listed(asking.get("/runs/made/outline?came=error").text) == [task.id]


def test_a_model_that_is_asked_n_times_is_told_once(made: RunLedger, asking: TestClient) -> None:
    task = a_task("What is 2 + 2?")
    calls = [a_call(task, ("4",), request=f"sample {n}", adapter=None) for n in range(3)]
    attempts = [tried(task, call, adapter=None) for call in calls]
    assert len({attempt.id for attempt in attempts}) == 3
    made.add(task, proposed(task), *calls, *attempts)
    page = pane(asking, "made", task.id)
    assert page.count("What the solver was told") == 1
    assert [id for id in bubbles(page) if id.startswith("call-")] == [call.id for call in calls]


def everything(evil: str, name: str) -> tuple[Task, list[Record]]:
    """A record of every kind that a conversation shows, with that text or name in every field that takes one."""
    task = a_task(evil, family=name, canonical=evil, truth={evil: evil})
    asked = {"model": name, "options": {"temperature": name, name: evil}, "adapter": name}
    invention = a_call(None, (evil,), evil, role="proposer", request="invention", **asked)
    call = a_call(task, (evil, evil), evil, request="solver", **asked)
    values: dict[str, Any] = {"answer": evil, "strict_answer": evil, "adapter": name}
    first, second = tried(task, call, **values), tried(task, call, 1, **values)
    advice = a_call(task, (evil,), evil, role="critic", request="critic", **asked)
    wrong = judged(first, False, verdict="revise", feedback=evil, call=advice.id, error=evil)
    lost = a_call(task, (), evil, role=name, request="lost", error=evil, **asked)
    spare = a_call(task, (evil,), evil, role=name, request="spare", **asked)
    reply = Reply(
        round=1,
        role=name,
        task=task.id,
        call=spare.id,
        content={name: evil, "list": [evil], "deep": {name: evil}},
        verdict="revise",
    )
    failed = Reply(round=1, role=name, task=task.id, error=evil)
    again = a_call(task, (evil,), f"{evil} again", turn=1, request="again", **asked)
    right = tried(task, again, turn=1, revises=first.id, **values)
    good = judged(right, True, feedback=evil)
    lesson = Lesson(round=1, task=task.id, attempt=right.id, critique=wrong.id, text=evil)
    chosen = Selection(
        round=1, task=task.id, attempt=right.id, chosen=True, reason=evil, scores={name: 1.0}, call=spare.id
    )
    row = Row(
        round=1,
        task=task.id,
        attempt=right.id,
        selection=chosen.id,
        prompt=(Message(role="user", content=evil),),
        completion=evil,
    )
    adapter = Adapter(round=1, rows=(row.id,), recipe={evil: evil}, weights=name)
    decision = Decision(round=1, candidate=adapter.id, promoted=True, reason=evil)
    memories = (lesson.id, row.id, task.id, name)
    recall = Recall(
        round=1,
        role=name,
        task=task.id,
        turn=1,
        query=evil,
        items=tuple(Recalled(id=id, distance=0.5) for id in memories),
        sources=memories,
    )
    answer = Answer(task=task.id, text=evil, answer=evil, score=1.0, correct=True, strict=False)
    evaluation = Evaluation(round=1, suite="gate", adapter=name, strategy=name, tasks=(task.id,), answers=(answer,))
    # Of a family that is not there, and a critique that lost its attempt.
    stray = judged(first.with_(text="lost"), False, feedback=evil)
    proposal = proposed(task, origin="invented", reason=evil, content=evil, call=invention.id)
    records = [task, invention, proposal, call, first, second, advice, wrong, stray, lost, spare, reply, failed]
    return task, [*records, recall, again, right, good, lesson, chosen, row, adapter, decision, evaluation]


def test_nothing_that_was_said_becomes_markup(made: RunLedger, asking: TestClient) -> None:
    task, records = everything(EVIL, EVIL)
    made.add(*records, seconds=1.0)
    held = a_task(EVIL, split="gate", family=EVIL)
    made.add(held, a_call(held, (EVIL,), EVIL, role="evaluation", request="held"))
    shown = pane(asking, "made", task.id)
    asked = [record.id for record in records if getattr(record, "task", None) == task.id]
    assert all(bubbles(shown).count(id) == 1 for id in asked)
    told = {"hx-request": "true", "hx-target": "truth"}
    pages = [
        shown,
        asking.get("/runs/made/conversations").text,
        asking.get(f"/runs/made/tasks/{task.id}?view=time&truth=show").text,
        asking.get(f"/runs/made/tasks/{task.id}?truth=show", headers=told).text,
        asking.get("/runs/made/outline?round=all").text,
        asking.get("/runs/made/outline?round=evaluation").text,
        pane(asking, "made", held.id),
        asking.get("/runs/made/conversations", params={"q": EVIL, "family": EVIL, "came": EVIL, "round": EVIL}).text,
        asking.get("/runs/made/outline", params={"task": EVIL, "q": EVIL, "at": EVIL, "page": "0"}).text,
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "alert(1)</script>\"'" not in page
        # Out of an attribute: a quote of theirs would be followed by ours.
        assert "\"'" not in re.sub(r"<script type=.*?</script>", "", page, flags=re.S)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;" in shown
    headers = asking.get("/runs/made/outline", params={"task": EVIL, "q": "\r\nset-cookie: a=b"}).headers
    assert "set-cookie" not in headers


def test_long_texts_are_cut(made: RunLedger, asking: TestClient) -> None:
    task, records = everything("long words " * 20_000, "name")
    made.add(*records)
    page = pane(asking, "made", task.id)
    assert len(page) < 300_000
    assert "show all 220,000 characters" in page


def test_a_page_takes_few_statements_however_long_the_conversation(made: RunLedger, tmp_path: Path) -> None:
    app = create_app(tmp_path / "runs")
    counted = dict[int, int]()
    for samples in (2, 40):
        task = a_task(f"What is {samples}?")
        call = a_call(task, tuple(f"{n}" for n in range(samples)))
        attempts = [tried(task, call, n) for n in range(samples)]
        made.add(task, proposed(task), call, *attempts, *(judged(attempt, False) for attempt in attempts))
        statements = list[str]()
        with TestClient(app, base_url="http://127.0.0.1:8420") as client:
            engine = app.state.site.ledger().engine
            sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))  # noqa: B023
            assert len(bubbles(client.get(f"/runs/made/tasks/{task.id}").text)) > 2 * samples
        counted[samples] = len(statements)
    assert max(counted.values()) < 20


def test_a_running_conversation_says_how_it_grows(made: RunLedger, asking: TestClient, tmp_path: Path) -> None:
    task = a_task("What is 2 + 2?")
    made.add(task, proposed(task))
    with Workspace(tmp_path / "runs").claim("made"):
        made.update(status="running", pid=os.getpid())
        page = asking.get(f"/runs/made/tasks/{task.id}").text
    assert 'data-live="/runs/made/stream' in page
    assert 'hx-trigger="quintet:stale"' in page
    assert 'hx-trigger="quintet:grown"' in page
    assert "not attempted" in page
