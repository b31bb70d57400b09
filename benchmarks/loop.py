"""The whole loop on several seeds, each run reported: what a config gains, and how much that varies.

`python benchmarks/loop.py [--config examples/arithmetic.toml] [--seeds 0 1 2] [--workspace DIR]`

Prints a Markdown table. A seed that the workspace holds a finished run of is read, not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def quintet(*arguments: str) -> Any:
    """What a command prints with `--json`; its progress goes to standard error."""
    command = [sys.executable, "-m", "quintet.cli", *arguments, "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout)


def report(config: str, seed: int, workspace: str) -> Any:
    """The report of a finished run with this seed, an earlier one or a new one."""
    for known in quintet("runs", "--workspace", workspace):
        if known["status"] == "finished":
            found = quintet("show", known["run"], "--workspace", workspace)
            if found["seed"] == seed:
                return found
    return quintet("run", config, "--seed", str(seed), "--workspace", workspace)


def row(found: Any) -> str:
    """One run as a row of the table."""
    final, n = found["final"], found["final"]["n"]
    base, promoted = final["base"], final["promoted"] or final["base"]
    rounds = " ".join(str(r["round"]) for r in found["rounds"] if r["decision"] == "promoted") or "none"
    cells = [
        str(found["seed"]),
        rounds,
        f"{100 * base['correct'] / n:.1f} ({100 * base['strict'] / n:.1f})",
        f"{100 * promoted['correct'] / n:.1f} ({100 * promoted['strict'] / n:.1f})",
        f"{100 * final['effect']:+.1f} [{100 * final['effect_low']:.1f}, {100 * final['effect_high']:.1f}]",
        f"{final['p_value']:.1g}",
        f"{found['budget']['seconds'] / 60:.1f}",
        f"{found['budget']['peak_rss_mb'] / 1024:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=str(Path(__file__).parents[1] / "examples" / "arithmetic.toml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workspace", default="")
    args = parser.parse_args()
    workspace = args.workspace or tempfile.mkdtemp(prefix="quintet-loop-")
    found = [report(args.config, seed, workspace) for seed in args.seeds]
    n = found[0]["final"]["n"]
    print(f"`{Path(args.config).name}`, final suite of {n} items, % right by the lenient (strict) extractor\n")
    print("| seed | promoted in round | base | promoted | effect, 95 % interval | p | minutes | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(row(one) for one in found))


if __name__ == "__main__":
    main()
