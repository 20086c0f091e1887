"""Metrics: what is reported about training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import registry
from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .base import Mean, MeanMetricWrapper, MeanOfRows, Metric
from .losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    HalfSquaredError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "HalfSquaredError",
    "Mean",
    "MeanMetricWrapper",
    "MeanOfRows",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "deserialize",
    "get",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def _row_function(cls: type[MeanOfRows]) -> Callable[..., np.ndarray]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(**options).values(y_true, y_pred)

    function.__name__ = registry.snake_case(cls.__name__)
    function.__doc__ = f"`{cls.__name__}` of each row or element; options as for the class."
    return function


binary_accuracy = _row_function(BinaryAccuracy)
categorical_accuracy = _row_function(CategoricalAccuracy)
sparse_categorical_accuracy = _row_function(SparseCategoricalAccuracy)
top_k_categorical_accuracy = _row_function(TopKCategoricalAccuracy)
sparse_top_k_categorical_accuracy = _row_function(SparseTopKCategoricalAccuracy)


def get(identifier: Any) -> Metric:
    """The metric for a name, an object, a class, a config dictionary or a function.

    ``"accuracy"`` is the plain `Accuracy` here; ``compile`` picks the one that fits
    the loss and the shapes.

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.

    >>> get("top_k_categorical_accuracy").k
    5
    """
    if callable(identifier) and not isinstance(identifier, (type, Metric)):
        return MeanMetricWrapper(identifier)
    return registry.get("metric", identifier)


def serialize(metric: Metric) -> dict[str, Any] | None:
    """The metric as a dictionary that `get` takes."""
    return registry.serialize(metric)


def deserialize(config: dict[str, Any]) -> Metric:
    """The metric that `serialize` described."""
    return registry.deserialize(config, "metric")
