"""How often predictions are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_positive_integer
from gpunn.common.fields import field
from gpunn.losses.rows import row_argmax, row_starts

from .means import MeanOfRows


class Accuracy(MeanOfRows):
    """The share of predictions that equal their targets exactly, element by element.

    ``y_true`` and ``y_pred`` have the same shape. Both hold values of the same kind, such as class
    numbers: probabilities are not rounded. In ``compile``, ``"accuracy"`` chooses the metric that
    fits the loss, as in Keras.

    Args:
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import Accuracy
    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    functor = "Accuracy"
    elementwise = True

    name = "accuracy"

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        _share_of_equals(backend, y_true, y_pred, values)


class BinaryAccuracy(MeanOfRows):
    """The share of targets (0 or 1) that ``y_pred > threshold`` matches.

    ``y_true`` and ``y_pred`` have the same shape, and each element counts once. The definition is
    Keras's.

    Args:
        name, dtype: see `Metric`.
        threshold: predictions above it count as 1.

    >>> from gpunn.metrics import BinaryAccuracy
    >>> BinaryAccuracy()([1, 1, 0, 0], [0.98, 1, 0, 0.6])
    0.75
    """

    functor = "BinaryAccuracy"
    parameter_names = ("threshold",)
    elementwise = True
    targets = "bits"
    examples = ({}, {"threshold": 0.25, "name": "quarter"})

    name = "binary_accuracy"
    threshold: float = field(default=0.5, after="dtype")

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return "probabilities" if 0 < self.threshold < 1 else None

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        answers = backend.scratch(y_pred.shape, bool, "answers")
        backend.xp.greater(y_pred, self.threshold, out=answers)
        _share_of_equals(backend, answers, y_true, values)


class CategoricalAccuracy(MeanOfRows):
    """The share of rows whose largest prediction is at the largest target.

    ``y_true`` (one-hot rows or probabilities) and ``y_pred`` (probabilities or logits) have the
    shape (..., classes). The definition is Keras's.

    Args:
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import CategoricalAccuracy
    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    functor = "CategoricalAccuracy"
    of_largest = True

    name = "categorical_accuracy"

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        truth, answer = row_argmax(backend, y_true, "true"), row_argmax(backend, y_pred, "pred")
        backend.xp.equal(truth, answer, out=values)


class SparseCategoricalAccuracy(MeanOfRows):
    """The share of rows whose largest prediction is at the class number in y_true.

    ``y_true`` has the shape (...) and ``y_pred`` (probabilities or logits) the shape
    (..., classes). The definition is Keras's.

    Args:
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import SparseCategoricalAccuracy
    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    0.5
    """

    functor = "SparseCategoricalAccuracy"
    of_largest = True
    sparse = True

    name = "sparse_categorical_accuracy"

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        backend.xp.equal(row_argmax(backend, y_pred, "pred"), y_true, out=values)


class _TopK(MeanOfRows):
    functor = "TopK"
    parameter_names = ("k", "from_sorted_ids")
    from_sorted_ids = False

    k: int = field(default=5, check=check_positive_integer)

    def count(self, backend: Backend, labels: Array, y_pred: Array, values: Array) -> None:
        """Count a hit if fewer than k predictions are larger than the one at the label; NaN is
        larger than any number, as in `gpunn.ops.in_top_k`. A label that is not a valid class,
        such as one that the loss ignores, is a miss."""
        xp, (rows, classes) = backend.xp, y_pred.shape
        places = backend.scratch((rows,), np.int64, "places")
        at_label = backend.scratch((rows,), y_pred.dtype, "at label")
        others = backend.scratch(y_pred.shape, bool, "others")
        known = backend.scratch((rows,), bool, "known")
        xp.clip(labels, 0, classes - 1, out=places)
        xp.equal(places, labels, out=known)
        xp.add(places, row_starts(backend, rows, classes), out=places)
        xp.take(y_pred.reshape(-1), places, out=at_label)
        xp.less_equal(y_pred, at_label[:, np.newaxis], out=others)
        xp.sum(others, axis=-1, out=places)
        xp.greater(places, classes - self.k, out=values)
        xp.multiply(values, known, out=values)


class TopKCategoricalAccuracy(_TopK):
    """The share of rows whose largest target is among the k largest predictions.

    ``y_true`` (one-hot rows) and ``y_pred`` have the shape (..., classes). A target is a hit if
    fewer than k predictions are larger than its own, as in Keras.

    Args:
        k: number of top predictions that count, at least 1.
        name, dtype: see `Metric`.

    Raises:
        ValueError: if ``k`` is not a positive integer.

    >>> from gpunn.metrics import TopKCategoricalAccuracy
    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.8, 0, 0.1]])
    0.5
    """

    examples = ({}, {"k": 2})

    name = "top_k_categorical_accuracy"

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.count(backend, row_argmax(backend, y_true, "true"), y_pred, values)


class SparseTopKCategoricalAccuracy(_TopK):
    """The share of rows whose class number is among the k largest predictions.

    ``y_true`` has the shape (...) and ``y_pred`` (..., classes). The definition is Keras's.

    Args:
        k: number of top predictions that count, at least 1.
        name, dtype: see `Metric`.
        from_sorted_ids: whether y_pred holds class numbers, the best first, instead of
            a prediction for each class; a hit is then a class number among the first k.

    Raises:
        ValueError: if ``k`` is not a positive integer.

    >>> from gpunn.metrics import SparseTopKCategoricalAccuracy
    >>> SparseTopKCategoricalAccuracy(k=2)([2, 1], [[0.1, 0.9, 0.8], [0.8, 0, 0.1]])
    0.5
    >>> SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)([2, 1], [[1, 2, 0], [0, 2, 1]])
    0.5
    """

    sparse = True
    examples = ({}, {"k": 2}, {"k": 2, "from_sorted_ids": True})

    k: int = 5
    name: str | None = field(default="sparse_top_k_categorical_accuracy", kw_only=True, placed=True)
    dtype: Any = field(default=None, kw_only=True, placed=True)
    from_sorted_ids: bool = field(default=False, kw_only=True, placed=True)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        if not self.from_sorted_ids:
            self.count(backend, y_true, y_pred, values)
            return
        xp, first = backend.xp, y_pred[:, : self.k]
        found = backend.scratch(first.shape, bool, "found")
        xp.equal(first, y_true[:, np.newaxis], out=found)
        xp.max(found, axis=-1, out=values)

    def values(self, y_true: Any, y_pred: Any) -> np.ndarray:
        if self.from_sorted_ids and np.ndim(y_pred) == 2:  # labels may be larger than its width
            y_pred = np.asarray(y_pred, np.float64)
            values = np.empty(len(y_pred))
            labels = np.reshape(np.asarray(y_true, np.float64), -1)
            self.rows(get_backend("numpy"), labels, y_pred, values)
            return values
        return super().values(y_true, y_pred)


def _share_of_equals(backend: Backend, a: Array, b: Array, values: Array) -> None:
    """values (rows,) = the share of equal elements in the rows of a and b (rows, n)."""
    equal = backend.scratch(a.shape, values.dtype, "equal")
    backend.xp.equal(a, b, out=equal)
    backend.row_sums(equal, values)
    if a.shape[-1] > 1:
        backend.xp.multiply(values, 1.0 / a.shape[-1], out=values)
