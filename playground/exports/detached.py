"""Takes a page's HTML away from its server: links lead into the file or nowhere, and nothing is asked for."""

from __future__ import annotations

from collections.abc import Collection
from html import escape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})

ASKING = frozenset({"more", "raw", "tools"})
"""Classes of elements that only ask the server for something."""

WAYS = frozenset({"choice-links", "fate", "links"})
"""Classes of elements whose links say nothing but where they lead."""

KEPT = frozenset({"data-chart", "data-mark", "data-plot", "data-value"})
"""What scripts of the file look for; other `data-` attributes are for those of the server's pages."""

SECTIONS = {"": "overview", "adapters": "adapters", "conversations": "conversations", "rows": "rows"}
"""Pages of a run, and the part of the file that holds what they show."""

PARTS = frozenset({*SECTIONS.values(), "settings"})
"""Of the file."""


class Detached(HTMLParser):
    """Rewrites a page that it is given part by part."""

    def __init__(self, run: str, known: Collection[str]) -> None:
        """Nothing is rewritten yet.

        Args:
            run: The run whose pages they are.
            known: Ids of the records that the file holds.
        """
        super().__init__(convert_charrefs=False)
        self._run, self._known = run, known
        self._parts: list[str] = []
        self._seen = set[str]()
        self._open: list[tuple[str, bool]] = []
        """The elements that are open: what each is called when it ends, and whether its links are ways only."""
        self._without = 0
        """How many elements deep what is left out is; 0: nothing is."""

    def rewritten(self, part: str) -> str:
        """A part of the page as the file has it; it does not end within a tag."""
        self.feed(part)
        self.close()
        self.reset()
        found, self._parts = "".join(self._parts), []
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        given, name = dict(attrs), tag
        classes = set((given.get("class") or "").split())
        if self._without or tag == "form" or classes & ASKING:
            self._without += tag not in VOID
            return
        if tag == "a":
            href = given.pop("href", None) or ""
            place = self._place(href)
            # A way to the record leads to where one is.
            way = "id" not in classes and any(ways for _, ways in self._open)
            if way and (place is None or "/records/" in href):
                self._without = 1
                return
            # What leads nowhere still says something.
            name, given = ("span", given) if place is None else ("a", {"href": place, **given})
        self._parts.append(self._tag(name, given))
        if tag not in VOID:
            self._open.append((name, bool(classes & WAYS)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that holds nothing, such as a line of a drawing."""
        if not self._without:
            self._parts.append(self._tag(tag, dict(attrs), "/"))

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._without:
            self._without -= tag not in VOID
        else:
            self._parts.append(f"</{self._open.pop()[0]}>")

    def handle_decl(self, decl: str) -> None:
        """The document's type."""
        self._parts.append(f"<!{decl}>")

    def handle_data(self, data: str) -> None:
        """Text as it is written."""
        if not self._without:
            self._parts.append(data)

    def handle_entityref(self, name: str) -> None:
        """A character by name."""
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """A character by number."""
        self.handle_data(f"&#{name};")

    def _tag(self, tag: str, given: dict[str, str | None], end: str = "") -> str:
        if (id := given.get("id")) in self._seen:
            # A record that is shown once more: links lead to the first place.
            del given["id"]
        elif id:
            self._seen.add(id)
        kept = {name: value for name, value in given.items() if name in KEPT or not name.startswith(("hx-", "data-"))}
        shown = (f" {name}" if value is None else f' {name}="{escape(value)}"' for name, value in kept.items())
        return f"<{tag}{''.join(shown)}{end}>"

    def _place(self, href: str) -> str | None:
        """Where a link leads within the file."""
        parts = urlsplit(href)
        anchor = unquote(parts.fragment)
        if anchor in self._known or (anchor in PARTS and href.startswith("#")):
            return f"#{anchor}"
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        if path[:2] != ["runs", self._run]:
            return None
        page, *rest = [*path[2:], ""]
        if page in ("records", "tasks"):
            return f"#{rest[0]}" if rest[0] in self._known else None
        return f"#{SECTIONS[page]}" if page in SECTIONS and not anchor else None
