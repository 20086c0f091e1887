"""A layer that a user writes in three lines runs the built-in one's operations, to its bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops


class OwnDense(layers.Layer):
    def __init__(self, units: int, activation: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.activation = units, gpunn.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], self.units), "glorot_uniform", name="k")
        self.bias = self.add_weight((self.units,), "zeros", name="b")

    def call(self, x: Any) -> Any:
        return self.activation(ops.matmul(x, self.kernel) + self.bias)


class OwnConvolution(layers.Layer):
    def __init__(self, filters: int, size: int, activation: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.filters, self.size = filters, size
        self.activation = gpunn.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        shape = self.size, self.size, input_shape[-1], self.filters
        self.kernel = self.add_weight(shape, "glorot_uniform", name="k")
        self.bias = self.add_weight((self.filters,), "zeros", name="b")

    def call(self, x: Any) -> Any:
        return self.activation(ops.conv(x, self.kernel) + self.bias)


class OwnPooling(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.max_pool(x, 2)


def dense(activation: Any) -> list[list[Any]]:
    options: Any = {"activation": activation}
    return [
        [layers.Dense(6, **options), layers.Dense(5, **options)],
        [OwnDense(6, activation), OwnDense(5, activation)],
    ]


def convolution(activation: Any) -> list[list[Any]]:
    options: Any = {"activation": activation}
    return [
        [layers.Conv2D(3, 2, **options), layers.MaxPooling2D(), layers.Conv2D(2, 3, **options)],
        [OwnConvolution(3, 2, activation), OwnPooling(), OwnConvolution(2, 3, activation)],
    ]


ACTIVATIONS = [None, "relu", "sigmoid", "gelu", "silu", "softplus"]
"""No activation; those whose derivatives read the output; and those that read the input."""


def of_a_training(
    chain: list[Any], shape: tuple[int, ...], backend: str, precision: str | None = None
) -> Any:
    """Return the operations of two and four steps, and what training gives."""
    gpunn.utils.set_random_seed(1)
    head = [layers.Flatten(), layers.Dense(3, "softmax")]
    model = gpunn.Sequential([layers.Input(shape), *chain, *head], backend=backend)
    model.compile("adam", "sparse_categorical_crossentropy", matmul_precision=precision)
    r = np.random.default_rng(0)
    model.set_weights([r.normal(0, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    x, y = r.random((44, *shape), np.float32), r.integers(0, 3, 44)
    fitted = partial(model.fit, batch_size=8, shuffle=False, verbose=0)
    loss, counts = fitted(x, y, epochs=2).history["loss"], []
    for rows in (16, 32):
        with model.backend.profile() as operations:
            fitted(x[:rows], y[:rows])
        counts.append(Counter(operation.name for operation in operations))
    return counts, [loss, *model.get_weights(), model.predict(x, verbose=0)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("made", "shape"), [(dense, (4,)), (convolution, (9, 8, 2))], ids=["dense", "convolution"]
)
def test_a_layer_of_three_lines_runs_as_the_built_in_one(
    made: Callable[[Any], list[list[Any]]], shape: tuple[int, ...], activation: Any, backend: str
) -> None:
    (plain, wanted), (own, found) = (of_a_training(c, shape, backend) for c in made(activation))
    if backend == "numpy":  # the others run several steps at once
        assert own == plain
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("made", "shape"), [(dense, (4,)), (convolution, (9, 8, 2))], ids=["dense", "convolution"]
)
def test_its_products_round_as_those_of_the_built_in_one(
    made: Callable[[Any], list[list[Any]]], shape: tuple[int, ...]
) -> None:
    (_, wanted), (_, found) = (
        of_a_training(chain, shape, "emulated", "bfloat16") for chain in made("relu")
    )
    exact = of_a_training(made("relu")[1], shape, "emulated")[1]
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(found[-1], exact[-1])
