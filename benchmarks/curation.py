"""How long curation takes over a data set larger than anybody reads, and how much memory: seconds and peak RSS.

Run it with `python benchmarks/curation.py --rows 10000000 --folder FOLDER`; the file that it writes is kept there, and
used again. One row in a hundred is a copy, one nearly a copy, one in a thousand is no JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import time
from itertools import islice
from pathlib import Path

from quintet.tasks.curation.curate import Curation, Progress
from quintet.tasks.curation.family import CuratedFamily
from quintet.tasks.settings import DatasetSettings, FilterSettings

WORDS = ["amber", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "maple", "ocean", "pearl"]


def write(path: Path, rows: int) -> None:
    """A file of questions with their defects."""
    source = random.Random(0)
    aside = path.with_suffix(".part")
    earlier: list[tuple[str, int]] = []
    with aside.open("w") as file:
        for number in range(rows):
            kind = source.random()
            if kind < 0.001:
                file.write('{"question": "cut off\n')
                continue
            one, other = source.randrange(100_000), source.randrange(1000)
            words = " ".join(source.sample(WORDS, 3))
            question, answer = f"From {one} {words} take {other}: how many are left of row {number}?", one - other
            if earlier and kind < 0.011:
                question, answer = source.choice(earlier)
            elif earlier and kind < 0.021:
                question, answer = source.choice(earlier)
                question = question.replace("how many are left", "how many are then left")
            elif number % 1000 == 0:
                earlier = [*earlier[-999:], (question, answer)]
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")
    aside.rename(path)


def main() -> None:
    """Write the file if it is not there, curate it, draw from it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--near-duplicates", type=float, default=0.8)
    given = arguments.parse_args()
    data = given.folder / f"rows-{given.rows}.jsonl"
    if not data.exists():
        given.folder.mkdir(parents=True, exist_ok=True)
        write(data, given.rows)
    filters = FilterSettings(
        bad_rows="skip", shortest_question=10, contamination=8, near_duplicates=given.near_duplicates
    )
    settings = DatasetSettings(path=str(data), check="number", filters=filters)
    last: dict[str, Progress] = {}

    def tell(progress: Progress) -> None:
        last[progress.doing] = progress

    place = given.folder / "curated"
    shutil.rmtree(place, ignore_errors=True)
    begun = time.monotonic()
    folder, found = Curation("bench", settings, items=["How many are left of the amber cedars?"], tell=tell).into(place)
    seconds = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    family = CuratedFamily("bench", settings, folder, found)
    begun = time.monotonic()
    drawn = len(list(islice(family.draw(0, 1), 1000)))
    print(
        json.dumps(
            {
                "megabytes": round(data.stat().st_size / 2**20),
                **found.model_dump(include={"read", "kept", "rejected"}),
                "seconds": round(seconds, 1),
                "seconds_reading": round(last["reading"].seconds, 1),
                "peak_rss_mb": round(peak),
                "index_mb": round(sum(path.stat().st_size for path in folder.iterdir()) / 2**20),
                "draw_of": drawn,
                "draw_seconds": round(time.monotonic() - begun, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
