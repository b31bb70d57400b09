"""Writes the list of all methods from the classes themselves: `python -m quintet.graph.methods`.

A method's first docstring line says what it does, its `paper` where it is from; what it was measured to do here stands
in `docs/measured.toml`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from quintet.plugins import PluginError, installed
from quintet.records import Part

MEASURED = Path(__file__).parents[1] / "docs" / "measured.toml"

HEAD = """\
# Methods

<!-- Written by `make docs` from the classes' docstrings and docs/measured.toml; edit those. -->

The processes of self-improvement, as the survey *Self-Improvement of Large Language Models* (arXiv 2603.25681) names
them, and what Quintet has for each. What a method was measured to do is said of the packaged 135M-parameter model on
two CPU cores, whichever way it came out; where nothing is said, nothing was measured. `quintet methods` prints it all.

How each works, with its settings: [sources of tasks](sources.md), [environments](environments.md) and
[the sandbox](sandbox.md), [filters of data sets](tasks.md#filters); [metrics, re-scoring and replay](selection.md),
[bandits](selector.md); [objectives](objectives.md), [self-play](self-play.md); [strategies](strategies.md),
[tools, skills, personas, test-time training](agentic.md). One of your own: [plugins.md](plugins.md).
"""


class Method(Part):
    """A way to acquire, select, refine or optimise."""

    process: str
    """Of the lifecycle."""
    method: str
    """The field's term."""
    name: str
    use: str
    """What a user writes to have it."""
    what: str
    """What it does, in a line."""
    paper: str
    """Where it is from; empty for what needs none."""
    measured: str = ""
    """What it was measured to do here, and how."""
    source: str
    """The class."""
    error: str = ""
    """Why it cannot be had; empty for what can."""


class Named(NamedTuple):
    """A method that comes by no entry point."""

    name: str
    where: str
    """The class or function: `package.module:NAME`."""
    use: str
    paper: str = ""
    """Where it is from, for a function; a class says so itself."""


class Kind(NamedTuple):
    """Methods that come by one door."""

    process: str
    method: str
    """The field's term, where the class names none of its own by `method`."""
    group: str = ""
    """An entry-point group; or else the names below."""
    use: str = ""
    """What a user writes to have one of the group, with `NAME` for its name."""
    named: tuple[Named, ...] = ()


ACQUISITION, SELECTION, OPTIMISATION, REFINEMENT = (
    "Data acquisition",
    "Data selection",
    "Model optimization",
    "Inference refinement",
)

KINDS = (
    Kind(
        ACQUISITION,
        "static curation",
        named=(
            Named("filters", "quintet.tasks.curation.curate:Curation", "`[tasks.datasets.NAME.filters]`"),
            Named("length", "quintet.tasks.curation.rules:Length", "`filters.shortest_question` and its like"),
            Named("pattern", "quintet.tasks.curation.rules:Pattern", "`filters.allowed`, `filters.forbidden`"),
            Named("prose", "quintet.tasks.curation.rules:Prose", "`filters.letters` and its like"),
            Named("contamination", "quintet.tasks.curation.contamination:Contamination", "`filters.contamination`"),
            Named("near-duplicates", "quintet.tasks.curation.duplicates:NearDuplicates", "`filters.near_duplicates`"),
            Named("quality", "quintet.graph.quality:AnswerQuality", "`filters.least_quality`"),
        ),
    ),
    Kind(ACQUISITION, "static curation", "quintet.filters", '`filters.also = ["NAME"]`'),
    Kind(
        ACQUISITION,
        "environment interaction",
        named=(
            Named(
                "python_functions",
                "quintet.tasks.environments.python:PythonFunctions",
                '`proposer.families = ["python_functions"]`',
            ),
            Named("treasure", "quintet.tasks.environments.treasure:Treasure", '`proposer.families = ["treasure"]`'),
            Named("tool use", "quintet.tasks.environments.tools:ToolUse", '`proposer.families = ["products_tools"]`'),
        ),
    ),
    Kind(ACQUISITION, "synthetic", "quintet.sources", '`proposer.sources = ["NAME"]`'),
    Kind(SELECTION, "one-shot scoring", "quintet.metrics", '`curator.metrics = ["NAME"]`'),
    Kind(
        SELECTION,
        "iterative re-scoring",
        named=(
            Named(
                "rescore",
                "quintet.agents.rescoring:rescored",
                "`curator.rescore = 100`",
                "Mindermann et al. 2022, arXiv 2206.07137",
            ),
            Named(
                "replay",
                "quintet.agents.replay:drawn",
                '`trainer.replay = "learnability"`',
                "Koh et al. 2025, arXiv 2505.16322",
            ),
        ),
    ),
    Kind(SELECTION, "adaptive selection", "quintet.bandits", '`proposer.allocate = "NAME"`'),
    Kind(OPTIMISATION, "rejection-sampling fine-tuning", "quintet.objectives", '`training.objective = "NAME"`'),
    Kind(
        OPTIMISATION,
        "self-play",
        named=(
            Named(
                "self-play",
                "quintet.agents.self_play:experiences",
                '`self_play.roles = ["solver", "proposer"]`',
                "SPIRAL, Liu et al. 2025, arXiv 2506.24119; R-Zero, Huang et al. 2025, arXiv 2508.05004",
            ),
        ),
    ),
    Kind(REFINEMENT, "decoding", "quintet.strategies", "`quintet solve --strategy NAME`"),
    Kind(REFINEMENT, "agentic", "quintet.tools", "a tool of `quintet solve --strategy tools`"),
    Kind(
        REFINEMENT,
        "agentic",
        named=(
            Named("reflector", "quintet.agents.reflector:Reflector", '`join = ["quintet.agents.reflector:Reflector"]`'),
            Named("librarian", "quintet.agents.librarian:Librarian", '`join = ["quintet.agents.librarian:Librarian"]`'),
            Named("evolve", "quintet.agents.evolver:Evolver", "`quintet evolve`"),
        ),
    ),
)


def methods() -> list[Method]:
    """All methods that are built in or installed, process by process."""
    measured = tomllib.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    found = [method for kind in KINDS for method in _of(kind, measured)]
    order = list(dict.fromkeys(kind.process for kind in KINDS))
    return sorted(found, key=lambda method: (order.index(method.process), method.method))


def page() -> str:
    """The list as Markdown: a table for each process."""
    return HEAD + "".join(_tables(methods()))


def _of(kind: Kind, measured: dict[str, dict[str, str]]) -> Iterator[Method]:
    found: list[tuple[Named, Any]] = [(one, _loaded(one.where)) for one in kind.named]
    for name, plugin in installed(kind.group) if kind.group else ():
        made = plugin if isinstance(plugin, PluginError) else plugin.found
        found.append((Named(name, "", kind.use.replace("NAME", name)), made))
    for one, made in found:
        about = {"process": kind.process, "name": one.name, "use": one.use}
        if isinstance(made, PluginError):
            # One broken package must not hide all others.
            yield Method(**about, method=kind.method, what="", paper="", source="", error=str(made))
            continue
        # An entry point may name an object, which has no name of its own.
        owner = made if hasattr(made, "__qualname__") else type(made)
        yield Method(
            **about,
            method=getattr(made, "method", "") or kind.method,
            what=" ".join((inspect.getdoc(made) or "").split("\n\n")[0].split()),
            paper=one.paper or getattr(made, "paper", ""),
            measured=measured.get(kind.group.rpartition(".")[2] or "others", {}).get(one.name, ""),
            source=f"{owner.__module__}.{owner.__qualname__}",
        )


def _loaded(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _tables(found: list[Method]) -> Iterator[str]:
    for process in dict.fromkeys(method.process for method in found):
        yield f"\n## {process}\n\n| method | name | what it does | from | how to have it | measured here |\n"
        yield "| --- | --- | --- | --- | --- | --- |\n"
        for one in found:
            if one.process == process:
                what = one.what or one.error
                cells = (one.method, f"`{one.name}`", what, one.paper, one.use, one.measured or "nothing yet")
                yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
