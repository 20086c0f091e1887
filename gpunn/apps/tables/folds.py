"""Divide rows for a fair comparison: held-out rows, folds, and rows that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gpunn.apps.splitting import check_rows

HELD_OUT = 5  # one in so many rows is for the verdict
REPEATED = 3  # average number of equal rows beyond which equality says nothing
_MIX = np.uint64(0x9E3779B97F4A7C15)


def equal_rows(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return a group number for each row, the same for equal rows.

    In a table with few different rows, equal rows are not copies of each other: then each row is a
    group of its own.

    >>> equal_rows([np.array([1.0, 2.0, 1.0]), np.array(["a", "b", "a"])]).tolist()
    [0, 1, 0]
    """
    rows = len(columns[0])
    mixed = np.zeros(rows, np.uint64)
    for column in columns:
        if column.dtype == object:  # strings, of which None are missing
            cells = ["" if cell is None else cell for cell in column.tolist()]
            rank = {cell: i for i, cell in enumerate(sorted({*cells}))}
            codes = np.array([rank[cell] for cell in cells], np.uint64)
        else:
            codes = np.unique(column, return_inverse=True)[1].reshape(-1).astype(np.uint64)
        mixed = (mixed ^ (codes + np.uint64(1))) * _MIX
        mixed ^= mixed >> np.uint64(29)
    groups: np.ndarray = np.unique(mixed, return_inverse=True)[1]
    return groups if rows < REPEATED * (int(groups.max()) + 1) else np.arange(rows)


@dataclass
class Rules:
    """How rows may be divided.

    Attributes:
        by_order: whether rows are in an order of time: later ones are held out.
        latest_first: whether that order begins with the latest row.
        groups: (rows,), a number for each row; rows of equal number stay together. None: all may
            be separated.
        seed: seed of the draw.
    """

    by_order: bool = False
    groups: np.ndarray | None = None
    seed: int = 0
    latest_first: bool = False

    def of(self, rows: np.ndarray) -> Rules:
        """Return the rules for some of the rows, whose indices ascend."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, groups=groups)

    def between(self, start: int, stop: int, rows: int) -> np.ndarray:
        """Return which of some rows are from ``start`` to ``stop`` in the order of time.

        >>> Rules(True).between(0, 3, 5), Rules(True, latest_first=True).between(0, 3, 5)
        (array([0, 1, 2]), array([2, 3, 4]))
        """
        if self.latest_first:
            start, stop = rows - stop, rows - start
        return np.arange(start, stop)


def numbered(y: np.ndarray, classes: int, folds: int, rules: Rules) -> np.ndarray:
    """Return the number of a fold for each row, with the same share of each class in all.

    A group goes to the fold of its first row.

    >>> of = numbered(np.arange(20) % 2, 2, 5, Rules())
    >>> np.bincount(of).tolist(), np.bincount(of[::2]).tolist()
    ([4, 4, 4, 4, 4], [2, 2, 2, 2, 2])
    """
    random = np.random.default_rng(rules.seed)
    groups = np.arange(len(y)) if rules.groups is None else rules.groups
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    found = np.empty(len(first), np.int64)
    start = 0
    for label in range(max(classes, 1)):
        own = np.flatnonzero(y[first] == label) if classes else np.arange(len(first))
        found[random.permutation(own)] = (start + np.arange(len(own))) % folds
        start += len(own)
    return found[member.reshape(-1)]


def held_out(y: np.ndarray, classes: int, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the rows to learn from, and of one in five rows to judge by.

    Each class that has two groups is in both.

    Raises:
        ValueError: if there are fewer than 10 rows, or fewer than 2 groups.
    """
    check_rows(len(y))
    if rules.by_order:
        last = len(y) - max(1, round(len(y) / HELD_OUT))
        return rules.between(0, last, len(y)), rules.between(last, len(y), len(y))
    of = numbered(y, classes, HELD_OUT, rules)
    counts = np.bincount(of, minlength=HELD_OUT)
    fold = int(np.argmin(np.abs(counts - len(y) / HELD_OUT)))  # groups differ in size
    test = of == fold
    if test.all() or not test.any():
        raise ValueError("All rows are of one group: none can be held out to test the model.")
    for label in range(classes):
        own = np.flatnonzero(y == label)
        if not len(own):
            continue
        together = own[:1]
        if rules.groups is not None:
            together = np.flatnonzero(rules.groups == rules.groups[own[0]])
        if test[own].all():  # to learn from a class matters more than to test it
            test[together] = False
        elif not test[own].any() and len(np.setdiff1d(own, together)):
            test[together] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def folds(y: np.ndarray, classes: int, rules: Rules) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of row indices, to train on and to check by, for cross-validation.

    Up to 2,000 rows there are five, up to 10,000 three, and beyond it one. Up to 1,000 rows they
    are drawn twice, up to 500 three times. In an order of time each is trained on the rows before
    those that it is checked by.
    """
    rows = len(y)
    count = 5 if rows <= 2_000 else 3 if rows <= 10_000 else 1
    if rules.by_order:
        ends = np.linspace(rows / 2 if count > 1 else rows * 0.8, rows, count + 1).astype(int)
        ends = np.unique(ends)  # few rows have fewer folds
        return [(rules.between(0, a, rows), rules.between(a, b, rows)) for a, b in pairwise(ends)]
    found = []
    for repeat in range(3 if rows <= 500 else 2 if rows <= 1_000 else 1):
        drawn = replace(rules, seed=rules.seed + repeat)
        of = numbered(y, classes, max(count, HELD_OUT), drawn)
        found += [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(count)]
    return [(train, check) for train, check in found if len(train) and len(check)]
