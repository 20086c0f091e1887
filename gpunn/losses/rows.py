"""Helpers for targets and losses of rows: shapes, labels, weights and indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_integer
from gpunn.ops.shapes import expand_dims, reshape
from gpunn.ops.tensor import Tensor


def check_equal(name: Any, true: tuple[int, ...], pred: tuple[int, ...], hint: str = "") -> None:
    """Raise a ValueError that names both shapes if targets and predictions differ in shape."""
    if tuple(true) != tuple(pred):
        raise ValueError(
            f"{name}: y_true and y_pred must have the same shape; got {tuple(true)} and "
            f"{tuple(pred)}.{hint}"
        )


def broadcasts(loss: Any, y_true: Any, y_pred: Any) -> bool:
    """Whether one of both is a number, which is compared with each entry of the other, as in Keras:
    by losses without classes."""
    has_classes = loss.sparse or getattr(loss, "fuses", True)  # a metric has none
    return not has_classes and (y_true.ndim == 0) != (y_pred.ndim == 0)


def align(loss: Any, y_true: Any, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert ``y_true`` to the form the loss reads: int32 labels, or y_pred's dtype.

    A missing or extra last axis of length 1 is handled as in Keras, so that (n,) and
    (n, 1) match, and a number stands for an array of it. Any other mismatch raises an error.
    """
    y_true = np.asarray(y_true)
    if broadcasts(loss, y_true, y_pred):
        y_true, y_pred = np.broadcast_arrays(y_true, y_pred)
    if y_pred.ndim == 0:
        y_pred = y_pred.reshape(1)
    if loss.sparse:
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"{loss.name}: y_true must hold one class number per row; got shape "
                f"{y_true.shape}, but y_pred of shape {y_pred.shape} requires "
                f"{y_pred.shape[:-1]}."
            )
        return check_labels(y_true, y_pred.shape[-1], loss.name, ignored_class(loss)), y_pred
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        y_true = y_true[..., np.newaxis]
    elif y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    loss.check(y_true.shape, y_pred.shape)
    return np.ascontiguousarray(y_true, y_pred.dtype), y_pred


def fitting(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Add or drop a last axis of length 1, as Keras does, so that (n,) and (n, 1) match."""
    if y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        return reshape(y_true, y_true.shape[:-1]), y_pred
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        return expand_dims(y_true, -1), y_pred
    return y_true, y_pred


def ignored_class(part: Any) -> int | None:
    """Return the class that a loss, a metric or the loss of its model ignores; any number."""
    ignored: int | None = getattr(part, "ignore_class", None)
    return getattr(part, "_ignored", None) if ignored is None else ignored


def check_labels(
    labels: np.ndarray, classes: int, name: str, ignored: int | None = None
) -> np.ndarray:
    """Return class numbers as int32; the class ``ignored`` may be out of range.

    Raises:
        ValueError: if one is not a whole number from 0 to classes - 1.
    """
    if labels.dtype.kind not in "iub":
        whole = labels == np.floor(labels) if labels.dtype.kind == "f" else np.zeros(labels.shape)
        if not np.all(whole):
            raise ValueError(
                f"{name}: y_true must hold whole class numbers; found {labels[whole == 0][0]!s} "
                f"at {np.argwhere(whole == 0)[0].tolist()}."
            )
    checked = labels if ignored is None else labels[labels != ignored]
    if checked.size and not _are_below(checked, classes):
        wrong = checked.min() if checked.min() < 0 else checked.max()
        raise ValueError(
            f"{name}: y_true holds the label {wrong:.0f}, but the predictions have {classes} "
            f"classes: labels must be from 0 to {classes - 1}."
        )
    return np.asarray(labels, np.int32, order="C")


def _are_below(labels: np.ndarray, classes: int) -> bool:
    """Whether all labels are from 0 to classes - 1."""
    if labels.dtype.kind == "i" and labels.dtype.isnative:
        labels = labels.view(labels.dtype.char.upper())  # a negative one is larger than any label
    elif labels.dtype.kind not in "ub" and labels.min() < 0:
        return False
    return bool(labels.max() < classes)


def check_class_number(name: str, value: Any) -> int:
    """Check a class number that targets may hold, even if no such class exists, as for -1."""
    number = check_integer(name, value, -(2**31))
    if number >= 2**31:
        raise ValueError(f"{name} must be below 2**31, as labels are; got {value!r}.")
    return number


def reduce_rows(
    values: np.ndarray, sample_weight: Any, reduction: str | None, counted: Any = None
) -> Any:
    """Weight and reduce the losses of single rows as Keras does. ``counted`` marks the rows that
    count in a mean by weights; None means all."""
    if sample_weight is None and counted is not None:
        sample_weight = np.ones(values.shape, values.dtype)
    if sample_weight is not None:
        weights = np.asarray(sample_weight, values.dtype)
        if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
            weights = weights[..., 0]
        while 0 < weights.ndim < values.ndim:
            weights = weights[..., np.newaxis]
        try:
            values = values * np.broadcast_to(weights, values.shape)
        except ValueError:
            raise ValueError(
                f"sample_weight of shape {np.shape(sample_weight)} does not fit losses of "
                f"shape {values.shape}: one weight for each row is expected."
            ) from None
    if reduction in (None, "none"):
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        weights = np.broadcast_to(weights, values.shape)
        divisor = float(weights.sum(where=True if counted is None else counted))
    else:
        divisor = values.size
    return total / values.dtype.type(divisor) if divisor else values.dtype.type(0)


def row_argmax(backend: Backend, x: Array, slot: str) -> Array:
    """Return (rows,) indices of the largest of each row of x, in a work array: of the first one on
    ties, and of the first NaN if there is any."""
    position = backend.scratch((len(x),), np.int64, f"argmax {slot}")
    backend.find_extreme("argmax", x, -1, position)
    return position


def row_starts(backend: Backend, rows: int, classes: int) -> Array:
    """Return (rows,) indices where the rows of a flat (rows, classes) array begin."""

    def fill(starts: Array) -> None:
        starts[...] = backend.xp.arange(0, rows * classes, classes)

    return backend.scratch((rows,), np.int64, f"starts of {classes}", fill)
