"""Spellings of one category, such as ``Yes`` and ``yes``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gpunn.layers.preprocessing.lookups import folded


def merged(counts: Counter[str]) -> tuple[Counter[str], dict[str, str]]:
    """Merge strings that differ in case or in blanks alone, as a model does.

    Returns:
        How often each occurs in any spelling, under the most frequent one; and for each other
        spelling this one.

    >>> merged(Counter(["Plus", "PLUS", "PLUS", "minus"]))
    (Counter({'PLUS': 3, 'minus': 1}), {'Plus': 'PLUS'})
    """
    keys = [*map(folded, counts)]
    if len({*keys}) == len(keys):
        return counts, {}  # as in most columns
    groups: dict[str, list[str]] = {}
    for key, cell in zip(keys, counts, strict=True):
        groups.setdefault(key, []).append(cell)
    found, otherwise = Counter[str](), dict[str, str]()
    for cells in groups.values():
        shown = max(cells, key=counts.__getitem__)
        found[shown] = sum(counts[cell] for cell in cells)
        otherwise |= {cell: shown for cell in cells if cell != shown}
    return found, otherwise


def spelled_otherwise(cells: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """Return the category that is meant by each of the cells that are one in another spelling.

    >>> spelled_otherwise(["yes", "YES", "no"], ["yes", "maybe"])
    {'YES': 'yes'}
    """
    known = {folded(category): category for category in categories}
    meant = ((cell, known.get(folded(cell), cell)) for cell in cells)
    return {cell: category for cell, category in meant if category != cell}
