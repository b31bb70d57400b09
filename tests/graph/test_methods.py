"""The list of methods is the one that the code would write, explains each, and claims no measurement of what is not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from installing import install

from quintet.cli import main
from quintet.graph.methods import KINDS, MEASURED, methods, page

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_method_says_what_it_does_and_papers_have_their_number() -> None:
    found = methods()
    assert {method.process for method in found} == {kind.process for kind in KINDS}
    for method in found:
        assert 20 < len(method.what) < 400, f"{method.source}: the first lines of its docstring are its description"
        assert not method.paper or re.search(r"arXiv \d{4}\.\d{4,5}|\(\d{4}\)", method.paper), method.source


def test_what_is_measured_exists() -> None:
    names = {method.name for method in methods()}
    measured = tomllib.loads(MEASURED.read_text())
    assert measured
    for group, entries in measured.items():
        for name, said in entries.items():
            assert name in names, f"docs/measured.toml: {group}.{name} is no method"
            assert re.search(r"\d", said), f"docs/measured.toml: {group}.{name} holds no figure"


def test_what_does_not_load_is_listed_with_its_error_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {method.name for method in methods()}
    install(tmp_path, "[quintet.metrics]", "broken = nowhere_at_all:Broken")
    monkeypatch.syspath_prepend(tmp_path)
    found = {method.name: method for method in methods()}
    assert set(found) == before | {"broken"}
    said = "entry point broken = nowhere_at_all:Broken (quintet.metrics) does not load: ModuleNotFoundError"
    assert found["broken"].error.startswith(said)
    assert said in page()
    shown = CliRunner().invoke(main, ["methods"])
    assert shown.exit_code == 0, shown.output
    assert "nowhere_at_all:Broken" in shown.output
