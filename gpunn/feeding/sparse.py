"""Sparse rows of SciPy, made dense batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .arrays import read

DENSE_BYTES = 1 << 26
"""Up to this number of bytes, all rows are made dense at once."""


def is_sparse(x: Any) -> bool:
    """Whether ``x`` is a sparse matrix or array."""
    return hasattr(x, "toarray") and hasattr(x, "tocsr")


def is_small(x: Any) -> bool:
    """Whether sparse rows may be made dense at once."""
    return math.prod(x.shape) * np.dtype(x.dtype).itemsize <= DENSE_BYTES


def rows_of_a_step(x: Any, size: int, steps: int | None) -> int:
    """Return the rows per batch: ``size``, or the number that gives ``steps`` batches."""
    return size if steps is None else math.ceil(x.shape[0] / steps)


class SparseBatches:
    """Batches ``(x, y, weight)`` of sparse rows, made dense one at a time.

    Args:
        x, y, weight: (rows, columns), (rows, ...) or a list of such arrays, and (rows,); or None.
        size: Rows per batch.
        prepare: Converts sparse rows to dense ones; by default their ``toarray()``.
    """

    def __init__(
        self, x: Any, y: Any, weight: Any, size: int,
        prepare: Callable[[Any], np.ndarray] | None = None,
    ) -> None:
        if len(x.shape) != 2:
            raise ValueError(f"x is sparse, of shape {x.shape}; rows and columns are expected.")
        self._x, self._size = x.tocsr(), size
        self._several = isinstance(y, list) and all(hasattr(entry, "shape") for entry in y)
        each = y if self._several else [y]
        self._ys = [None if entry is None else read(entry, "y") for entry in each]
        self._weight = None if weight is None else read(weight, "sample_weight")
        self._prepare = prepare or (lambda rows: rows.toarray())
        for name, array in (*(("y", y) for y in self._ys), ("sample_weight", self._weight)):
            if array is not None and array.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"{name} has shape {array.shape}, but x has {x.shape[0]} rows; the numbers of "
                    f"rows must be equal."
                )

    def __len__(self) -> int:
        return math.ceil(self._x.shape[0] / self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.batches_of_pass(0, None)

    def batches_of_pass(
        self, number: int, seed: int | None, skip: int = 0
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the batches of a pass, without the first ``skip``.

        The pass number and the seed determine the order; without a seed, rows keep theirs.
        """
        order = np.arange(self._x.shape[0])
        if seed is not None:
            np.random.default_rng([seed, number]).shuffle(order)
        for start in range(skip * self._size, len(order), self._size):
            rows = order[start : start + self._size]
            ys = [None if y is None else y[rows] for y in self._ys]
            x = self._prepare(self._x[rows])
            if self._ys[0] is None:
                yield (x,)
            elif self._weight is None:
                yield x, ys if self._several else ys[0]
            else:
                yield x, ys if self._several else ys[0], self._weight[rows]
