"""Writes a run as one page that needs nothing else: overview, adapters, conversations, rows, settings.

It is made of the templates of the served pages. What these ask the server for is left out, or stands in the file;
styles and scripts stand in it too, and its policy admits exactly these, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from quintet import __version__
from quintet.graph.adapters import standing
from quintet.graph.exporting import replacing
from quintet.memory.ledger import RunLedger
from quintet.memory.reading.conversation import conversation
from quintet.memory.reading.episodes import ids_about
from quintet.memory.reading.outline import Line, Place, Sought, lines, places
from quintet.memory.reading.trainset import Choice, choices, counts
from quintet.memory.reading.trainset import Sought as Wanted
from quintet.playground.exports.detached import Detached
from quintet.playground.pages import adapters, run
from quintet.playground.rendering import environment
from quintet.playground.site import Site
from quintet.playground.threads import thread
from quintet.records import Adapter, Part, Task

LONGEST = 50_000
"""Characters of a text; a longer one is cut, since the rest cannot be asked for."""

ROWS = 200
"""Most rows listed of a round."""

FEW = 100
"""Rows that need no folding."""

AT_ONCE = 50
"""Rows, or lines of conversations, read at once."""

STYLES = (
    ("quintet.css", ""),
    ("vendor/uPlot-1.6.32.min.css", ""),
    ("run.css", "#overview, #adapters, #settings"),
    ("graph.css", "#adapters"),
    ("conversations.css", "#conversations"),
    ("records.css", "#rows"),
    ("export.css", ""),
)
"""Files, and what part of the page each is for: the pages that they were written for never meet."""

SCRIPTS = ("vendor/uPlot-1.6.32.iife.min.js", "charts.js", "export.js")


class Shown(Part):
    """The conversations of a page."""

    lines: tuple[Line, ...]
    """In the order in which they were asked."""
    of: int
    """How many there are in all."""


def export_page(
    workspace: Path, name: str | None, out: Path, most: int, tell: Callable[[int, int], None] | None = None
) -> int:
    """Write a run as one page.

    Args:
        workspace: Where it lies.
        name: The run's; the newest if `None`.
        out: A file, replaced if it is there; `-` is standard output.
        most: Conversations in it, at most: those that gave rows or were revised first, of all rounds alike.
        tell: Is told how many conversations are written, and of how many.

    Returns:
        How many conversations are in it.

    Raises:
        LedgerError: There is no such run.
        LoopError: The file cannot be written.
    """
    site = Site(workspace)
    try:
        ledger = site.ledger().run(name)
        shown = chosen(ledger, most)
        with replacing(out) as file:
            for part in _parts(site, ledger, shown, tell or (lambda done, of: None)):
                file.write(part.encode())
    finally:
        site.close()
    return len(shown.lines)


def chosen(ledger: RunLedger, most: int) -> Shown:
    """The conversations to show: those that gave rows or were revised first, of all rounds alike."""
    asked = places(ledger, Sought())
    telling = {*places(ledger, Sought(came="row")), *places(ledger, Sought(came="revised"))}
    # A task that was asked in several rounds has one conversation.
    first: dict[str, Place] = {}
    for place in sorted(asked, key=lambda place: place not in telling):
        first.setdefault(place.task, place)
    found = list(first.values())
    order = [*_alike([one for one in found if one in telling]), *_alike([one for one in found if one not in telling])]
    place_of = {place: number for number, place in enumerate(asked)}
    kept = sorted(order[:most], key=place_of.__getitem__)
    read = (lines(ledger, kept[at : at + AT_ONCE]) for at in range(0, len(kept), AT_ONCE))
    return Shown(lines=tuple(chain.from_iterable(read)), of=len(found))


def _alike(found: Sequence[Place]) -> Iterator[Place]:
    """One of each round in turn."""
    by_round: dict[int | None, list[Place]] = {}
    for place in found:
        by_round.setdefault(place.round, []).append(place)
    return (place for together in zip_longest(*by_round.values()) for place in together if place is not None)


def _parts(site: Site, ledger: RunLedger, shown: Shown, tell: Callable[[int, int], None]) -> Iterator[str]:
    """The page, in the order in which it is written."""
    about, made, now = site.of_run(ledger), ledger.find(Adapter), standing(ledger)
    known = {*ids_about(ledger, [line.task for line in shown.lines]), *(adapter.id for adapter in made)}
    detached, templates = Detached(ledger.run, known), _templates()
    style, scripts = _style(), [_read(name) for name in SCRIPTS]

    def part(template: str, **context: Any) -> str:
        return detached.rewritten(templates.get_template(template).render(version=__version__, **about, **context))

    yield part(
        "export_head.html",
        policy=_policy(style, scripts),
        # Of our own files, as the scripts are.
        style=Markup(style),  # noqa: S704
        shown=shown,
        **run.result_of(ledger),
        **run.now_of(ledger, about),
        **{**run.rounds_of(site, ledger, about), "next": []},
        now=now,
        tree=adapters.tree_of(made, now) if len(made) <= adapters.DRAWN else None,
        main=adapters.MAIN,
        kept=[
            kept.model_copy(update={"commands": ()}) for kept in adapters.kept_of(ledger, site.path, made[::-1], now)
        ],
        more=None,
    )
    round = None
    for number, line in enumerate(shown.lines, 1):
        task = ledger.get(line.task)
        if isinstance(task, Task):
            found = conversation(ledger, task)
            context = {"task": task, "line": line, "found": found, "thread": thread(found)}
            yield part("export_conversation.html", begins=line.round != round, **context)
            round = line.round
        tell(number, len(shown.lines))
    counted = counts(ledger)
    yield part(
        "export_foot.html",
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        counts=counted,
        rows={number: _rows(ledger, number) for number in counted.rounds},
        few=counted.rows <= FEW,
        following="",
        run=ledger.run,
        settings=run.settings_of(about["info"].settings),
    )


def _rows(ledger: RunLedger, round: int) -> list[Choice]:
    found, wanted = list[Choice](), Wanted(round=round)
    while more := choices(ledger, wanted, found[-1].seq if found else 0, min(AT_ONCE, ROWS - len(found))):
        found += more
    return found


def _templates() -> Environment:
    """The pages' own, in which a text is shown as a whole."""
    found = environment().overlay()
    found.globals = {**found.globals, "CAP": LONGEST}
    return found


def _style() -> str:
    """All styles; each that is for a part of the page weighs as much as it did alone."""
    found = ((_read(name), where) for name, where in STYLES)
    return "\n".join(f":where({where}) {{\n{text}}}\n" if where else text for text, where in found)


def _read(name: str) -> str:
    return (files("quintet.playground") / "static" / name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Nothing may be asked for, and nothing else may run."""
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
