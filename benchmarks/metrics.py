"""What ranking rows by each metric is worth: a round each, whose budget holds half of the rows that there could be.

`python benchmarks/metrics.py [--workspace DIR] [--seeds 0 1 2] [--arms random pass_rate …]`

All arms of a seed answer the same questions with the same model, so that they choose from the same attempts. Runs what
the workspace lacks, and writes the table between the markers of `docs/selection.md`.
"""

from __future__ import annotations

from arms import ROOT, Arm, all_ran, arguments, table, write  # type: ignore[import-not-found]

CONFIG = ROOT / "benchmarks" / "metrics.toml"
PAGE = ROOT / "docs" / "selection.md"


def ranked(name: str, what: str, *further: str, largest: bool = False) -> Arm:
    """Rows ranked by one metric."""
    known = {"pass_rate", "tokens", "held_out_distance"}
    wanted = sorted({"random", *([] if name in known else [name])})
    metrics = f"curator.metrics=[{', '.join(repr(one) for one in wanted)}]"
    return Arm(name, what, (f"curator.prefer=['{'-' * largest}{name}']", metrics, *further))


ARMS = (
    ranked("random", "at random"),
    ranked("pass_rate", "the hardest tasks first, as by default"),
    ranked("learnability", "tasks of which about half is right", largest=True),
    ranked("tokens", "the shortest first"),
    ranked("confidence", "what the model was surest of", largest=True),
    ranked("perplexity", "what the model finds least likely", largest=True),
    ranked("ifd", "what the question helped least", largest=True),
    ranked("rubric", "what the critic gives the best marks", largest=True),
    ranked("diversity", "the most different questions", largest=True),
    ranked("balance", "the rarest answers", largest=True),
    ranked("held_out_distance", "what is least like the evaluation items", largest=True),
    Arm(
        "per_answer",
        "at random, no answer more than 30 % of its family's rows",
        ("curator.prefer=['random']", "curator.metrics=['random']", "curator.per_answer=0.3"),
    ),
)


def main() -> None:
    """Run what is missing, and write the table."""
    args = arguments(__doc__, "runs/metrics", ARMS).parse_args()
    found = all_ran([arm for arm in ARMS if arm.name in {"random", *args.arms}], args.seeds, CONFIG, args.workspace)
    write(PAGE, "metrics", table(found, args.seeds), "metrics")


if __name__ == "__main__":
    main()
