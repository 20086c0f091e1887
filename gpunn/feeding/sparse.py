"""Sparse rows of SciPy, made dense batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .arrays import read

DENSE_BYTES = 1 << 26
"""Up to so many bytes all rows are made dense at once."""


def is_sparse(x: Any) -> bool:
    """Whether ``x`` is a sparse matrix or array."""
    return hasattr(x, "toarray") and hasattr(x, "tocsr")


def is_small(x: Any) -> bool:
    """Whether sparse rows may be made dense at once."""
    return math.prod(x.shape) * np.dtype(x.dtype).itemsize <= DENSE_BYTES


class SparseBatches:
    """Batches ``(x, y, weight)`` of sparse rows, dense one at a time; a new order each pass.

    Args:
        x: (rows, columns), sparse.
        y: (rows, ...), or a list of such; or None.
        weight: (rows,), or None.
        size: rows of a batch.
        seed: of the order; None: as they stand.
        prepare: makes dense rows of sparse ones; by default it is their ``toarray()``.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        weight: Any,
        size: int,
        seed: int | None = None,
        prepare: Callable[[Any], np.ndarray] | None = None,
    ) -> None:
        if len(x.shape) != 2:
            raise ValueError(f"x is sparse, of shape {x.shape}; rows and columns are expected.")
        self._x, self._size, self._seed = x.tocsr(), size, seed
        self._several = isinstance(y, list) and all(hasattr(entry, "shape") for entry in y)
        each = y if self._several else [y]
        self._ys = [None if entry is None else read(entry, "y") for entry in each]
        self._weight = None if weight is None else read(weight, "sample_weight")
        self._prepare = prepare or (lambda rows: rows.toarray())
        self._passes = 0
        for name, array in (*(("y", y) for y in self._ys), ("sample_weight", self._weight)):
            if array is not None and array.shape[:1] != x.shape[:1]:
                raise ValueError(
                    f"{name} has shape {array.shape}, x has {x.shape[0]} rows; they must be as "
                    f"many."
                )

    def __len__(self) -> int:
        return math.ceil(self._x.shape[0] / self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        order = np.arange(self._x.shape[0])
        if self._seed is not None:
            np.random.default_rng([self._seed, self._passes]).shuffle(order)
        self._passes += 1
        for start in range(0, len(order), self._size):
            rows = order[start : start + self._size]
            ys = [None if y is None else y[rows] for y in self._ys]
            x = self._prepare(self._x[rows])
            if self._ys[0] is None:
                yield (x,)
            elif self._weight is None:
                yield x, ys if self._several else ys[0]
            else:
                yield x, ys if self._several else ys[0], self._weight[rows]
