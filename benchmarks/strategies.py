"""What each refinement strategy is worth at an equal token budget: all of them on the same items of a finished run.

`python benchmarks/strategies.py --workspace DIR [--run NAME] [--items 60] [--tokens 192] [--only greedy plan …]`

Writes the table between the markers of `docs/strategies.md`. Interrupted, it is begun again: the ledger's calls answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from arms import ROOT, write  # type: ignore[import-not-found]

from quintet.agents.strategies import GROUP
from quintet.graph.adapters import registered
from quintet.graph.comparing import Against, Compared, Way, compare_on
from quintet.plugins import names
from quintet.records import BASE, GREEDY

PAGE = ROOT / "docs" / "strategies.md"


def table(found: Compared) -> Iterator[str]:
    """Lines of Markdown: a row for each way, the first being what the others are held against."""
    yield "| strategy | right, % | strictly, % | tokens an item | of prompts | against greedy, points | p (Holm) |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, way in found.ways.items():
        yield _row(way, found.comparisons.get(name))


def _row(way: Way, against: Against | None) -> str:
    score = way.score
    right = f"{_points(score.correct / score.n)} [{_points(score.low)}, {_points(score.high)}]"
    cells = [way.strategy, right, _points(score.strict / score.n), f"{way.tokens:.0f}", f"{way.prompt_tokens:.0f}"]
    if against is None:
        return f"| {' | '.join(cells)} | | |"
    interval = f"[{100 * against.low:+.1f}, {100 * against.high:+.1f}]"
    return f"| {' | '.join(cells)} | {100 * against.effect:+.1f} {interval} | {against.adjusted:.2g} |"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def section(found: Compared, adapter: str) -> Iterator[str]:
    """One adapter's table with what is to be known of it."""
    n = next(iter(found.ways.values())).score.n
    who = "The model as it is" if adapter == BASE else "The promoted adapter"
    yield f"{who}, {n} items of the {found.suite} suite of run `{found.run}`, at most {found.budget} tokens an item:"
    yield ""
    yield from table(found)
    yield ""


def main() -> None:
    """Evaluate what the ledger lacks, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="where a finished run lies")
    parser.add_argument("--run", help="which; the newest if none is named")
    parser.add_argument("--suite", default="gate", choices=["steer", "gate", "retention"])
    parser.add_argument("--round", type=int, default=1, help="whose gate")
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=192, help="that may be generated for an item")
    parser.add_argument("--only", nargs="+", default=[], help="strategies; all that are installed if none is named")
    parser.add_argument("--adapter", action="append", help="default: the base model and the promoted adapter")
    parser.add_argument("--no-page", action="store_true", help="print the tables, and leave the page as it is")
    args = parser.parse_args()
    ways = [GREEDY, *(name for name in args.only or names(GROUP) if name != GREEDY)]
    promoted = [one.id for one in registered(args.workspace, args.run) if one.incumbent]
    lines: list[str] = []
    for adapter in args.adapter or [BASE, *promoted]:
        found = compare_on(
            args.workspace,
            args.run,
            args.suite,
            [adapter],
            ways,
            round=args.round,
            tokens=args.tokens,
            items=args.items,
        )
        print(found.text(), flush=True)
        lines += section(found, adapter)
    if not args.no_page:
        write(PAGE, "measured", iter(lines), "strategies")


if __name__ == "__main__":
    main()
