"""A new adapter from the base on all rows, or the incumbent continued on the new ones: four rounds of each, some seeds.

`python benchmarks/starts.py [--workspace DIR] [--seeds 0 1 2]`

The gate is lenient here, so that there is an incumbent to go on from. Runs what the workspace lacks, and writes the
table between the markers of `docs/objectives.md`.
"""

from __future__ import annotations

from arms import ROOT, Arm, all_ran, arguments, table, write  # type: ignore[import-not-found]

CONFIG = ROOT / "benchmarks" / "starts.toml"
PAGE = ROOT / "docs" / "objectives.md"

ARMS = (
    Arm("base", "a new adapter on all rows of the run", ("training.start='base'",)),
    Arm("incumbent", "the incumbent, on the rows since it was trained", ("training.start='incumbent'",)),
)


def main() -> None:
    """Run what is missing, and write the table."""
    args = arguments(__doc__, "runs/starts", ARMS).parse_args()
    found = all_ran([arm for arm in ARMS if arm.name in {"base", *args.arms}], args.seeds, CONFIG, args.workspace)
    write(PAGE, "starts", table(found, args.seeds), "starts")


if __name__ == "__main__":
    main()
