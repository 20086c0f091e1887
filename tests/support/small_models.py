"""Networks of one layer and twenty rows of data; a layer that defines its passes on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunn
from gpunn import layers

ROWS = 20
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
LABELS = np.arange(ROWS) % 3
TARGETS = RANDOM.normal(size=(ROWS, 2)).astype("float32")
SPARSE = "sparse_categorical_crossentropy"


def linear(units: int = 1, inputs: int = 1, rate: float = 0.0, **arguments: Any) -> Any:
    gpunn.utils.set_random_seed(7)
    backend, dtype = arguments.pop("backend", None), arguments.pop("dtype", None)
    model = gpunn.Sequential(
        [layers.Input((inputs,)), layers.Dense(units)], backend=backend, dtype=dtype
    )
    model.compile(**{"optimizer": gpunn.optimizers.SGD(rate), "loss": "mse", **arguments})
    return model


def classifier(**arguments: Any) -> Any:
    gpunn.utils.set_random_seed(7)
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile(**{"optimizer": gpunn.optimizers.SGD(0.1), "loss": SPARSE, **arguments})
    return model


class Cubed(layers.Layer):
    """y = x^3, with a weight that it does not use."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.parameter((1,), gpunn.initializers.Ones(), "factor")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def forward(self, call: Any) -> None:
        call.backend.xp.power(call.x, 3, out=call.y)

    def backward(self, call: Any) -> None:
        call.backend.xp.multiply(call.dy, 3 * call.x**2, out=call.dx)
