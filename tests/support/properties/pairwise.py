"""Pairwise combinations of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any


def pairwise(options: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return a few rows, each with one value for every option, such that any two values of
    different options occur together at least once.

    The algorithm is greedy and deterministic: a row begins with a missing pair, and gets for each
    other option the value that adds the most missing pairs.

    >>> rows = pairwise({"a": [1, 2], "b": [1, 2], "c": [1, 2]})
    >>> len(rows), rows[0]
    (4, {'a': 1, 'b': 1, 'c': 1})
    """
    places = [(name, k) for name, values in options.items() for k in range(len(values))]
    missing = dict.fromkeys(pair for pair in combinations(places, 2) if pair[0][0] != pair[1][0])
    rows = []
    while missing:
        row = dict(next(iter(missing)))
        for name, values in options.items():
            if name not in row:
                row[name] = max(range(len(values)), key=lambda k: len(_met(row, name, k, missing)))
        for name, k in list(row.items()):
            for pair in _met(row, name, k, missing):
                del missing[pair]
        rows.append({name: values[row[name]] for name, values in options.items()})
    return rows


def _met(row: dict[str, int], name: str, k: int, missing: Any) -> list[Any]:
    """Return the missing pairs that value k of this option forms with the values in the row."""
    own, others = (name, k), [item for item in row.items() if item[0] != name]
    pairs = [pair for other in others for pair in ((own, other), (other, own))]
    return [pair for pair in pairs if pair in missing]
