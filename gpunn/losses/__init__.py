"""Losses: what training makes small. Each is called on arrays, or named in ``compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.names import snake_case

from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from .divergence import (
    KLDivergence,
    Poisson,
)
from .loss import ElementLoss, Loss
from .margin import (
    CategoricalHinge,
    Hinge,
    PerceptronCriterion,
    SquaredHinge,
)
from .regression import (
    CosineSimilarity,
    EuclideanDistance,
    HalfSquaredError,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "ElementLoss",
    "EuclideanDistance",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "PerceptronCriterion",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "categorical_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "deserialize",
    "euclidean_distance",
    "get",
    "half_squared_error",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "perceptron_criterion",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]


def _row_function(cls: type[Loss]) -> Callable[..., np.ndarray]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(reduction="none", **options)(y_true, y_pred)

    function.__name__ = snake_case(cls.__name__)
    function.__doc__ = f"`{cls.__name__}` of each row, not reduced; options as for the class."
    return function


binary_crossentropy = _row_function(BinaryCrossentropy)
categorical_crossentropy = _row_function(CategoricalCrossentropy)
categorical_hinge = _row_function(CategoricalHinge)
cosine_similarity = _row_function(CosineSimilarity)
euclidean_distance = _row_function(EuclideanDistance)
half_squared_error = _row_function(HalfSquaredError)
hinge = _row_function(Hinge)
huber = _row_function(Huber)
kl_divergence = _row_function(KLDivergence)
log_cosh = _row_function(LogCosh)
mean_absolute_error = _row_function(MeanAbsoluteError)
mean_absolute_percentage_error = _row_function(MeanAbsolutePercentageError)
mean_squared_error = _row_function(MeanSquaredError)
mean_squared_logarithmic_error = _row_function(MeanSquaredLogarithmicError)
perceptron_criterion = _row_function(PerceptronCriterion)
poisson = _row_function(Poisson)
sparse_categorical_crossentropy = _row_function(SparseCategoricalCrossentropy)
squared_hinge = _row_function(SquaredHinge)


def get(identifier: Any) -> Loss:
    """The loss for a name, an object, a class or a config dictionary.

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.
        TypeError: for a bare function: nothing would know its gradient.

    >>> get("mse").name
    'mean_squared_error'
    """
    if callable(identifier) and not isinstance(identifier, (type, Loss)):
        name = getattr(identifier, "__name__", repr(identifier))
        if globals().get(name) is identifier and name in __all__:
            return registry.get("loss", name)
        raise TypeError(
            f"loss is a bare function ({name!r}): its gradient is not known. Write a subclass "
            f"of gpunn.losses.Loss with forward(backend, y_true, y_pred, values) and "
            f"backward(backend, y_true, y_pred, gradient), and pass an object of it."
        )
    return registry.get("loss", identifier)


def serialize(loss: Loss) -> dict[str, Any] | None:
    """The loss as a dictionary that `get` takes."""
    return registry.serialize(loss)


def deserialize(config: dict[str, Any]) -> Loss:
    """The loss that `serialize` described."""
    return registry.deserialize(config, "loss")
