"""Targets and losses of rows: their shapes, labels, weights and places."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_integer


def check_equal(name: Any, true: tuple[int, ...], pred: tuple[int, ...], hint: str = "") -> None:
    """Refuse targets of another shape than the predictions.

    Raises:
        ValueError: naming both shapes.
    """
    if tuple(true) != tuple(pred):
        raise ValueError(
            f"{name}: y_true has shape {tuple(true)} and y_pred {tuple(pred)}; they must be "
            f"equal.{hint}"
        )


def align(loss: Any, y_true: Any, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``y_true`` in the form the loss reads: labels int32, targets in y_pred's dtype.

    A missing or surplus last axis of length one is taken as Keras takes it, so that
    (n,) and (n, 1) meet; anything else that does not fit is an error.
    """
    y_true = np.asarray(y_true)
    if y_pred.ndim == 0:
        y_pred = y_pred.reshape(1)
    if loss.sparse:
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"{loss.name}: y_true holds a class number for each row; its shape is "
                f"{y_true.shape} where y_pred of shape {y_pred.shape} asks for "
                f"{y_pred.shape[:-1]}."
            )
        ignored = getattr(loss, "ignore_class", None)
        return check_labels(y_true, y_pred.shape[-1], loss.name, ignored), y_pred
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        y_true = y_true[..., np.newaxis]
    elif y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    loss.check(y_true.shape, y_pred.shape)
    return np.ascontiguousarray(y_true, y_pred.dtype), y_pred


def check_labels(
    labels: np.ndarray, classes: int, name: str, ignored: int | None = None
) -> np.ndarray:
    """Class numbers as int32; ``ignored`` is one that may be out of range.

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
    if checked.size and (checked.min() < 0 or checked.max() >= classes):
        wrong = checked.min() if checked.min() < 0 else checked.max()
        raise ValueError(
            f"{name}: y_true holds the label {wrong:.0f}, but the predictions have {classes} "
            f"classes: labels must be from 0 to {classes - 1}."
        )
    return np.ascontiguousarray(labels, np.int32).reshape(labels.shape)


def check_class_number(name: str, value: Any) -> int:
    """A class number that targets may hold, be it of a class that there is not, as -1."""
    number = check_integer(name, value, -(2**31))
    if number >= 2**31:
        raise ValueError(f"{name} must be below 2**31, as labels are; got {value!r}.")
    return number


def reduce_rows(
    values: np.ndarray, sample_weight: Any, reduction: str | None, counted: Any = None
) -> Any:
    """Weigh and reduce the losses of single rows as Keras does; ``counted`` says which count in a
    mean by weights, None for all."""
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
    """(rows,) places of the largest of each row of x, the first on ties, in a work array."""
    position = backend.scratch((len(x),), np.int64, f"argmax {slot}")
    backend.xp.argmax(x, axis=-1, out=position)
    return position


def row_starts(backend: Backend, rows: int, classes: int) -> Array:
    """(rows,) places where the rows of a flat (rows, classes) array begin."""

    def fill(starts: Array) -> None:
        starts[...] = backend.xp.arange(0, rows * classes, classes)

    return backend.scratch((rows,), np.int64, f"starts of {classes}", fill)
