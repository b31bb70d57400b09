"""Every page in a real browser, on the ledger of a real run: what it shows, how it moves, who can use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Browser, Visit, browser, chromium, served
from every_kind import every_kind
from short import SHORT

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Decision, Row, Selection, Verification

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="chromium is missing: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of the demo, shortened, with the Skeptic at the table."""
    workspace = tmp_path_factory.mktemp("real") / "runs"
    command = ["-m", "quintet.cli", "run", "examples/arithmetic.toml", "--role", "examples/skeptic.py:Skeptic"]
    subprocess.run(
        [sys.executable, *command, "--workspace", str(workspace)],
        cwd=ROOT,
        env={**os.environ, **SHORT, "QUINTET_EVALUATION__ALPHA": "0.49", "QUINTET_EVALUATION__MINIMUM_EFFECT": "0"},
        check=True,
        timeout=290,
        capture_output=True,
    )
    return workspace


@pytest.fixture(scope="module")
def paths(real: Path) -> dict[str, str]:
    """Every page of that run, by name."""
    with Workspace(real).ledger() as ledgers:
        ledger = ledgers.run()
        return pages_of(ledger)


def pages_of(ledger: RunLedger) -> dict[str, str]:
    """Every page of a run, by name."""
    run = f"/runs/{ledger.run}"
    # A row's, where there is one: it has been through everything.
    chosen = next(iter(ledger.find(Row)), None) or ledger.find(Selection)[0]
    # The result, if something was promoted; else the last gate.
    ends = [ledger.get(verdict.promoted) for verdict in ledger.find(Verification) if verdict.promoted]
    gates = [(decision.incumbent, decision.candidate) for decision in ledger.find(Decision) if decision.candidate]
    sides, suite = (("base", ends[-1].adapter), "final") if ends else (gates[-1], "gate")
    return {
        "runs": "/",
        "run": run,
        "conversations": f"{run}/conversations",
        "conversation": f"{run}/tasks/{chosen.task}",
        "rows": f"{run}/rows",
        "adapters": f"{run}/adapters",
        "lineage": f"{run}/lineage/{chosen.id}",
        "record": f"{run}/records/{chosen.id}",
        "events": f"{run}/events",
        "memory": f"{run}/memory",
        "compare": f"/compare?left={ledger.run}:{sides[0]}&right={ledger.run}:{sides[1]}&suite={suite}",
    }


NAMES = (
    "runs",
    "run",
    "conversations",
    "conversation",
    "rows",
    "adapters",
    "lineage",
    "record",
    "events",
    "memory",
    "compare",
)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def base(real: Path) -> Iterator[str]:
    with served(real) as address:
        yield address


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_page_is_clean(window: Browser, base: str, paths: dict[str, str], name: str, dark: bool, phone: bool) -> None:
    visit = Visit(window, base, dark=dark, phone=phone)
    page = visit.to(paths[name])
    assert page.locator("h1").count() == 1
    assert visit.overflow() <= 0
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    visit.clean()
    visit.context.close()


def test_the_theme_is_kept(window: Browser, base: str) -> None:
    visit = Visit(window, base)
    page = visit.to("/")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Dark or light").click()
    dark = page.evaluate(paper)
    assert dark != light
    visit.to("/")
    assert page.evaluate(paper) == dark
    visit.clean()


def test_the_keyboard_leads_everywhere(window: Browser, base: str, paths: dict[str, str]) -> None:
    visit = Visit(window, base)
    page = visit.to("/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{paths['run']}")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    for name in ("rows", "events", "memory", "conversations"):
        visit.to(paths[name])
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.matches('[data-search]')"), name
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        # One round has recalled nothing yet.
        assert page.locator("[data-step].current").count() == (name != "memory"), name
    visit.clean()


def test_three_questions_are_answered_within_two_clicks(
    window: Browser, base: str, real: Path, paths: dict[str, str]
) -> None:
    visit = Visit(window, base)
    page = visit.to(paths["run"])
    # Did it get better?
    assert page.get_by_text("points").first.is_visible()
    # What was said?
    page.get_by_role("link", name="Conversations", exact=True).click()
    page.wait_for_selector(".role-solver")
    assert page.locator(".role-critic, .role-curator").count()
    # Why this row?
    page.get_by_role("link", name="Rows", exact=True).click()
    with Workspace(real).ledger() as ledgers:
        rows, selections = ledgers.run().find(Row), {s.id: s for s in ledgers.run().find(Selection)}
    assert rows, "the shortened demo gave no row"
    assert page.get_by_text(selections[rows[0].selection].reason).first.is_visible()
    visit.clean()


def test_hostile_text_stays_text(window: Browser, real: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(real, tmp_path / "runs"))
    hostile = every_kind(
        "</script></textarea><img src=x onerror='window.hacked=1'><svg onload=window.hacked=1>"
        "<a href='javascript:window.hacked=1' hx-get='/' hx-trigger='load' hx-on::load='window.hacked=1'>hm</a>"
    )
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        ledger.add(*hostile.values())
        run = f"/runs/{ledger.run}"
        pages = {**pages_of(ledger), "task": f"{run}/tasks/{hostile['task'].id}"}
    pages |= {f"record {kind}": f"{run}/records/{record.id}" for kind, record in hostile.items()}
    pages |= {f"lineage {kind}": f"{run}/lineage/{hostile[kind].id}" for kind in ("task", "row", "adapter")}
    pages |= {"search": f"/?q={HOSTILE_QUERY}", "found": f"{run}/events?q={HOSTILE_QUERY}"}
    with served(workspace) as base:
        visit = Visit(window, base)
        for name, path in pages.items():
            page = visit.to(path)
            page.wait_for_timeout(100)
            assert page.evaluate("window.hacked") is None, name
            assert page.locator("main img, main [onerror], main [onload], main [href^=javascript]").count() == 0, name
        visit.clean()
        visit.context.close()


HOSTILE_QUERY = "%22%3E%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D1%22%3E"


def test_a_running_run_moves_under_the_eye(window: Browser, tiny_model_folder: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "runs"
    script = ROOT / "tests" / "graph" / "tiny_run.py"
    with served(workspace) as base:
        running = subprocess.Popen(
            [sys.executable, str(script), str(workspace), str(tiny_model_folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            visit = Visit(window, base)
            page = visit.to("/")
            for _ in range(120):
                if page.get_by_role("link", name="tiny-1").count():
                    break
                page.wait_for_timeout(500)
                visit.to("/")
            visit.to("/runs/tiny-1")
            page.wait_for_selector("[data-latest] li", timeout=90_000)
            page.wait_for_selector(".sub-title .status-finished", timeout=150_000)
            page.wait_for_timeout(2500)
            links = page.eval_on_selector_all("[data-latest] a", "all => all.map((one) => one.href)")
            assert len(links) == len(set(links)) > 1
            with Workspace(workspace).ledger() as ledgers:
                newest = ledgers.run("tiny-1").events(ledgers.run("tiny-1").newest() - 1)[-1]
            assert links[0].endswith(newest.id)
            # The page as it became is the page as it is.
            moved = page.locator("main").inner_text()
            visit.to("/runs/tiny-1")
            assert page.locator("h1").inner_text() in moved
            visit.clean()
        finally:
            running.kill()
            running.wait(20)
