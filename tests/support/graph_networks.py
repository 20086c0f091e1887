"""A network with two inputs and two outputs, and data for it."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunn
from gpunn import layers

RANDOM = np.random.default_rng(7)
LEFT, RIGHT = RANDOM.standard_normal((24, 4)), RANDOM.standard_normal((24, 3))
CLASSES, NUMBERS = RANDOM.integers(0, 3, 24), RANDOM.standard_normal((24, 2))
X, Y = [LEFT, RIGHT], [CLASSES, NUMBERS]


def two_by_two(dtype: str = "float64", backend: Any = "numpy", dropout: float = 0.0) -> Any:
    """Two inputs, a shared layer, concatenation and two outputs, one of which reads the other."""
    left, right = gpunn.Input((4,), name="left"), gpunn.Input((3,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    widened = layers.Dense(4, name="widen")(right)
    a, b = shared(left), shared(widened)
    both = layers.Concatenate(name="both")([layers.Add(name="sum")([a, b]), left])
    both = layers.Dropout(dropout, name="drop")(both)
    kind = layers.Dense(3, activation="softmax", name="kind")(both)
    size = layers.Dense(2, name="size")(layers.concatenate([kind, both], name="all"))
    inputs, outputs = [left, right], [kind, size]
    return gpunn.Model(inputs, outputs, name="two", dtype=dtype, backend=backend)


def compiled(model: Any, optimizer: Any = None, **options: Any) -> Any:
    model.compile(
        optimizer or gpunn.optimizers.SGD(0.1, momentum=0.9),
        ["sparse_categorical_crossentropy", "mse"],
        loss_weights=[1.0, 0.5],
        metrics=[["accuracy"], ["mse"]],
        **options,
    )
    return model
