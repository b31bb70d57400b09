"""Whether a bandit finds the helpful source among useless ones and a harmful one, on a made-up learner, over seeds.

`python benchmarks/selector.py [--seeds 200]`

Writes the table between the markers of `docs/selector.md`; a minute or two for 200 seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from quintet.evaluation.bandits import Arm, Outcome, Pull, counted, floored, load_bandit
from quintet.records import digest

PAGE = Path(__file__).parents[1] / "docs" / "selector.md"
ROUNDS = (2, 3, 4, 6, 8, 12, 20, 30)
ITEMS = 30
"""Steer items of a family."""
TASKS = 192
"""Tasks of a round; each gives one row and takes 300 tokens, whatever its arm: yields give nothing away."""
FIRST, MOST = 0.3, 0.9
"""A family's share right before training, and where it ends."""
CHURN = 0.1
"""How far a training moves single items about, on the scale of the share right."""
LEAST, WARM_UP = 0.05, 1
"""As the settings of the proposer have it."""


@dataclass(frozen=True)
class World:
    """What each arm's rows do to their family: a whole round of them moves it by that share of the way there is."""

    name: str
    what: str
    effects: dict[str, float]

    @property
    def helpful(self) -> str:
        """The arm that helps, the first where several do."""
        return max(self.effects, key=lambda arm: self.effects[arm])


WORLDS = (
    World(
        "families",
        "six families of one source: one that learns, four that do not, one that gets worse",
        {"drawn/a": 0.0, "drawn/b": 0.0, "drawn/c": 0.3, "drawn/d": 0.0, "drawn/e": -0.3, "drawn/f": 0.0},
    ),
    World(
        "sources",
        "two families of three sources: only one source of the first helps, one of the second harms",
        {"one/a": 0.0, "three/a": 0.0, "two/a": 0.3, "one/b": 0.0, "three/b": -0.3, "two/b": 0.0},
    ),
    World(
        "faint",
        "the same six families, with a third of the effects: a steer suite of 30 items a family hardly shows them",
        {"drawn/a": 0.0, "drawn/b": 0.0, "drawn/c": 0.1, "drawn/d": 0.0, "drawn/e": -0.1, "drawn/f": 0.0},
    ),
    World(
        "alike",
        "six families of one source that all learn alike: there is nothing to find, and even shares are best",
        {f"drawn/{family}": 0.3 for family in "abcdef"},
    ),
)

Choose = Callable[[Sequence[str], Sequence[Outcome], int], dict[str, float]]


def learnt(world: World, choose: Choose, rounds: int, seed: int) -> tuple[list[float], list[float]]:
    """One made-up run: after each round the mean true share right, and in each the helpful arm's share of the tasks."""
    arms = list(world.effects)
    families = sorted({Arm.parse(arm).family for arm in arms})
    rng = np.random.default_rng([seed, 1])
    able = dict.fromkeys(families, FIRST)
    hardness = {family: rng.permutation((np.arange(ITEMS) + 0.5) / ITEMS) for family in families}

    def answered() -> dict[str, list[bool]]:
        return {f: list(able[f] + CHURN * rng.standard_normal(ITEMS) > hardness[f]) for f in families}

    history: list[Outcome] = []
    before, gains, shares = answered(), [], []
    for number in range(1, rounds + 1):
        even = number <= WARM_UP
        chosen = {arm: 1 / len(arms) for arm in arms} if even else choose(arms, history, hash_of(seed, number))
        rows = counted(floored(chosen, LEAST), TASKS)
        for arm in arms:
            family, part = Arm.parse(arm).family, world.effects[arm] * rows[arm] / TASKS
            able[family] += part * ((MOST - able[family]) if part > 0 else able[family])
        after = answered()
        for family in families:
            own = [arm for arm in arms if Arm.parse(arm).family == family]
            pulls = {arm: Pull(tokens=300 * rows[arm], rows=rows[arm], trained=rows[arm]) for arm in own}
            history.append(Outcome.measured(number, family, pulls, before[family], after[family]))
        before = after
        gains.append(float(np.mean(list(able.values()))) - FIRST)
        shares.append(rows[world.helpful] / TASKS)
    return gains, shares


def hash_of(*parts: int) -> int:
    """A seed from numbers."""
    return int(digest(parts)[:8], 16)


def chooser(name: str, world: World) -> Choose:
    """A bandit's choice; `oracle` knows the helpful arm, and is held to the same floor and warm-up."""
    if name == "oracle":
        return lambda arms, history, seed: {arm: float(arm == world.helpful) for arm in arms}
    return load_bandit(name).choose


def trials(world: World, name: str, rounds: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains and helpful shares, (seeds, rounds) each."""
    found = [learnt(world, chooser(name, world), rounds, seed) for seed in range(seeds)]
    return np.array([gains for gains, _ in found]), np.array([shares for _, shares in found])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over seeds and the half-width of its 95 % interval."""
    return float(values.mean()), 1.96 * float(values.std(ddof=1)) / sqrt(len(values))


def lines(seeds: int) -> list[str]:
    """The tables, a world each."""
    said = []
    for world in WORLDS:
        even, share = trials(world, "uniform", max(ROUNDS), seeds)
        known = len(set(world.effects.values())) > 1
        said += [f"**{world.name}**: {world.what}.", ""]
        said += ["| rounds | " + " | ".join(str(n) for n in ROUNDS) + " |", "|---" * (len(ROUNDS) + 1) + "|"]
        said.append(row("uniform: gain, points", [f"{100 * even[:, n - 1].mean():.1f}" for n in ROUNDS]))
        for name in ("thompson", "linucb", *(["oracle"] if known else [])):
            gains, share = trials(world, name, max(ROUNDS), seeds)
            more = [interval(100 * (gains - even)[:, n - 1]) for n in ROUNDS]
            said.append(row(f"{name}: more than uniform", [f"{mean:+.2f} ± {half:.2f}" for mean, half in more]))
            if not known:
                continue
            if name != "oracle":
                better = [(gains > even)[:, n - 1].mean() for n in ROUNDS]
                said.append(row(f"{name}: seeds that beat uniform, %", [f"{100 * one:.0f}" for one in better]))
            said.append(
                row(f"{name}: share of the helpful arm, %", [f"{100 * share[:, n - 1].mean():.0f}" for n in ROUNDS])
            )
        said.append("")
    return said


def row(name: str, cells: Sequence[str]) -> str:
    """One row of a table."""
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Run all trials, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    text = args.page.read_text(encoding="utf-8")
    head, begin, rest = text.partition("<!-- simulation -->\n")
    _, end, tail = rest.partition("<!-- /simulation -->")
    if not end:
        raise SystemExit(f"{args.page}: no markers <!-- simulation --> and <!-- /simulation -->")
    said = [f"{args.seeds} seeds; ± is half a 95 % interval, paired by seed.", "", *lines(args.seeds)]
    args.page.write_text(head + begin + "\n".join(said) + end + tail, encoding="utf-8")
    print("\n".join(said))


if __name__ == "__main__":
    main()
