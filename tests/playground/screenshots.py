"""Takes the pictures under `docs/playground/`: every page of a run, light and dark, at a desk and on a phone.

Run it:  python tests/playground/screenshots.py WORKSPACE FOLDER [RUN [PAGE=NAME ...]]

With pages, these alone, each under another name: `adaptive-1 run=shares` is the overview of that run as `shares`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from browsing import Visit, browser, served
from PIL import Image
from test_browser import pages_of

from quintet.memory.workspace import Workspace

TALLEST = 2200
"""Pixels; what lies below is more of the same."""


def main(workspace: Path, folder: Path, run: str | None = None, *named: str) -> None:
    """Take them all, or those named."""
    folder.mkdir(parents=True, exist_ok=True)
    with Workspace.existing(workspace).ledger() as ledgers:
        paths = pages_of(ledgers.run(run))
    if named:
        paths = {name: paths[page] for page, name in (one.split("=") for one in named)}
    with served(workspace) as base, browser() as window:
        for dark in (False, True):
            for phone in (False, True):
                visit = Visit(window, base, dark=dark, phone=phone)
                for name, path in paths.items():
                    page = visit.to(path)
                    page.wait_for_timeout(500)
                    size = page.viewport_size
                    tall = min(TALLEST, int(page.evaluate("document.documentElement.scrollHeight")))
                    picture = page.screenshot(
                        full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": tall}
                    )
                    theme, place = "dark" if dark else "light", "phone" if phone else "desktop"
                    _keep(picture, folder / f"{name}-{theme}-{place}.png")
                visit.clean()
                visit.context.close()


def _keep(picture: bytes, file: Path) -> None:
    """Write it with 256 colours, which takes a third of the space; by octree, which keeps colours of few pixels."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    whole.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
