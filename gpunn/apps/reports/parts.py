"""Building blocks for the sections of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gpunn.common.markup import Markup, element
from gpunn.common.names import significant
from gpunn.structure.summary import readable_bytes

__all__ = ["duration", "figure", "number", "pairs", "readable_bytes", "section", "table"]

LONG = 24  # letters of a cell that may be broken


def section(title: str, *content: Any) -> Markup:
    """Make a section of the page with its heading; empty without content."""
    return element("section", element("h2", title), *content) if any(content) else Markup("")


def table(
    head: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str | None = None,
    numbers: bool = True,
    class_: str = "wide",
) -> Markup:
    """Make a table; the first cell of each row is its heading, and numbers are right-aligned."""

    def kind(cell: Any, number: bool) -> str | None:
        # A long string breaks anywhere, but into lines of some width; a short one stays whole.
        long = isinstance(cell, str) and len(cell) > LONG and not isinstance(cell, Markup)
        return " ".join(["number"] * number + ["long"] * long) or None

    lines = []
    for first, *cells in rows:
        tags = [element("td", cell, class_=kind(cell, numbers)) for cell in cells]
        name = element("th", first, scope="row", class_=kind(first, False))
        lines.append(element("tr", name, tags))
    tags = [element("th", cell, scope="col", class_=kind(cell, numbers and i > 0))
            for i, cell in enumerate(head)]
    top = [element("thead", element("tr", tags))] if head else []
    captions = [element("caption", caption)] if caption else []
    whole = element("table", captions, top, element("tbody", lines), class_=class_)
    return element("div", whole, class_="scroll")


def pairs(found: Iterable[tuple[str, Any]]) -> Markup:
    """Make a table of names and values."""
    return table((), found, numbers=False)


def figure(picture: Markup, caption: Any = None) -> Markup:
    return element("figure", picture, [element("figcaption", caption)] if caption else [])


def number(value: float | None) -> str:
    """
    >>> number(0.123456), number(None), number(1234567.0)
    ('0.1235', '-', '1,235,000')
    """
    return "-" if value is None or math.isnan(value) else significant(value)


def duration(seconds: float) -> str:
    """
    >>> duration(0.25), duration(75), duration(7322)
    ('0.25 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
