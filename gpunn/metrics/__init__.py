"""Metrics: what is reported about training and evaluation."""

from __future__ import annotations

from typing import Any

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
    "deserialize",
    "get",
    "serialize",
]


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
