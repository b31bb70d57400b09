"""What each part of the default loop is worth: short runs with and without it, on several seeds, and a long one.

`python benchmarks/ablation.py [--workspace DIR] [--seeds 0 1 2] [--arms default random …] [--rounds 8]`

Runs what the workspace lacks, takes up what was interrupted, and writes the tables between the markers of
`docs/ablation.md`. Every arm is given about the same number of tokens: what a part does not take goes into more tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

from arms import ROOT, Arm, Ran, all_ran, arguments, ran, table, write  # type: ignore[import-not-found]

CONFIG = ROOT / "benchmarks" / "ablation.toml"
PAGE = ROOT / "docs" / "ablation.md"

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
        f"{one.kept:+.1f} [{100 * final['effect_low']:+.1f}, {100 * final['effect_high']:+.1f}], "
        f"p = {final['p_value']:.2g}; {one.show['budget']['seconds'] / 60:.1f} minutes."
    )


def main() -> None:
    """Run what is missing, and write the tables."""
    parser = arguments(__doc__, "runs/ablation", ARMS)
    parser.add_argument("--rounds", type=int, default=8, help="of the long run; 0 leaves it out")
    args = parser.parse_args()
    found = all_ran([arm for arm in ARMS if arm.name in {"default", *args.arms}], args.seeds, CONFIG, args.workspace)
    write(PAGE, "arms", table(found, args.seeds), "ablation")
    if args.rounds:
        # The pool holds eight gates of this size, and three of twice the size.
        changes = [f"rounds={args.rounds}", "evaluation.gate_items=120"]
        name = f"default-{args.rounds}-s{args.seeds[0]}"
        long = ran(ARMS[0], args.seeds[0], CONFIG, args.workspace, name, changes)
        write(PAGE, "long run", by_round(long), "ablation")


if __name__ == "__main__":
    main()
