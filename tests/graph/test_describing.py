"""The settings' reference is the one that the code would write, and leaves no setting unexplained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from quintet.graph.describing import page
from quintet.graph.settings import Settings, section

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def settings(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its description."""
    for name, field in model.model_fields.items():
        inner, _ = section(field.annotation)
        if inner is None:
            yield f"{above}{name}", field.description or ""
        else:
            yield from settings(inner, f"{above}{name}.")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_setting_is_described() -> None:
    described = dict(settings(Settings))
    assert len(described) > 100
    assert [name for name, words in described.items() if len(words) < 15] == []
    text = page()
    for name in described:
        assert f"| `{name.rpartition('.')[2]}` |" in text
