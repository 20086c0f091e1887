"""How often predictions are right."""

from __future__ import annotations

from typing import Any

from ..backends.base import Array, Backend
from .base import MeanOfRows


class Accuracy(MeanOfRows):
    """The share of predictions that equal their targets exactly.

    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    elementwise = True

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        backend.xp.mean(y_true == y_pred, axis=-1, dtype=values.dtype, out=values)


class BinaryAccuracy(MeanOfRows):
    """The share of targets (0 or 1) that ``y_pred > threshold`` meets.

    >>> BinaryAccuracy()([1, 1, 0, 0], [0.98, 1, 0, 0.6])
    0.75
    """

    functor = "BinaryAccuracy"
    elementwise = True

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        return (self.threshold,)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        hits = (y_pred > self.threshold) == y_true
        backend.xp.mean(hits, axis=-1, dtype=values.dtype, out=values)


class CategoricalAccuracy(MeanOfRows):
    """The share of rows whose largest prediction is at the largest target.

    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    functor = "CategoricalAccuracy"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        xp = backend.xp
        xp.copyto(values, xp.argmax(y_true, axis=-1) == xp.argmax(y_pred, axis=-1))


class SparseCategoricalAccuracy(MeanOfRows):
    """The share of rows whose largest prediction is at the class number in y_true.

    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    0.5
    """

    functor = "SparseCategoricalAccuracy"
    sparse = True

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        xp = backend.xp
        xp.copyto(values, xp.argmax(y_pred, axis=-1) == y_true)


class _TopK(MeanOfRows):
    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a positive integer; got {k!r}.")
        super().__init__(name, dtype)
        self.k = k

    def count(self, backend: Backend, labels: Array, y_pred: Array, values: Array) -> None:
        """A hit: fewer than k predictions are larger than the one at the label."""
        xp = backend.xp
        at_label = y_pred[xp.arange(len(y_pred)), labels]
        larger = xp.sum(y_pred > at_label[:, None], axis=-1)
        xp.copyto(values, larger < self.k)


class TopKCategoricalAccuracy(_TopK):
    """The share of rows whose largest target is among the k largest predictions.

    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.8, 0, 0.1]])
    0.5
    """

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(k, name, dtype)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.count(backend, backend.xp.argmax(y_true, axis=-1), y_pred, values)


class SparseTopKCategoricalAccuracy(_TopK):
    """The share of rows whose class number is among the k largest predictions.

    >>> SparseTopKCategoricalAccuracy(k=2)([2, 1], [[0.1, 0.9, 0.8], [0.8, 0, 0.1]])
    0.5
    """

    sparse = True

    def __init__(
        self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(k, name, dtype)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.count(backend, y_true, y_pred, values)
