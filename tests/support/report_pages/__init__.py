"""Reading the page of a report."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """The headings, tables, pictures and text of a page, as a browser parses them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str]] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._into: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._into = "cell"
        elif tag == "h2":
            self.headings.append("")
            self._into = "heading"
        elif tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "h2"):
            self._into = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._into == "cell":
            self.tables[-1][-1][-1] += data
        elif self._into == "heading":
            self.headings[-1] += data

    def table(self, *head: str) -> list[list[str]]:
        """Return the rows of the table that begins with these cells."""
        return next(t[1:] for t in self.tables if tuple(t[0][: len(head)]) == head)
