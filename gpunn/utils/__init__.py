"""Keras's ``utils``: seeds, one-hot targets, and a look at data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.apps.data_checks import DataCheckError, check_data
from gpunn.common.random import set_random_seed

__all__ = ["DataCheckError", "check_data", "set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (...) as one-hot rows (..., classes), float64.

    A last axis of length one is dropped first, as in Keras.

    Args:
        x: whole numbers from 0.
        num_classes: length of a row; the largest class number plus one by default.

    Raises:
        ValueError: for a class number that is negative, not whole, or too large.

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    from gpunn.losses.rows import check_labels

    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    labels = check_labels(labels, num_classes, "to_categorical")
    result = np.zeros((labels.size, num_classes))
    result[np.arange(labels.size), labels.reshape(-1)] = 1.0
    return result.reshape(*labels.shape, num_classes)
