"""Metrics: what is reported about training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)

from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .auc import AUC
from .confusion import ConfusionMatrix
from .counts import (
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from .functions import (
    classification_report,
    confusion_matrix,
    roc_auc,
    roc_curve,
)
from .losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    EuclideanDistance,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    PerceptronCriterion,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from .metric import (
    Mean,
    MeanMetricWrapper,
    MeanOfRows,
    Metric,
)
from .regression import R2Score

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConfusionMatrix",
    "CosineSimilarity",
    "EuclideanDistance",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanOfRows",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "PerceptronCriterion",
    "Poisson",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_hinge",
    "classification_report",
    "confusion_matrix",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "roc_auc",
    "roc_curve",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]


def _row_function(cls: type[MeanOfRows]) -> Callable[..., np.ndarray]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(**options).values(y_true, y_pred)

    function.__name__ = snake_case(cls.__name__)
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
        name = getattr(identifier, "__name__", "")
        if name in __all__ and globals()[name] is identifier:
            return registry.get("metric", name)
        return MeanMetricWrapper(identifier)
    return registry.get("metric", identifier)


def serialize(metric: Metric) -> dict[str, Any] | None:
    """The metric as a dictionary that `get` takes."""
    return registry.serialize(metric)


def deserialize(config: dict[str, Any]) -> Metric:
    """The metric that `serialize` described."""
    return registry.deserialize(config, "metric")
