"""The terminal's part in a conversation: it listens, and shows replies while they come, two of them side by side."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.live import Live
from rich.table import Table


class Talk:
    """A conversation with one or more adapters.

    Args:
        adapters: Who replies.
        quiet: Whether to show nothing, since the replies go elsewhere.
    """

    def __init__(self, adapters: Sequence[str], quiet: bool = False) -> None:
        self._adapters, self._quiet = list(adapters), quiet
        self._console = Console()
        self._texts: dict[str, str] = {}
        self._live: Live | None = None
        self._written = 0

    def greet(self, run: str) -> None:
        """Say on a terminal who listens, and how to end it."""
        if sys.stdin.isatty() and not self._quiet:
            sys.stderr.write(f"{run}: {', '.join(self._adapters)} (an empty line or Ctrl-D ends it)\n")

    async def listen(self) -> str:
        """The user's next line; empty at the end."""
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()

        def give(text: str) -> None:
            if not line.done():
                line.set_result(text.strip())

        def read() -> None:
            try:
                text = input("> ") if sys.stdin.isatty() else sys.stdin.readline()
            except EOFError:
                text = ""
            # Whoever stopped the conversation waits for no line any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(give, text)

        # A thread that nobody joins: one that waits for a line cannot be stopped, and Ctrl-C must not wait for it.
        threading.Thread(target=read, daemon=True).start()
        return await line

    def hears(self, adapter: str) -> Callable[[str], None]:
        """What takes an adapter's reply so far."""

        def heard(text: str) -> None:
            self._texts[adapter] = text
            self._show()

        return heard

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """While replies come."""
        self._texts, self._written = dict.fromkeys(self._adapters, ""), 0
        several = len(self._adapters) > 1
        if several and not self._quiet and self._console.is_terminal:
            with Live(self._columns(), console=self._console, refresh_per_second=12) as self._live:
                yield
            self._live = None
            return
        yield
        if self._quiet:
            return
        if several:
            self._console.print(self._columns())
        else:
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self._columns())
        elif not self._quiet and len(self._adapters) == 1:
            # The text grows at its end, but for a character that was half there.
            text = self._texts[self._adapters[0]].rstrip("\ufffd")
            sys.stdout.write(text[self._written :])
            sys.stdout.flush()
            self._written = max(self._written, len(text))

    def _columns(self) -> Table:
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
        for adapter in self._adapters:
            table.add_column(adapter, overflow="fold", ratio=1)
        table.add_row(*(self._texts.get(adapter, "") for adapter in self._adapters))
        return table
