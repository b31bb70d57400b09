"""What each training objective makes of the same attempts: short runs of each on several seeds.

`python benchmarks/objectives.py [--workspace DIR] [--seeds 0 1 2] [--arms sft dpo …]`

All arms ask for as many attempts; what differs is what is learnt from them. Runs what the workspace lacks, and writes
the table between the markers of `docs/objectives.md`.
"""

from __future__ import annotations

from arms import ROOT, Arm, all_ran, arguments, table, write  # type: ignore[import-not-found]

CONFIG = ROOT / "benchmarks" / "objectives.toml"
PAGE = ROOT / "docs" / "objectives.md"


def learnt(name: str, what: str, rate: float, *further: str, objective: str = "", **options: object) -> Arm:
    """Rows learnt by an objective, at a learning rate that its papers' LoRA recipes come near to."""
    said = ", ".join(f"{key} = {value!r}" for key, value in options.items())
    changes = (
        f"training.objective={objective or name!r}",
        f"training.objective_options={{ {said} }}",
        f"training.learning_rate={rate}",
        *further,
    )
    return Arm(name, what, changes)


ONCE = ("training.epochs=1", "curator.rows_per_task=6")

ARMS = (
    learnt("sft", "right attempts alone", 5e-4),
    learnt("dpo", "right against wrong, beta 0.1", 1e-4, beta=0.1),
    learnt("dpo-nll", "the same, with half the right one's likelihood", 1e-4, objective="dpo", beta=0.1, nll=0.5),
    learnt("kto", "right and wrong without pairs", 1e-4, beta=0.1),
    learnt("grpo", "groups, with divergence", 2e-4, *ONCE, variant="grpo"),
    learnt("dr_grpo", "groups, unscaled", 2e-4, *ONCE, objective="grpo", variant="dr_grpo"),
    learnt("dapo", "groups, clipped higher", 2e-4, *ONCE, objective="grpo", variant="dapo"),
)


def main() -> None:
    """Run what is missing, and write the table."""
    args = arguments(__doc__, "runs/objectives", ARMS).parse_args()
    found = all_ran([arm for arm in ARMS if arm.name in {"sft", *args.arms}], args.seeds, CONFIG, args.workspace)
    write(PAGE, "objectives", table(found, args.seeds), "objectives")


if __name__ == "__main__":
    main()
