"""Preparation of rows for a network: targets, scaling, weights, merged repetitions."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from gpunn.callbacks import History
from gpunn.common.numeric.moments import size
from gpunn.models import Model

MERGED = 2048
"""Data of at most this many rows are sorted, and their equal rows merged."""


@dataclass
class Targets:
    """The targets of a network.

    Attributes:
        values: (rows, columns): class indices, 0 and 1, or numbers.
        units: number of units of each output of the network.
        stratify: the class of each row for a stratified split, or None.
    """

    values: np.ndarray
    units: list[int]
    stratify: np.ndarray | None = None


@dataclass
class Prepared:
    """What a training reads of the rows.

    Attributes:
        columns, units: numbers of inputs, and of units of each output, of the network.
        x, y, sample_weight: as `Model.fit` takes them.
        given: further arguments of it that depend on the rows.
        seed: of the network and its training.
    """

    columns: int
    units: list[int]
    x: Any
    y: Any
    sample_weight: Any
    given: dict[str, Any]
    seed: int


@dataclass
class Pending:
    """A training that is prepared: what `Model.fit` gets, and the context it runs in."""

    model: Model
    context: Context
    x: Any
    y: Any
    sample_weight: Any
    given: dict[str, Any]

    def run(self) -> History:
        """Train the network."""
        given = {"y": self.y, "sample_weight": self.sample_weight, **self.given}
        return self.context.run(self.model.fit, self.x, **given)


@dataclass
class Scaling:
    """(values - mean) / deviation, column by column, in float64.

    Attributes:
        mean: (columns,).
        deviation: (columns,), 1 for a constant column.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: Any, weights: np.ndarray) -> Scaling:
        """Compute the scaling of data (rows, columns), dense or sparse, with weights (rows,)."""
        share = weights / weights.sum()
        # In units in which squares neither overflow nor vanish.
        if sparse.issparse(values):
            values = sparse.csr_matrix(values, dtype=np.float64)
            largest = abs(values).max(axis=0).toarray() if values.shape[0] else 0.0
            unit = size(largest, axis=0).ravel()
            values = values.multiply(1 / unit).tocsr()
            mean = np.asarray(values.T @ share, np.float64).ravel()
            squares = np.asarray(values.multiply(values).T @ share, np.float64).ravel()
            variance = np.maximum(squares - mean**2, 0.0)
            noise = 16 * np.finfo(np.float64).eps * squares
        else:
            values = np.asarray(values, np.float64)
            unit = size(values, axis=0).ravel()
            values = values / unit
            mean = share @ values
            variance = share @ (values - mean) ** 2
            noise = (16 * np.finfo(np.float64).eps * np.abs(mean)) ** 2
        varies = variance > noise
        return cls(mean * unit, np.where(varies, np.sqrt(variance) * unit, 1.0))

    @classmethod
    def none(cls, columns: int) -> Scaling:
        """Return the scaling that changes nothing."""
        return cls(np.zeros(columns), np.ones(columns))

    def __call__(self, values: Any, dtype: str) -> np.ndarray:
        """Scale values; sparse rows are made dense."""
        if sparse.issparse(values):
            values = values.toarray()
        scaled = np.subtract(values, self.mean, dtype=np.float64)
        scaled /= self.deviation
        return scaled.astype(dtype)

    def undone(self, scaled: np.ndarray) -> np.ndarray:
        return scaled * self.deviation + self.mean


def merged(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge equal rows, with the sum of their weights, in a fixed order.

    Data with a row that occurs twice thus equal data in which it has weight 2.

    >>> x, y, weights = np.array([[2.0], [1.0], [2.0]]), np.array([[1], [0], [1]]), np.ones(3)
    >>> x, y, weights = merged(x, y, weights)
    >>> x.ravel().tolist(), y.ravel().tolist(), weights.tolist()
    ([2.0, 1.0], [1, 0], [2.0, 1.0])
    """
    both = np.concatenate([x, y], axis=1, dtype=np.float64) + 0.0  # -0.0 becomes 0.0
    rows = np.ascontiguousarray(both).view(f"V{both.itemsize * both.shape[1]}")[:, 0]
    order = np.argsort(rows, kind="stable")
    new = np.ones(len(x), bool)
    new[1:] = rows[order[1:]] != rows[order[:-1]]
    first = np.flatnonzero(new)
    chosen = order[first]
    return x[chosen], y[chosen], np.add.reduceat(weights[order], first)
