"""What each part of the default loop is worth: short runs with and without it, on several seeds, and a long one.

`python benchmarks/ablation.py [--workspace DIR] [--seeds 0 1 2] [--arms default random …] [--rounds 8]`

Runs what the workspace lacks, takes up what was interrupted, and writes the tables between the markers of
`docs/ablation.md`. Every arm is given about the same number of tokens: what a part does not take goes into more tasks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from quintet.evaluation.statistics import mcnemar_exact, tango
from quintet.memory.workspace import Workspace
from quintet.records import Evaluation, Verification

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "benchmarks" / "ablation.toml"
PAGE = ROOT / "docs" / "ablation.md"


@dataclass(frozen=True)
class Arm:
    """A way to run the loop."""

    name: str
    what: str
    """For the table."""
    changes: tuple[str, ...] = ()
    """As `--set` takes them."""


ARMS = (
    Arm("default", "the default loop"),
    Arm("random", "rows chosen at random among the right ones", ('curator.prefer=["random"]',)),
    Arm("no-feedback", "no advice of the critic: failed attempts are revised without it", ("critic.advise=false",)),
    Arm(
        "no-memory",
        "nothing is recalled, and novelty ranks no row",
        ("memory.recall=0", 'curator.prefer=["pass_rate"]'),
    ),
    Arm(
        "no-curriculum",
        "training stays at the first levels",
        ("evaluation.curriculum.climb_at=1.0", "evaluation.curriculum.fall_at=0.0"),
    ),
    Arm(
        "no-proposals",
        "no tasks of the model's own: as many more are drawn",
        ("proposer.invented=0", "proposer.tasks=66"),
    ),
)


@dataclass(frozen=True)
class Ran:
    """A finished run of an arm."""

    arm: Arm
    seed: int
    show: Any
    """As `quintet show --json` prints it."""
    right: dict[str, bool]
    """By item of the final suite, whether what the run ended with answers it right."""

    @property
    def effect(self) -> float:
        """Gain over the base on the final suite, in points."""
        return 100 * float(self.show["final"]["effect"])


def quintet(*arguments: str) -> Any:
    """What a command prints with `--json`; its progress goes to standard error."""
    command = [sys.executable, "-m", "quintet.cli", *arguments, "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout)


def ran(arm: Arm, seed: int, workspace: Path, rounds: int | None = None) -> Ran:
    """The run of an arm with a seed: an earlier one, one that is taken up again, or a new one."""
    name = f"{arm.name}-{rounds or 'short'}-s{seed}"
    known = [one for one in quintet("runs", "--workspace", str(workspace)) if one["run"].startswith(f"{name}-")]
    if not known:
        changes = [f"name={name}", f"seed={seed}", *arm.changes, *([f"rounds={rounds}"] if rounds else [])]
        options = [part for change in changes for part in ("--set", change)]
        quintet("run", str(CONFIG), "--workspace", str(workspace), *options)
    elif known[0]["status"] != "finished":
        quintet("resume", known[0]["run"], "--workspace", str(workspace))
    run = f"{name}-1"
    with Workspace.existing(workspace).ledger() as ledgers:
        ledger = ledgers.run(run)
        verdict = ledger.find(Verification)[-1]
        settled = ledger.get(verdict.promoted or verdict.base)
    if not isinstance(settled, Evaluation):
        raise LookupError(f"run {run} holds no final evaluation")
    return Ran(
        arm,
        seed,
        quintet("show", run, "--workspace", str(workspace)),
        {answer.task: answer.correct for answer in settled.answers},
    )


def interval(values: Sequence[float]) -> str:
    """Mean and its 95 % t interval over seeds, in points."""
    from scipy.stats import t

    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:+.1f}"
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / sqrt(len(values))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def paired(runs: Sequence[Ran], defaults: Sequence[Ran]) -> str:
    """An arm against the default on the same items of the same seeds, pooled; it knows nothing of other runs."""
    pairs = [
        (ours, theirs.right[item])
        for one, theirs in zip(runs, defaults, strict=True)
        for item, ours in one.right.items()
        if item in theirs.right
    ]
    won, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    low, high = tango(won, lost, len(pairs))
    effect = 100 * (won - lost) / len(pairs)
    return f"{effect:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], p = {mcnemar_exact(won, lost):.2g}"


def table(found: dict[str, list[Ran]], seeds: Sequence[int]) -> Iterator[str]:
    """The arms against the default, as Markdown."""
    numbers = ", ".join(map(str, seeds))
    items = len(found["default"][0].right)
    yield f"Gains over the base in points on the final suite of {items} items; seeds {numbers}.\n"
    yield (
        "| arm | gain by seed | mean gain, 95 % over seeds | minus default, 95 % over seeds "
        "| minus default, paired by item | rows | promoted | tokens | minutes |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    defaults = found["default"]
    for runs in found.values():
        shows = [one.show for one in runs]
        mean = len(runs)
        cells = [
            f"**{runs[0].arm.name}**: {runs[0].arm.what}",
            ", ".join(f"{one.effect:+.1f}" for one in runs),
            interval([one.effect for one in runs]),
            "" if runs is defaults else interval([a.effect - b.effect for a, b in zip(runs, defaults, strict=True)]),
            "" if runs is defaults else paired(runs, defaults),
            f"{sum(r['rows'] for show in shows for r in show['rounds']) / mean:.0f}",
            f"{sum(r['decision'] == 'promoted' for show in shows for r in show['rounds']) / mean:.1f}",
            f"{sum(show['budget']['tokens'] for show in shows) / mean / 1000:.0f} k",
            f"{sum(show['budget']['seconds'] for show in shows) / mean / 60:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def by_round(one: Ran) -> Iterator[str]:
    """A long run, round by round, as Markdown."""
    yield "| round | levels | attempts right | rows | steer | gate: incumbent → candidate | decision |"
    yield "|---|---|---|---|---|---|---|"
    for found in one.show["rounds"]:
        gate, steer = found["gate"], found["steer"]
        levels = "/".join(str(level) for level in found["levels"].values())
        sides = f"{gate['incumbent']['correct']} → {gate['candidate']['correct']} of {gate['n']}" if gate else ""
        steered = f"{steer['correct']} of {steer['n']}" if steer else ""
        cells = [
            str(found["round"]),
            levels,
            f"{found['accepted']} of {found['attempts']}",
            str(found["rows"]),
            steered,
            sides,
            f"{found['decision']} ({100 * found['effect']:+.1f}, p = {found['p_value']:.2g})",
        ]
        yield f"| {' | '.join(cells)} |"
    final = one.show["final"]
    ended = final["promoted"] or final["base"]
    yield (
        f"\nFinal suite: {final['base']['correct']} → {ended['correct']} of {final['n']}, "
        f"{one.effect:+.1f} [{100 * final['effect_low']:+.1f}, {100 * final['effect_high']:+.1f}], "
        f"p = {final['p_value']:.2g}; {one.show['budget']['seconds'] / 60:.1f} minutes."
    )


def written(page: str, mark: str, lines: Iterator[str]) -> str:
    """The page with a table between its markers made anew."""
    begin, end = f"<!-- {mark}: written by benchmarks/ablation.py -->", f"<!-- end of {mark} -->"
    head, _, rest = page.partition(begin)
    return head + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]


def main() -> None:
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS], choices=[arm.name for arm in ARMS])
    parser.add_argument("--rounds", type=int, default=8, help="of the long run; 0 leaves it out")
    args = parser.parse_args()
    arms = [arm for arm in ARMS if arm.name in {"default", *args.arms}]
    found: dict[str, list[Ran]] = {arm.name: [] for arm in arms}
    # Seed by seed, so that what is there when time runs out is comparable.
    for seed in args.seeds:
        for arm in arms:
            found[arm.name].append(ran(arm, seed, args.workspace))
            print(f"{arm.name}, seed {seed}: {found[arm.name][-1].effect:+.1f}", file=sys.stderr, flush=True)
    page = written(PAGE.read_text(encoding="utf-8"), "arms", table(found, args.seeds))
    if args.rounds:
        page = written(page, "long run", by_round(ran(ARMS[0], args.seeds[0], args.workspace, args.rounds)))
    PAGE.with_suffix(".new").write_text(page, encoding="utf-8")
    PAGE.with_suffix(".new").rename(PAGE)


if __name__ == "__main__":
    main()
