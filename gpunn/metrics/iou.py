"""Counts of each pair of classes, and what they give: the intersection over union."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import (
    check_flag,
    check_integer,
    check_number,
    check_positive_integer,
    optional,
)
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.core.recording import recorded
from gpunn.losses.rows import row_argmax
from gpunn.ops.conversion import convert, floats
from gpunn.ops.tensor import Tensor, ops

from . import own
from .binned import Binned, divide
from .metric import Metric, counting


class ConfusionMatrix(Binned):
    """The confusion matrix: how often each class (rows) was predicted as each class (columns).

    Targets are class numbers, or rows whose largest element is at the class. The predicted class
    has the largest prediction. With one output, the true class is whether the target is nonzero,
    and the predicted class whether the output exceeds ``threshold``.

    A model's logs hold numbers, so they show the share of correct predictions, those on the
    diagonal. After ``fit`` or ``evaluate``, ``result()`` returns the matrix of the last pass
    that was read. `gpunn.metrics.confusion_matrix` is the function for two arrays.

    Args:
        num_classes: width of the predictions; inferred from the data by default.
        threshold: decision threshold for one output.
        name, dtype: see `Metric`.

    Raises:
        ValueError: if ``num_classes`` is not a positive integer.

    >>> from gpunn.metrics import ConfusionMatrix
    >>> m = ConfusionMatrix()
    >>> m.update_state([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> m.result().numpy()
    array([[1., 0.],
           [1., 1.]])
    """

    functor = "Confusion"
    parameter_names = ("threshold",)
    by_output = True
    targets = "bits"
    examples = ({}, {"num_classes": 5}, {"threshold": 0.2, "name": "table"})

    num_classes: int | None = field(default=None, check=optional(check_positive_integer))
    threshold: float = field(default=0.5)
    name = "confusion_matrix"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outputs = self.fixed_outputs = self.num_classes

    @property
    def bins(self) -> int:
        return max(self.outputs or 0, 2) ** 2

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return "probabilities" if self.outputs == 1 and 0 < self.threshold < 1 else None

    def width(self, classes: int) -> int:
        return 1

    def place(self, backend: Backend, y_true: Array, y_pred: Array, bins: Array) -> None:
        xp, classes = backend.xp, y_pred.shape[-1]
        if classes == 1:
            answer = backend.scratch(y_pred.shape[:1], bool, "answer")
            xp.greater(y_pred[:, 0], self.threshold, out=answer)
            truth = y_true
            if y_true.ndim == 2:
                truth = backend.scratch(y_pred.shape[:1], bool, "truth")
                xp.not_equal(y_true[:, 0], 0, out=truth)
        else:
            answer = row_argmax(backend, y_pred, "pred")
            truth = y_true if y_true.ndim == 1 else row_argmax(backend, y_true, "true")
        xp.multiply(truth, max(classes, 2), out=bins[:, 0], dtype=bins.dtype)
        xp.add(bins[:, 0], answer, out=bins[:, 0])

    def array(self, state: np.ndarray) -> np.ndarray:
        n = max(self.outputs or 0, 2)
        return state.reshape(n, n)

    def compute(self, state: np.ndarray) -> float:
        self._show(state)
        matrix = self.array(state)
        return float(divide(np.trace(matrix), matrix.sum()))


def _check_ids(name: str, value: Any) -> list[int]:
    """Return class numbers as a list of at least one."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise ValueError(f"{name} must be a list of class numbers, such as [0, 1]; got {value!r}.")
    ids = [check_integer(name, one, 0) for one in value]
    if not ids:
        raise ValueError(f"{name} must have at least one class number; got {value!r}.")
    return ids


_check_class = optional(partial(check_integer, least=-(2**31)))


def _check_axis(name: str, value: Any) -> int:
    return int(check_integer(name, value, -(2**31)))


class _OverUnion(Metric):
    """Base class: a confusion matrix, and from it the mean over classes of
    ``TP / (TP + FP + FN)``. A subclass has the attributes below, as arguments or constants."""

    _of_variables = True

    num_classes = 2
    target_class_ids = cast("Any", None)
    ignore_class = cast("int | None", None)
    sparse_y_true = sparse_y_pred = True
    axis = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.num_classes
        self._ids = [*range(n)] if self.target_class_ids is None else self.target_class_ids
        if max(self._ids) >= n:
            raise ValueError(
                f"target_class_ids must be below num_classes={n}; got {self._ids}."
            )
        self.total_cm = self.add_weight((n, n), dtype="float64", name="total_confusion_matrix")

    @property
    def sparse(self) -> bool | None:  # type: ignore[override]
        return None if self.sparse_y_true and self.sparse_y_pred else self.sparse_y_true

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return "numbers" if self.sparse_y_pred else None

    def _numbers(self, x: Any, of_predictions: bool) -> Tensor:
        """Return class numbers as whole numbers in floats, of any shape. As operations on floats, a
        step computes all of it in loops."""
        x = ops.cast(x, "float64")
        if self.sparse_y_pred if of_predictions else self.sparse_y_true:
            return ops.where(x < 0, ops.ceil(x), ops.floor(x))
        x, each = ops.moveaxis(x, self.axis, -1), ops.arange(x.shape[self.axis], dtype="float64")
        top = ops.max(x, axis=-1, keepdims=True)  # the class is at the first of the largest
        return ops.min(ops.where(x == top, each, math.inf), axis=-1)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: class numbers (...), or with ``sparse_y_true=False`` and
        ``sparse_y_pred=False`` (..., num_classes), whose largest entry is at the class.
        ``sample_weight`` has one value, or one per sample or class number."""
        sample_weight = counting(y_pred, sample_weight)
        truth = self._numbers(y_true, False)
        found = self._numbers(y_pred, True)
        if truth.size != found.size:
            raise ValueError(
                f"{self.name}: y_true has {truth.size} class numbers, of shape {truth.shape}, and "
                f"y_pred {found.size}, of shape {found.shape}: expected the same number. "
                f"sparse_y_pred=False takes the largest of each row of predictions."
            )
        rows = _of_each(1.0 if sample_weight is None else sample_weight, found.shape)
        truth, found = ops.reshape(truth, (-1,)), ops.reshape(found, (-1,))
        n = self.num_classes
        counts = (truth >= 0) & (truth < n) & (found >= 0) & (found < n)
        if self.ignore_class is not None:
            counts = counts & (truth != self.ignore_class)
        places = ops.cast(ops.where(counts, truth * n + found, -1.0), "int32")
        added = ops.segment_sum(ops.where(counts, rows, 0.0), places, num_segments=n * n)
        self.total_cm.assign_add(ops.reshape(added, (n, n)))

    @recorded
    def result(self) -> Any:
        table = ops.convert_to_tensor(self.total_cm)
        right = ops.diag(table)
        either = ops.sum(table, axis=0) + ops.sum(table, axis=1) - right
        right, either = (ops.take(x, self._ids) for x in (right, either))
        there = either > 1e-9
        shares = ops.where(there, right / (either + epsilon()), 0.0)
        return own.number(ops.sum(shares) / (ops.sum(ops.cast(there, "float64")) + epsilon()))


def _of_each(weight: Any, shape: tuple[int, ...]) -> Tensor:
    """Return weights (n,), one for each entry of this shape, of one value or one per leading entry.

    Raises:
        ValueError: for weights that do not fit.
    """
    weight = convert(weight, None if isinstance(weight, Tensor) else "float64")
    if weight.ndim and weight.size == math.prod(shape):
        return ops.cast(ops.reshape(weight, (-1,)), "float64")
    wide = ops.reshape(weight, (*weight.shape, *(1,) * (len(shape) - weight.ndim)))
    return ops.cast(ops.reshape(ops.broadcast_to(wide, shape), (-1,)), "float64")


class _OfClasses(_OverUnion):
    """Base class of those for any number of classes: it has their common arguments."""

    num_classes: int = field(check=check_positive_integer)
    ignore_class: int | None = field(
        default=None, check=_check_class, kw_only=True, placed=True, after="dtype"
    )
    sparse_y_pred: bool = field(
        default=True, check=check_flag, kw_only=True, placed=True, after="ignore_class"
    )
    axis: int = field(
        default=-1, check=_check_axis, kw_only=True, placed=True, after="sparse_y_pred"
    )


class IoU(_OfClasses):
    """Intersection over union: the mean over some classes of ``TP / (TP + FP + FN)``.

    Each class number, such as that of a pixel, counts once. Classes that are neither in the targets
    nor in the predictions do not count, nor do numbers below 0 or from ``num_classes`` on. The
    definition is Keras's. Weights that are no integers count as they are; Keras truncates them
    unless ``dtype`` is a float.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes whose mean is the result, such as ``[1]``.
        name, dtype: see `Metric`.
        ignore_class: a class, such as 255, whose pixels do not count; by default none.
        sparse_y_true: whether ``y_true`` holds class numbers (...); else the largest entry along
            ``axis`` is at the class.
        sparse_y_pred: likewise for ``y_pred``. A model whose outputs are probabilities of classes
            needs False.
        axis: the axis of classes.

    Raises:
        ValueError: for classes from ``num_classes`` on, or other numbers of targets than
            predictions.

    >>> from gpunn.metrics import IoU
    >>> m = IoU(num_classes=2, target_class_ids=[0])
    >>> m.update_state([0, 0, 1, 1], [0, 1, 0, 1])
    >>> round(m.result(), 4)
    0.3333
    """

    examples = (
        {"num_classes": 5, "target_class_ids": [0, 2], "sparse_y_pred": False},
        {"num_classes": 5, "target_class_ids": [1], "ignore_class": 3, "sparse_y_pred": False},
    )

    target_class_ids: Any = field(check=_check_ids, after="num_classes")
    sparse_y_true: bool = field(default=True, check=check_flag, after="ignore_class")


class MeanIoU(_OfClasses):
    """Intersection over union: the mean over all classes of ``TP / (TP + FP + FN)``.

    Args:
        num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis: as for `IoU`.

    >>> from gpunn.metrics import MeanIoU
    >>> m = MeanIoU(num_classes=2)
    >>> m.update_state([0, 0, 1, 1], [0, 1, 0, 1])
    >>> round(m.result(), 4)
    0.3333
    """

    examples = ({"num_classes": 5, "sparse_y_pred": False},)

    sparse_y_true: bool = field(default=True, check=check_flag, after="ignore_class")


class OneHotIoU(_OfClasses):
    """`IoU` of targets whose largest entry along ``axis`` is at the class.

    Args:
        num_classes, target_class_ids, name, dtype, ignore_class, axis: as for `IoU`.
        sparse_y_pred: whether ``y_pred`` holds class numbers (...).

    >>> from gpunn.metrics import OneHotIoU
    >>> m = OneHotIoU(num_classes=2, target_class_ids=[1])
    >>> m.update_state([[0, 1], [0, 1], [1, 0]], [[0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
    >>> round(m.result(), 4)
    0.5
    """

    sparse_y_true = False
    examples = ({"num_classes": 5, "target_class_ids": [0, 2]},)

    target_class_ids: Any = field(check=_check_ids, after="num_classes")
    sparse_y_pred = False


class OneHotMeanIoU(_OfClasses):
    """`MeanIoU` of targets whose largest entry along ``axis`` is at the class.

    Args:
        num_classes, name, dtype, ignore_class, axis: as for `IoU`.
        sparse_y_pred: whether ``y_pred`` holds class numbers (...).

    >>> from gpunn.metrics import OneHotMeanIoU
    >>> m = OneHotMeanIoU(num_classes=2)
    >>> m.update_state([[0, 1], [0, 1], [1, 0]], [[0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
    >>> round(m.result(), 4)
    0.5
    """

    sparse_y_true = False
    examples = ({"num_classes": 5}, {"num_classes": 5, "ignore_class": 1})

    sparse_y_pred = False


class BinaryIoU(_OverUnion):
    """`IoU` of two classes: targets are 0 or 1, and a prediction from ``threshold`` on is a 1.

    Args:
        target_class_ids: the classes whose mean is the result: ``[0]``, ``[1]`` or both.
        threshold: for the predictions, which may be probabilities or logits.
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import BinaryIoU
    >>> m = BinaryIoU(target_class_ids=[0, 1], threshold=0.3)
    >>> m.update_state([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
    >>> round(m.result(), 4)
    0.3333
    """

    sparse = False
    examples = ({}, {"target_class_ids": [1], "threshold": 0.2, "name": "of_ones"})

    target_class_ids: Any = field(default=(0, 1), check=_check_ids)
    threshold: float = field(default=0.5, check=check_number)

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return "probabilities" if 0 < self.threshold < 1 else None

    def _numbers(self, x: Any, of_predictions: bool) -> Tensor:
        if not of_predictions:
            return super()._numbers(x, of_predictions)
        x = floats(convert(x))
        threshold = float(np.array(self.threshold, x.dtype))  # as the predictions are rounded
        above = ops.cast(x, "float64") >= threshold
        return ops.where(above, ops.ones((), dtype="float64"), 0.0)
