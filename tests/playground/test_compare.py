"""The comparison page: what it fills in, that its numbers are those of the gate, which items it shows."""

from __future__ import annotations

import html
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from quintet.evaluation.evaluate import score
from quintet.evaluation.gate import compare
from quintet.graph.adapters import standing
from quintet.graph.comparing import on_both
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.evaluated import evaluated
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.playground.differing import Piece, pieces, settings
from quintet.playground.rendering import points, probability
from quintet.playground.sides import sides
from quintet.records import BASE, Answer, Call, Completion, Evaluation, Message, Suite, Task

HOSTILE = '</div><script>alert("x")</script>'


def answers(tasks: tuple[str, ...], right: str, text: str = "The answer is odd.") -> tuple[Answer, ...]:
    """An answer to each task, right where `right` has a 1, and as it was asked for where it is right."""
    return tuple(
        Answer(task=task, text=text, answer="odd", score=float(one), correct=one == "1", strict=one == "1")
        for task, one in zip(tasks, right, strict=True)
    )


def evaluate(ledger: RunLedger, suite: Suite, adapter: str, right: str, round: int = 9, text: str = "") -> Evaluation:
    """Record an evaluation on as many train tasks of the run, which no real one is of."""
    tasks = tuple(task.id for task in ledger.find(Task) if task.split == "train")[: len(right)]
    found = Evaluation(round=round, suite=suite, adapter=adapter, tasks=tasks, answers=answers(tasks, right, text))
    ledger.add(found)
    return found


@pytest.fixture
def pair(ledger: RunLedger) -> tuple[Evaluation, Evaluation]:
    """The base and the incumbent on one suite: 3 won, 1 lost, 2 both right, 1 both wrong."""
    incumbent = standing(ledger).incumbent
    base = evaluate(ledger, "retention", BASE, "0001110", text="So it is even.")
    return base, evaluate(ledger, "retention", incumbent, "1110110", text=f"So it is {HOSTILE} odd.")


def shown(page: str) -> list[str]:
    """The outcomes of the items on a page."""
    return re.findall(r'<article class="item (\w+)"', page)


def test_an_empty_address_is_the_newest_runs_result(client: TestClient, ledger: RunLedger) -> None:
    chosen = sides(ledger.ledger, {})
    assert (chosen.left.run, chosen.left.adapter) == (ledger.run, BASE)
    assert chosen.right.adapter == standing(ledger).incumbent != BASE
    page = client.get("/compare")
    assert page.status_code == 200
    assert f'value="{ledger.run}:{chosen.right.adapter}" selected' in page.text


def test_the_numbers_are_those_of_the_gate(
    client: TestClient, ledger: RunLedger, pair: tuple[Evaluation, Evaluation]
) -> None:
    wanted = Settings.of_run(ledger.info.settings).evaluation
    found, strict = compare(*pair, wanted), compare(*pair, wanted, "strict")
    page = html.unescape(client.get("/compare?suite=retention").text)
    assert (found.won, found.lost, found.n) == (3, 1, 7)
    assert f"<dd>{points(found.effect)} <small>[{points(found.low)}, {points(found.high)}]</small>" in page
    assert f"<dd>{probability(found.p_value)} <small>exact McNemar test</small>" in page
    assert "<dd>3, 1 <small>of 7 items</small>" in page
    assert f"p = {probability(strict.p_value)}" in page
    for one in pair:
        numbers = score(one, wanted.confidence)
        assert f"{100 * numbers.correct / numbers.n:.1f} %</b>" in page
        assert f"[{100 * numbers.low:.1f}, {100 * numbers.high:.1f}]" in page
    square = re.findall(r"show=(\w+)#items[^>]*>(\d+)</a>", page)
    assert dict(square) == {"both": "2", "lost": "1", "won": "3", "neither": "1"}


@pytest.mark.parametrize(
    ("show", "outcomes"),
    [
        ("", ["won", "won", "won", "lost"]),
        ("flipped", ["won", "won", "won", "lost"]),
        ("won", ["won"] * 3),
        ("lost", ["lost"]),
        ("both", ["both", "both"]),
        ("neither", ["neither"]),
        ("all", ["won", "won", "won", "lost", "both", "both", "neither"]),
    ],
)
@pytest.mark.usefixtures("pair")
def test_items_are_narrowed_by_how_they_fared(client: TestClient, show: str, outcomes: list[str]) -> None:
    for path in ("/compare", "/compare/items"):
        assert shown(client.get(f"{path}?suite=retention&show={show}").text) == outcomes


def test_items_are_narrowed_by_words_family_and_level(
    client: TestClient, ledger: RunLedger, pair: tuple[Evaluation, Evaluation]
) -> None:
    task = ledger.get(pair[0].tasks[2])
    assert isinstance(task, Task)
    path = "/compare/items?suite=retention&show=all"
    found = client.get(path, params={"suite": "retention", "show": "all", "q": task.question.upper()})
    assert shown(found.text) == ["won"]
    assert found.headers["hx-push-url"].startswith("/compare?left=")
    assert len(shown(client.get(f"{path}&q=so+it+is").text)) == 7
    assert len(shown(client.get(f"{path}&family={task.family}").text)) == 7
    assert "Nothing matches" in client.get(f"{path}&family=gcd").text
    assert "Nothing matches" in client.get(f"{path}&level=7").text


@pytest.mark.usefixtures("pair")
def test_what_a_model_said_is_shown_and_never_obeyed(client: TestClient) -> None:
    page = client.get("/compare?suite=retention").text
    assert "<script>alert" not in page
    assert "alert" in page
    # What the other side did not say is marked, and nothing else.
    assert re.search(r'<div class="said">So it is <mark>even</mark>\.</div>', page)
    assert "<mark>" in client.get("/compare/items?suite=retention").text


@pytest.mark.usefixtures("pair")
def test_the_truth_is_behind_a_click(client: TestClient) -> None:
    page = client.get("/compare?suite=retention&show=lost").text
    [truth] = re.findall(r"<details>\s*<summary>Ground truth</summary>\s*<pre>(.*?)</pre>\s*</details>", page, re.S)
    assert "{" in truth


def test_ids_may_be_beginnings_and_what_is_unknown_is_named(client: TestClient, ledger: RunLedger) -> None:
    incumbent = standing(ledger).incumbent
    page = client.get(f"/compare?left={ledger.run}:{incumbent[:12]}&right={ledger.run}:base").text
    assert f'value="{ledger.run}:{incumbent}" selected' in page
    for path, told in (("left=nowhere", ledger.run), (f"right={ledger.run}:adapter-none", incumbent)):
        reply = client.get(f"/compare?{path}")
        assert reply.status_code == 404
        assert told in reply.text
    # Nonsense elsewhere is as good as nothing.
    assert client.get("/compare?suite=none&round=x&show=%01&after=-1&strategy=").status_code == 200


def test_one_side_is_enough(ledger: RunLedger) -> None:
    incumbent = standing(ledger).incumbent

    def chosen(**asked: str) -> tuple[str, str]:
        found = sides(ledger.ledger, asked)
        return found.left.adapter, found.right.adapter

    assert chosen(left=f"{ledger.run}:{incumbent}") == (incumbent, BASE)
    assert chosen(right=f"{ledger.run}:{incumbent}") == (BASE, incumbent)
    assert chosen(right=f"{ledger.run}:base") == (incumbent, BASE)
    assert chosen(left=ledger.run, right=ledger.run) == (BASE, incumbent)


def test_different_items_are_no_pairs(client: TestClient, ledger: RunLedger) -> None:
    incumbent = standing(ledger).incumbent
    for adapter, round in ((BASE, 8), (incumbent, 9)):
        tasks = tuple(f"task-{round}{number}" for number in range(4))
        ledger.add(
            Evaluation(round=round, suite="retention", adapter=adapter, tasks=tasks, answers=answers(tasks, "0011"))
        )
    page = client.get("/compare?suite=retention").text
    assert "evaluated on different items" in page
    assert page.count("50.0 %</b>") == 2
    assert "McNemar" not in page
    assert shown(page) == []


def test_items_in_common_are_compared_alone(client: TestClient, ledger: RunLedger) -> None:
    base = evaluate(ledger, "retention", BASE, "00110011")
    other = evaluate(ledger, "retention", standing(ledger).incumbent, "11111")
    a, b = on_both(base, other)
    assert a.tasks == b.tasks == other.tasks
    page = client.get("/compare?suite=retention").text
    assert "Only 5 items are the same" in page
    assert "<dd>3, 0 <small>of 5 items in common</small>" in page


def test_where_nothing_fits_the_pairs_that_exist_are_offered(client: TestClient, ledger: RunLedger) -> None:
    page = client.get(f"/compare?left={ledger.run}:base&right={ledger.run}:base&suite=steer").text
    assert "were not both evaluated on the steer suite" in page
    [first, *_] = re.findall(r'<li data-step><a href="([^"]+)"', page)
    assert "McNemar" in client.get(html.unescape(first)).text


def test_strategies_are_compared_too(client: TestClient, ledger: RunLedger) -> None:
    greedy = evaluate(ledger, "retention", BASE, "0011", round=0)
    calls = [
        Call(
            request=f"greedy {task}",
            round=0,
            role="evaluation",
            task=task,
            model="tiny",
            messages=(Message(role="user", content="?"),),
            completions=(Completion(text="odd", tokens=(1, 2, 3)),),
            prompt_tokens=40,
        )
        for task in greedy.tasks
    ]
    ledger.add(*calls, greedy.with_(strategy="revise", tokens=50, answers=answers(greedy.tasks, "1111")))
    asked = f"left={ledger.run}:base&right={ledger.run}:base&suite=retention&strategy_right=revise"
    page = client.get(f"/compare?{asked}").text
    assert "<dd>2, 0 <small>of 4 items</small>" in page
    assert "beside the run" in page
    rows = re.findall(r'<th scope="row">.*?</tr>', page, re.S)[:2]
    assert ['<td class="number">3.0</td>' in rows[0], '<td class="number">12.5</td>' in rows[1]] == [True, True]
    assert "revise generated 4.2 times the tokens of greedy" in page


@pytest.fixture
def second(ledger: RunLedger) -> RunLedger:
    """Another run with the same items and other settings."""
    changed = {**ledger.info.settings, "seed": 5, "rounds": 7}
    changed["solver"] = {**changed["solver"], "persona": HOSTILE}
    other = ledger.ledger.begin("other-1", 5, changed, "finished")
    other.add(*ledger.find(Task))
    for one in ledger.find(Evaluation):
        if one.adapter == BASE:
            other.add(one)
    return other


def test_two_runs_show_what_differs(client: TestClient, ledger: RunLedger, second: RunLedger) -> None:
    page = client.get(f"/compare?left={ledger.run}&right={second.run}:base&suite=final").text
    found = re.findall(r'<th scope="row"><code>(\w+)</code></th>\s*<td><code>(.*?)</code></td>\s*<td>(.*?)</td>', page)
    assert [(key, left) for key, left, _ in found] == [("seed", "0"), ("rounds", "2"), ("persona", "null")]
    assert "alert" in found[2][2]
    assert "<script>alert" not in page
    same = client.get(f"/compare?left={ledger.run}:base&right={second.run}:base&suite=final").text
    assert "0, 0 <small>of 12 items" in same
    ledger.ledger.begin("twin-1", 0, ledger.info.settings, "finished")
    assert "Same settings." in client.get(f"/compare?left={ledger.run}&right=twin-1:base").text


def test_a_long_suite_comes_by_fifty(many: Path) -> None:
    with TestClient(create_app(many), base_url="http://127.0.0.1:8420") as client:
        page = client.get("/compare?show=all").text
        assert len(shown(page)) == 50
        seen, more = shown(page), re.findall(r'hx-get="(/compare/items[^"]+)"', page)
        while more := [address for address in more if "after=" in address]:
            page = client.get(html.unescape(more[0])).text
            seen += shown(page)
            more = re.findall(r'hx-get="(/compare/items[^"]+)"', page)
        assert len(seen) == 288


def test_nothing_is_changed_by_looking(
    client: TestClient, ledger: RunLedger, pair: tuple[Evaluation, Evaluation]
) -> None:
    before = ledger.digest()
    for path in ("/compare", "/compare/items", f"/compare?left={ledger.run}&suite=gate"):
        assert client.get(path).status_code == 200
        assert client.post(path).status_code == 405
    assert ledger.digest() == before


def test_an_empty_workspace_has_nothing_to_compare(tmp_path: Path) -> None:
    with TestClient(create_app(tmp_path), base_url="http://127.0.0.1:8420") as client:
        assert "Nothing to compare yet" in client.get("/compare").text
        with Workspace(tmp_path).ledger() as ledgers:
            ledgers.begin("bare-1", 0, {})
        assert "No two evaluations here" in client.get("/compare").text


def test_the_heads_of_evaluations_are_those_of_the_records(ledger: RunLedger) -> None:
    heads, records = evaluated(ledger), ledger.find(Evaluation)
    assert [(one.id, one.round, one.suite, one.adapter, one.strategy, one.n) for one in heads] == [
        (one.id, one.round, one.suite, one.adapter, one.strategy, one.n) for one in records
    ]
    for one, first in zip(heads, records, strict=True):
        for other, second in zip(heads, records, strict=True):
            assert (one.items == other.items) == (first.tasks == second.tasks)


words = st.text(st.sampled_from("ab 1.\n<"), max_size=40)


@given(words, words)
def test_pieces_put_together_are_the_texts(left: str, right: str) -> None:
    lefts, rights = pieces(left, right)
    assert "".join(piece.text for piece in lefts) == left
    assert "".join(piece.text for piece in rights) == right
    alike = ["".join(piece.text for piece in side if not piece.differs) for side in (lefts, rights)]
    assert alike[0] == alike[1] or alike == [left, right]
    if left == right:
        assert alike == [left, right]


def test_a_text_that_says_the_same_over_and_over_is_soon_done() -> None:
    began = time.monotonic()
    left, right = ".," * 750, ",,." * 500
    assert pieces(left, right) == ([Piece(text=left, differs=False)], [Piece(text=right, differs=False)])
    assert time.monotonic() - began < 1


def test_settings_differ_by_leaf() -> None:
    left = {"seed": 0, "a": {"b": {"c": 1}, "d": [1]}, "gone": {"x": None}}
    right = {"seed": 0, "a": {"b": {"c": 2}, "d": [1]}, "new": 3}
    found = {
        section: [(one.key, one.left, one.right) for one in lines] for section, lines in settings(left, right).items()
    }
    assert found == {"": [("new", None, "3")], "a": [("b.c", "1", "2")], "gone": [("x", "null", None)]}
    assert settings(left, left) == {}
