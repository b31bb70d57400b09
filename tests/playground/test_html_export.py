"""The export of a run as one page: all that it says, nothing that it asks for, and nothing of what was hidden."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import browser, chromium
from click.testing import CliRunner
from parity import CANARY

from quintet.cli import main
from quintet.graph.errors import LoopError
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.outline import Sought, places
from quintet.memory.workspace import Workspace
from quintet.playground.exports.detached import Detached
from quintet.playground.exports.onepage import chosen, export_page
from quintet.records import Attempt, Call, Decision, Row, Task


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "input"):
            self.open.append(tag)
        if tag in self.inline:
            self.inline[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def file(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "run.html"
    export_page(played, None, out, 200)
    return out


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return Page(file.read_bytes().decode())


def exported(workspace: Path, folder: Path, most: int = 200) -> Page:
    export_page(workspace, None, folder / "run.html", most)
    return Page((folder / "run.html").read_bytes().decode())


def test_nothing_in_it_asks_for_anything(page: Page) -> None:
    for tag, given in page.tags:
        assert tag not in ("form", "iframe", "object", "embed", "base", "img")
        for name, value in given.items():
            assert not name.startswith(("on", "hx-", "style")), (tag, given)
            assert name not in ("src", "action", "formaction", "srcset", "ping")
            if name == "href":
                assert value is not None
                assert value.startswith("#") or (tag, value) == ("link", "data:,")
    assert "@import" not in page.inline["style"][0]
    assert "url(" not in page.inline["style"][0]


def test_its_policy_admits_exactly_what_stands_in_it(page: Page) -> None:
    policy = next(str(given["content"]) for _, given in page.tags if "http-equiv" in given)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    running = [
        text
        for text, given in zip(
            page.inline["script"], (given for tag, given in page.tags if tag == "script"), strict=True
        )
        if "type" not in given
    ]
    for found, rule in ((running, "script-src"), (page.inline["style"], "style-src")):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found]
        assert rules[rule].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(page.inline["style"]) == 1


def test_every_link_leads_to_a_place_in_it_and_no_place_is_there_twice(page: Page) -> None:
    ids = Counter(given["id"] for _, given in page.tags if "id" in given)
    assert [id for id, number in ids.items() if number > 1] == []
    targets = {str(given["href"])[1:] for tag, given in page.tags if tag == "a"}
    assert targets
    assert targets <= set(ids)


def test_no_truth_is_in_it(file: Path) -> None:
    assert CANARY not in file.read_text()


def test_it_says_what_was_said_decided_and_learnt(page: Page, played: Path) -> None:
    with Workspace(played).ledger() as ledgers:
        ledger = ledgers.run()
        ids = {given.get("id") for _, given in page.tags}
        asked = {place.task for place in places(ledger, Sought())}
        for attempt in ledger.find(Attempt):
            assert attempt.task in asked
            assert attempt.id in ids
            assert attempt.text in page.text
        for row in ledger.find(Row):
            assert row.id in ids
        for decision in ledger.find(Decision):
            word = "promoted" if decision.promoted else "rejected"
            assert decision.reason.removeprefix(f"{word}: ") in page.text
        for id in asked:
            task = ledger.get(id)
            assert isinstance(task, Task)
            assert task.question in page.text
        system = next(call.messages[0].content for call in ledger.find(Call, role="solver"))
        assert system in page.text
    assert "skeptic" in page.text


def test_it_says_how_many_conversations_it_left_out(played: Path, tmp_path: Path) -> None:
    with Workspace(played).ledger() as ledgers:
        ledger = ledgers.run()
        total = len({place.task for place in places(ledger, Sought())})
        telling = {row.task for row in ledger.find(Row)} | {one.task for one in ledger.find(Attempt) if one.revises}
    page = exported(played, tmp_path, 3)
    folds = [given["id"] for tag, given in page.tags if tag == "details" and given.get("class") == "conversation"]
    assert len(folds) == 3
    assert set(folds) <= telling
    assert f"3 of {total}," in page.text
    assert f"{total - 3} are left out" in page.text
    assert "0 of" in exported(played, tmp_path, 0).text


def test_conversations_that_gave_rows_or_were_revised_come_first_from_all_rounds(many: Path) -> None:
    with Workspace(many).ledger() as ledgers:
        ledger = ledgers.run()
        shown = chosen(ledger, 40)
    assert all(line.row or line.revised for line in shown.lines)
    assert Counter(line.round for line in shown.lines) == dict.fromkeys(range(1, 11), 4)
    assert [line.round for line in shown.lines] == sorted(line.round or 0 for line in shown.lines)
    assert shown.of == 10_000


def test_what_a_model_said_stays_text(workspace: Path, ledger: RunLedger, tmp_path: Path, page: Page) -> None:
    attempt = ledger.find(Attempt)[0]
    hostile = '</div></details><script>alert(1)</script><img src=x onerror="alert(2)"><style>*{}</style>&amp;"\'>'
    ledger.add(attempt.with_(text=hostile, sample=99))
    found = exported(workspace, tmp_path)
    assert hostile in found.text
    assert [tag for tag, _ in found.tags].count("script") == [tag for tag, _ in page.tags].count("script")
    assert "img" not in [tag for tag, _ in found.tags]


def test_a_run_that_has_not_asked_anything_is_exported_too(tmp_path: Path) -> None:
    with Workspace(tmp_path).ledger() as ledgers:
        ledgers.begin("young", 0, {"rounds": 1})
    page = exported(tmp_path, tmp_path)
    assert "Nothing was asked yet." in page.text
    assert "No adapter was trained." in page.text


def test_the_command_says_how_much_and_how_large(played: Path, tmp_path: Path) -> None:
    def typed(*arguments: str) -> tuple[int, str, str]:
        found = CliRunner().invoke(main, ["export", "tiny-1", *arguments, "--workspace", str(played)])
        return found.exit_code, found.stdout, found.stderr

    code, said, _ = typed("html", str(tmp_path / "run.html"), "--json")
    assert code == 0
    assert json.loads(said)["bytes"] == (tmp_path / "run.html").stat().st_size
    code, _, told = typed("html", str(tmp_path / "run.html"))
    assert re.fullmatch(r"\d+ conversations in .*run\.html \([\d.]+ MB\)\n", told)
    code, _, told = typed("otlp", str(tmp_path / "run.jsonl"))
    assert re.fullmatch(r"[\d,]+ spans in .*run\.jsonl \([\d.]+ MB\)\n", told)
    assert typed("otlp", str(tmp_path / "run.jsonl"), "--tasks", "3")[0] == 2
    assert typed("html", str(tmp_path / "no" / "run.html"))[0] == 2
    assert typed("html", "-", "--json")[0] == 2
    assert not list(tmp_path.glob(".*.part"))
    assert typed("html", "-", "--tasks", "1")[1].rstrip().endswith("</html>")


def test_an_export_that_fails_leaves_what_was_there(played: Path, tmp_path: Path) -> None:
    (tmp_path / "run.html").write_text("before")
    with pytest.raises(RuntimeError, match="stop"):
        export_page(played, None, tmp_path / "run.html", 5, _stop)
    assert (tmp_path / "run.html").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    with pytest.raises(LoopError, match="folder"):
        export_page(played, None, tmp_path, 5)


def _stop(done: int, of: int) -> None:
    raise RuntimeError("stop")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ('<a href="/runs/r-1/records/row-1">it</a>', '<a href="#row-1">it</a>'),
        ('<a class="id" href="/runs/r-1/records/row-2" title="x">it</a>', '<span class="id" title="x">it</span>'),
        ('<a href="/runs/r-2/records/row-1">it</a>', "<span>it</span>"),
        ('<p class="links"><a href="/compare">compare</a> <a href="#row-1">it</a></p>', None),
        ('<div hx-get="/x" data-step id="row-1">a &amp; b</div>', '<div id="row-1">a &amp; b</div>'),
        ('<details class="raw"><summary>raw</summary><br></details>b', "b"),
        ('<a href="/runs/r-1/rows?adapter=x">59</a>', '<a href="#rows">59</a>'),
        ('<a href="javascript:alert(1)">it</a>', "<span>it</span>"),
        ('<svg><path d="M0 0"/></svg>', '<svg><path d="M0 0"/></svg>'),
    ],
)
def test_links_lead_into_the_file_or_nowhere(given: str, left: str | None) -> None:
    expected = '<p class="links"> <a href="#row-1">it</a></p>' if left is None else left
    assert Detached("r-1", {"row-1"}).rewritten(given) == expected


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="chromium is missing: apt-get install chromium")
@pytest.mark.parametrize(("dark", "phone"), [(False, False), (True, False), (False, True)])
def test_it_opens_from_the_disk_without_a_request_or_a_complaint(file: Path, dark: bool, phone: bool) -> None:
    with browser() as opened:
        context = opened.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        page, asked, complaints = context.new_page(), list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri(), wait_until="load")
        page.wait_for_timeout(500)
        assert asked == [file.as_uri()]
        assert complaints == []
        assert page.locator(".plot canvas").count() == page.locator("[data-chart]").count() > 5
        paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert paper == ("rgb(21, 23, 27)" if dark else "rgb(251, 250, 247)")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        violations = Axe().run(page).response["violations"]
        assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []
        # A link from the training set unfolds the conversation that the row came of.
        link = page.locator("#rows .choice a", has_text="conversation").first
        link.click()
        page.wait_for_timeout(200)
        assert page.locator(f"[id='{link.get_attribute('href')[1:]}']").is_visible()  # type: ignore[index]
        context.close()
