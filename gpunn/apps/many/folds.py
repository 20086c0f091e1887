"""The folds of a search: rows to train on and rows to compare by."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.apps.tables.folds import Rules, numbered
from gpunn.common.arguments import check_integer
from gpunn.common.nested import is_group
from gpunn.feeding.classes import are_classes, nearest_classes

from .shared import row_numbers

Fold = tuple[np.ndarray | None, np.ndarray | None]


def folds_of(given: Any, y: Any, rows: int) -> list[Fold]:
    """Return the rows of each fold, to train on and to compare by; None for the rows of `fit`.

    Args:
        given: See `gpunn.search`.
        y: the targets, or None.
        rows: the number of rows.

    Raises:
        TypeError, ValueError: for something that gives no folds.

    >>> [held.tolist() for _, held in folds_of(2, np.array([0, 0, 1, 1]), 4)]
    [[0, 2], [1, 3]]
    """
    if given is None:
        return [(None, None)]
    if isinstance(given, (int, np.integer)) or given is True:
        count = check_integer("folds", given, 2)
        if count > rows:
            raise ValueError(
                f"folds={count} of {rows} rows leave folds without a row: use at most {rows}."
            )
        labels = _labels(y, rows)
        found, numbers = np.unique(labels, return_inverse=True)
        of = numbered(numbers.reshape(-1), len(found) if len(found) > 1 else 0, count, Rules())
        return [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(count)]
    if hasattr(given, "split") and not isinstance(given, (str, type)):
        try:
            given = [*given.split(np.zeros((rows, 1)), _one_array(y))]
        except ValueError as error:  # of one that needs groups
            error.add_note("folds may also be a list: [*folds.split(x, y, groups)].")
            raise
    try:
        pairs = [(train, held) for train, held in given]
    except (TypeError, ValueError):
        raise TypeError(
            f"folds must be None, a number, an object with split(x, y) or a list of pairs of row "
            f"numbers; got {given!r:.80}."
        ) from None
    if not pairs:
        raise ValueError("folds is empty: there is nothing to train on.")
    trained = row_numbers("folds: train", [a for a, _ in pairs], len(pairs), rows)
    held_out = row_numbers("folds: held out", [b for _, b in pairs], len(pairs), rows)
    return list(zip(trained, held_out, strict=True))


def _one_array(y: Any) -> np.ndarray | None:
    """Return targets as an array, or None if there are none or several."""
    plain = hasattr(y, "__array__") or (isinstance(y, (list, tuple)) and not is_group(y))
    return np.asarray(y) if plain else None


def _labels(y: Any, rows: int) -> np.ndarray:
    """Return the class of each row (rows,) of targets that are classes, as scikit-learn tells
    them, or the same for all."""
    array = _one_array(y)
    same = np.zeros(rows, np.int64)
    if array is None or len(array) != rows or array.dtype.kind not in "biuf":
        return same
    columns = array.reshape(rows, -1)
    return nearest_classes(columns) if are_classes(columns) else same
