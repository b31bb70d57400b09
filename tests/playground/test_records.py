"""Any record can be read, whatever its kind and its text, with where it came from, what came of it, and its JSON."""

from __future__ import annotations

import html
import json
import re

import pytest
from every_kind import OURS, every_kind
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.records import Answer, Attempt, Call, Completion, Evaluation, Message, Record, Row, Selection, Task


@pytest.fixture
def made(ledger: RunLedger) -> dict[str, Record]:
    """A record of every kind in the run."""
    found = every_kind()
    ledger.add(*found.values(), seconds=1.5)
    return found


def at(ledger: RunLedger, record: Record | str) -> str:
    return f"/runs/{ledger.run}/records/{record if isinstance(record, str) else record.id}"


def test_every_kind_is_known_here():
    assert set(every_kind()) >= OURS


@pytest.mark.parametrize("kind", sorted(OURS))
def test_every_kind_is_shown_and_nothing_in_it_is_html(
    client: TestClient, ledger: RunLedger, made: dict[str, Record], kind: str
):
    record = made[kind]
    for page in ("", "/raw"):
        reply = client.get(at(ledger, record) + page)
        assert reply.status_code == 200
        assert "<script>alert" not in reply.text
        assert "<img src=x" not in reply.text
        assert "&lt;script&gt;alert(1)" in reply.text or kind in ("opening", "verification", "evaluation")
        assert "style=" not in reply.text.replace("rel=", "")
    assert record.id in client.get(at(ledger, record)).text


def test_a_heading_a_number_and_relatives(client: TestClient, ledger: RunLedger, made: dict[str, Record]):
    page = client.get(at(ledger, made["attempt"])).text
    assert re.search(r"<h1[^>]*>Attempt 1</h1>", page)
    assert "1.5 s" in page
    for kind in ("task", "call", "critique", "selection"):
        assert f'href="{at(ledger, made[kind])}"' in page
    assert f'href="/runs/{ledger.run}/tasks/{made["task"].id}#{made["attempt"].id}"' in page
    assert f'href="/runs/{ledger.run}/lineage/{made["attempt"].id}"' in page


def test_a_calls_completions_tell_tokens_probability_and_finish(
    client: TestClient, ledger: RunLedger, made: dict[str, Record]
):
    page = client.get(at(ledger, made["call"])).text
    assert "3 tokens · mean log-probability −1.000 · stopped by itself" in page
    assert "cut off: too many tokens" in page
    assert "3 token ids" in page


def test_a_row_tells_its_story(client: TestClient, ledger: RunLedger, made: dict[str, Record]):
    story = html.unescape(re.sub(r"<[^>]+>", "", client.get(at(ledger, made["row"])).text))
    story = " ".join(story.split())
    assert "Row of round 7: attempt 1 of" in story
    assert "was right (verifier 1), chosen because right;" in story
    assert f"trained into {made['adapter'].id[:14]}, which was promoted: 41 items won, 6 lost, p = 4e-7" in story
    assert "taken back later" in story


def test_the_truth_is_behind_a_click(client: TestClient, ledger: RunLedger, made: dict[str, Record]):
    page = client.get(at(ledger, made["task"])).text
    shown, hidden = page.split("show truth (verifiers only)")
    assert "hidden " not in shown
    assert "hidden " in hidden
    for kind in set(made) - {"task"}:
        assert "hidden " not in client.get(at(ledger, made[kind])).text


def test_a_decision_names_its_evaluations(client: TestClient, ledger: RunLedger, made: dict[str, Record]):
    page = client.get(at(ledger, made["decision"])).text
    assert "gate, incumbent" in page
    for kind in ("evaluation", "base evaluation", "adapter"):
        assert made[kind].id in page


def test_an_evaluations_items_come_in_pages(client: TestClient, ledger: RunLedger):
    tasks = [
        Task(family="sums", level=0, question=f"Question {n}?", canonical=str(n), truth={"secret": n}, split="gate")
        for n in range(120)
    ]
    answers = tuple(
        Answer(task=task.id, text=f"It is {n}.", answer=str(n), score=n % 2, correct=bool(n % 2), strict=False)
        for n, task in enumerate(tasks)
    )
    one = Evaluation(round=1, suite="gate", tasks=tuple(task.id for task in tasks), answers=answers)
    ledger.add(*tasks, one)
    seen, address = list[str](), at(ledger, one)
    while address:
        page = client.get(address, headers={"hx-request": "true"} if "items=" in address else {}).text
        seen += re.findall(r"Question (\d+)\?</div>", page)
        more = re.search(r'hx-get="([^"]+items=\d+)"', page)
        address = html.unescape(more[1]) if more else ""
    assert seen == [str(n) for n in range(120)]
    wrong = client.get(f"{at(ledger, one)}?show=wrong&items=50").text
    assert re.findall(r"Question (\d+)\?</div>", wrong) == [str(n) for n in range(100, 120, 2)]
    assert "secret" not in wrong


def test_long_lists_are_counted_and_many_relatives_linked(client: TestClient, ledger: RunLedger):
    task = Task(family="sums", level=0, question="Many?", canonical="many", truth={})
    call = Call(
        request="many",
        round=1,
        role="solver",
        task=task.id,
        model="tiny",
        messages=(Message(role="user", content="Many?"),),
        completions=tuple(Completion(text=f"{n}") for n in range(40)),
    )
    attempts = [
        Attempt(round=1, task=task.id, call=call.id, sample=n, turn=0, text=str(n), answer=None, strict_answer=None)
        for n in range(40)
    ]
    ledger.add(task, call, *attempts)
    page = client.get(at(ledger, call)).text
    assert f'href="/runs/{ledger.run}/events?came-of={call.id}&amp;kind=attempt">40 attempts' in page
    assert page.count('class="role-solver">Attempt') == 12


def test_raw_json_is_the_record(client: TestClient, ledger: RunLedger, made: dict[str, Record]):
    for kind, record in made.items():
        fragment = client.get(f"{at(ledger, record)}/raw")
        assert fragment.text.startswith("<pre")
        shown = html.unescape(re.sub(r"^<pre[^>]*>|</pre>\s*$", "", fragment.text))
        assert json.loads(shown) == record.model_dump(mode="json"), kind
        file = client.get(f"{at(ledger, record)}/raw?download")
        assert file.headers["content-type"] == "application/json"
        assert file.headers["content-disposition"] == f'attachment; filename="{record.id}.json"'
        assert file.json() == record.model_dump(mode="json")


def test_the_whole_text_is_a_click_away(client: TestClient, ledger: RunLedger):
    long = "All of <b>this</b> is said. " * 200
    call = every_kind(long)["call"]
    ledger.add(call)
    page = client.get(at(ledger, call)).text
    assert "completions.0.text" in page
    assert page.count("this&lt;/b&gt; is said") < 600
    whole = client.get(f"{at(ledger, call)}/text?path=completions.0.text").text
    assert whole.startswith('<div class="said">')
    assert html.unescape(whole).count("All of <b>this</b>") == 200
    assert "<b>" not in whole


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nothing",
        "completions",
        "completions.9.text",
        "completions.-1.text",
        "completions.0",
        "round",
        "..",
        "text.0",
        "completions.99999999999999999999.text",
        "completions.0.text.upper",
        "completions.٣.text",
        "__class__",
    ],
)
def test_a_path_that_is_not_there_is_not_found(
    client: TestClient, ledger: RunLedger, made: dict[str, Record], path: str
):
    reply = client.get(f"{at(ledger, made['call'])}/text", params={"path": path})
    assert reply.status_code == 404
    assert "has no text at" in reply.text


def test_an_id_or_its_beginning_leads_to_the_newest_run(client: TestClient, ledger: RunLedger):
    row = ledger.find(Row)[0]
    newer = ledger.ledger.begin("newer", 0, {})
    for id in (row.id, row.id[:-3]):
        reply = client.get(f"/records/{id}", follow_redirects=False)
        assert (reply.status_code, reply.headers["location"]) == (307, at(ledger, row))
    newer.add(row)
    assert client.get(f"/records/{row.id}", follow_redirects=False).headers["location"] == at(newer, row)
    assert "several ids begin" in client.get("/records/attempt-").text


@pytest.mark.parametrize(
    "id",
    [
        "row-0000000000000000",
        "nothing",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "' OR 1=1 --",
        "%F0%9F%A6%8A",
        "row-*",
        "x" * 5000,
    ],
)
def test_an_unknown_id_is_not_found(client: TestClient, ledger: RunLedger, id: str):
    for address in (
        f"/records/{id}",
        *(f"/runs/{ledger.run}/records/{id}{rest}" for rest in ("", "/raw", "/raw?download", "/text?path=text")),
        f"/runs/{ledger.run}/lineage/{id}",
    ):
        reply = client.get(address)
        assert reply.status_code == (400 if "%00" in address else 404), address
        assert "passwd:" not in reply.text


def test_a_parent_in_another_run_is_said(client: TestClient, ledger: RunLedger):
    made = every_kind("fine")
    ledger.add(made["row"])
    page = client.get(at(ledger, made["row"])).text
    assert "in another run" in page
    assert f'href="/records/{made["task"].id}"' in page
    assert client.get(f"/runs/{ledger.run}/lineage/{made['row'].id}").status_code == 200


def test_an_attempt_that_was_left_out_says_why(client: TestClient, ledger: RunLedger):
    left_out = next(one for one in ledger.find(Selection) if not one.chosen)
    page = client.get(at(ledger, left_out.attempt)).text
    assert f"left out: {html.escape(left_out.reason)}" in " ".join(page.split())


def test_a_key_may_hold_a_dot_and_what_is_no_text_has_no_link(client: TestClient, ledger: RunLedger):
    said = every_kind("x")["reply"].with_(content={"a.b": "word " * 1000, "list": ["word"] * 1000})
    ledger.add(said)
    page = client.get(at(ledger, said)).text
    assert "path=content.a.b" in page
    assert "path=content.list" not in page
    assert client.get(f"{at(ledger, said)}/text?path=content.a.b").text.count("word") == 1000
