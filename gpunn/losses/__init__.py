"""Losses: what training makes small. Each is called on arrays, or named in ``compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import registry
from .base import Loss
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from .regression import HalfSquaredError, MeanSquaredError

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "HalfSquaredError",
    "Loss",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "half_squared_error",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]


def _row_function(cls: type[Loss]) -> Callable[..., np.ndarray]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(reduction="none", **options)(y_true, y_pred)

    function.__name__ = registry.snake_case(cls.__name__)
    function.__doc__ = f"`{cls.__name__}` of each row, not reduced; options as for the class."
    return function


mean_squared_error = _row_function(MeanSquaredError)
half_squared_error = _row_function(HalfSquaredError)
binary_crossentropy = _row_function(BinaryCrossentropy)
categorical_crossentropy = _row_function(CategoricalCrossentropy)
sparse_categorical_crossentropy = _row_function(SparseCategoricalCrossentropy)


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
