"""A headless Chromium before a served playground: what it asked for, what it complained about, what it shows."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from quintet.playground.serving import address, server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def chromium() -> str | None:
    """The system's browser, if there is one: Playwright's own download does not work everywhere."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@contextmanager
def served(workspace: Path, port: int = 0, **options: Any) -> Iterator[str]:
    """The address of a playground that is served while the block runs, without a slash at its end."""
    serving, listening = server(workspace, port=port, **options)
    thread = threading.Thread(target=serving.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield address(listening).rstrip("/")
    finally:
        serving.should_exit = True
        thread.join(10)
        listening.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with an empty profile."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield opened
        finally:
            opened.close()


class Visit:
    """A page in a context of its own, with all that it asked for and complained about."""

    def __init__(self, browser: Browser, base: str, *, dark: bool = False, phone: bool = False) -> None:
        """Open an empty page.

        Args:
            browser: Where.
            base: Address of the playground, to which paths are relative.
            dark: Whether the system prefers dark.
            phone: Whether the window is as small as a phone's.
        """
        self.base = base
        self.context = browser.new_context(
            base_url=base, viewport=PHONE if phone else DESKTOP, color_scheme="dark" if dark else "light"
        )
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def to(self, path: str) -> Page:
        """Go to a path and wait until it is all there."""
        self.page.goto(path, wait_until="load")
        self.page.wait_for_timeout(300)
        return self.page

    def clean(self) -> None:
        """Check that nothing was asked of another machine and that the browser had nothing to complain about."""
        assert not [url for url in self.asked if not url.startswith((self.base, "data:"))]
        assert self.complaints == []

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))
