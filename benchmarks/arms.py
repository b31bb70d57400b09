"""Ways to run the loop, held against each other: runs of each on several seeds, and the tables of what came of them."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from quintet.evaluation.statistics import mcnemar_exact, tango
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Evaluation

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Arm:
    """A way to run the loop."""

    name: str
    what: str
    """For the table."""
    changes: tuple[str, ...] = ()
    """As `--set` takes them."""


@dataclass(frozen=True)
class Ran:
    """A finished run of an arm."""

    arm: Arm
    seed: int
    show: Any
    """As `quintet show --json` prints it."""
    learnt: Any
    """The last candidate against the base on the final suite, as `quintet eval --json` compares them."""
    right: dict[str, bool]
    """By item of the final suite, whether the last candidate answers it right."""

    @property
    def effect(self) -> float:
        """Gain of the last candidate over the base, promoted or not, in points."""
        return 100 * float(self.learnt["effect"])

    @property
    def kept(self) -> float:
        """Gain of what the gate let through over the base, in points."""
        return 100 * float(self.show["final"]["effect"])


def quintet(*arguments: str) -> Any:
    """What a command prints with `--json`; its progress goes to standard error."""
    command = [sys.executable, "-m", "quintet.cli", *arguments, "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout)


def ran(arm: Arm, seed: int, config: Path, workspace: Path, name: str, changes: Sequence[str] = ()) -> Ran:
    """The run of an arm with a seed: an earlier one, one that is taken up again, or a new one.

    Args:
        arm: Which.
        seed: Of the run.
        config: What all arms have in common.
        workspace: Where the runs lie.
        name: The run's, without the number that it gets.
        changes: Besides the arm's own.

    Raises:
        LookupError: The run trained nothing.
    """
    known = [one for one in quintet("runs", "--workspace", str(workspace)) if one["run"].startswith(f"{name}-")]
    if not known:
        changes = [f"name={name}", f"seed={seed}", *arm.changes, *changes]
        options = [part for change in changes for part in ("--set", change)]
        quintet("run", str(config), "--workspace", str(workspace), *options)
    elif known[0]["status"] != "finished":
        quintet("resume", known[0]["run"], "--workspace", str(workspace))
    run = f"{name}-1"
    show = quintet("show", run, "--workspace", str(workspace))
    trained = [found["adapter"] for found in show["rounds"] if found["adapter"]]
    if not trained:
        raise LookupError(f"run {run} trained nothing: its rows are too few for arms to be held against each other")
    last = trained[-1]
    ways = ("--adapter", BASE, "--adapter", last)
    found = quintet("eval", "--suite", "final", *ways, "--run", run, "--workspace", str(workspace))
    with Workspace.existing(workspace).ledger() as ledgers:
        evaluations = ledgers.run(run).find(Evaluation)
    answers = next(one.answers for one in evaluations if (one.suite, one.adapter) == ("final", last))
    return Ran(arm, seed, show, found["comparisons"][last], {one.task: one.correct for one in answers})


def all_ran(arms: Sequence[Arm], seeds: Sequence[int], config: Path, workspace: Path) -> dict[str, list[Ran]]:
    """Runs of all arms by name, seed by seed, so that what is there when time runs out is comparable."""
    found: dict[str, list[Ran]] = {arm.name: [] for arm in arms}
    for seed in seeds:
        for arm in arms:
            # A run's name has no underscore, a metric's may.
            one = ran(arm, seed, config, workspace, f"{arm.name.replace('_', '-')}-short-s{seed}")
            found[arm.name].append(one)
            print(f"{arm.name}, seed {seed}: {one.effect:+.1f}", file=sys.stderr, flush=True)
    return found


def interval(values: Sequence[float]) -> str:
    """Mean and its 95 % t interval over seeds, in points."""
    from scipy.stats import t

    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:+.1f}"
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / sqrt(len(values))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def paired(runs: Sequence[Ran], others: Sequence[Ran]) -> str:
    """An arm against another on the same items of the same seeds, pooled; it knows nothing of further runs."""
    pairs = [
        (ours, theirs.right[item])
        for one, theirs in zip(runs, others, strict=True)
        for item, ours in one.right.items()
        if item in theirs.right
    ]
    won, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    low, high = tango(won, lost, len(pairs))
    effect = 100 * (won - lost) / len(pairs)
    return f"{effect:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], p = {mcnemar_exact(won, lost):.2g}"


def table(found: dict[str, list[Ran]], seeds: Sequence[int]) -> Iterator[str]:
    """The arms against the first of them, as Markdown."""
    first = next(iter(found))
    base = found[first]
    yield (
        f"Gains of the last candidate over the base in points on the final suite of {len(base[0].right)} items; "
        f"seeds {', '.join(map(str, seeds))}.\nKept: the same of what the gate let through.\n"
    )
    yield (
        f"| arm | gain by seed | mean gain, 95 % over seeds | minus {first}, 95 % over seeds "
        f"| minus {first}, paired by item | kept by seed | revisions right | rows | promoted | tokens | minutes |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for runs in found.values():
        shows = [one.show for one in runs]
        mean = len(runs)
        cells = [
            f"**{runs[0].arm.name}**: {runs[0].arm.what}",
            ", ".join(f"{one.effect:+.1f}" for one in runs),
            interval([one.effect for one in runs]),
            "" if runs is base else interval([a.effect - b.effect for a, b in zip(runs, base, strict=True)]),
            "" if runs is base else paired(runs, base),
            ", ".join(f"{one.kept:+.1f}" for one in runs),
            _rescued([found["counts"] for show in shows for found in show["rounds"]]),
            f"{sum(r['rows'] for show in shows for r in show['rounds']) / mean:.0f}",
            f"{sum(r['decision'] == 'promoted' for show in shows for r in show['rounds']) / mean:.1f}",
            f"{sum(show['budget']['tokens'] for show in shows) / mean / 1000:.0f} k",
            f"{sum(show['budget']['seconds'] for show in shows) / mean / 60:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _rescued(rounds: Sequence[Any]) -> str:
    """Revisions that came out right, of all there were."""
    right, of = sum(one["rescued"] for one in rounds), sum(one["revised"] for one in rounds)
    return f"{right} of {of}, {100 * right / of:.1f} %" if of else ""


def write(page: Path, mark: str, lines: Iterator[str], by: str) -> None:
    """Put lines between the page's two markers, in place of what stands there.

    Args:
        page: Markdown that holds `<!-- MARK: written by benchmarks/BY.py -->` and `<!-- end of MARK -->`.
        mark: Names the markers.
        lines: What to write.
        by: The script.

    Raises:
        SystemExit: The page has no such markers.
    """
    begin, end = f"<!-- {mark}: written by benchmarks/{by}.py -->", f"<!-- end of {mark} -->"
    text = page.read_text(encoding="utf-8")
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not place.search(text):
        raise SystemExit(f"{page} has no place between {begin} and {end}")
    said = "\n".join(lines).strip()
    aside = page.with_suffix(".new")
    aside.write_text(place.sub(lambda _: f"{begin}\n\n{said}\n\n{end}", text), encoding="utf-8")
    aside.rename(page)


def arguments(about: str | None, workspace: str, arms: Sequence[Arm]) -> argparse.ArgumentParser:
    """What scripts of arms are told: where runs lie, which seeds and which arms."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(workspace))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    names = [arm.name for arm in arms]
    parser.add_argument("--arms", nargs="+", default=names, choices=names, help="the first is always among them")
    return parser
