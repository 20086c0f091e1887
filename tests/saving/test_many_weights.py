"""Models with ten and more weights of one shape: each is read back in its own place.

Places are written as numbers and as names with numbers, which sort differently: 10 is before 2.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from properties import written

import gpunn
from gpunn import layers, ops

COUNTS = (1, 9, 10, 11, 12, 101)
WAYS = [*written.WHOLE, *written.WEIGHTS, "onnx"]
register = gpunn.saving.register_serializable(package="many_weights")


@register
class Many(layers.Layer):
    """A layer with this many weights, a third of them without training.

    Args:
        count: their number.
        called: their names, in which ``{}`` is the index; None for no names.
    """

    def __init__(self, count: int, called: str | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.count, self.called = count, called

    def build(self, input_shape: Any) -> None:
        self.own = [
            self.add_weight((3,), name=self.called and self.called.format(k), trainable=k % 3 != 1)
            for k in range(self.count)
        ]

    def call(self, x: Any) -> Any:
        for weight in self.own:
            x = ops.tanh(x * weight)
        return x


@register
class Lists(layers.Layer):
    """A layer with lists and dictionaries of layers."""

    def __init__(self, count: int, **common: Any) -> None:
        super().__init__(**common)
        self.count = count
        self.blocks = [layers.Dense(3, use_bias=False) for _ in range(count)]
        self.named = {f"block_{k}": layers.Dense(3) for k in range(count)}

    def _chain(self) -> list[Any]:
        return [*reversed(self.blocks), *self.named.values()]

    def build(self, input_shape: Any) -> None:
        for block in self._chain():
            block.build(input_shape)

    def call(self, x: Any) -> Any:
        for block in self._chain():
            x = block(x)
        return x


@register
class Own(gpunn.Model):
    """A model with a call, in which layers are used in another order than they are made."""

    def __init__(self, count: int, **common: Any) -> None:
        super().__init__(**common)
        self.count, self.blocks = count, [layers.Dense(3) for _ in range(count)]

    def call(self, x: Any, training: bool | None = None) -> Any:
        for block in reversed(self.blocks):
            x = block(x)
        return x


def chain(*some: Any, shape: tuple[int, ...] = (3,)) -> Any:
    return gpunn.Sequential([gpunn.Input(shape), *some])


def own(count: int) -> Any:
    model = Own(count)
    model.build((None, 3))
    return model


def mixed(count: int) -> Any:
    kinds = (
        partial(layers.Dense, 3), partial(layers.Dense, 3, use_bias=False), layers.PReLU,
        layers.BatchNormalization, layers.LayerNormalization,
        partial(layers.EinsumDense, "ab,bc->ac", 3, bias_axes="c"),
    )  # fmt: skip
    return chain(*(kinds[5 * k % 7 % 6]() for k in range(count)))


def graph(count: int) -> Any:
    """A graph of layers whose names have numbers in no order."""
    r, x = random.Random(count), gpunn.Input((3,))
    made = [x]
    for number in r.sample(range(2 * count), count):
        made.append(layers.Dense(3, name=f"dense_{number}")(r.choice(made)) + r.choice(made))
    return gpunn.Model(x, layers.add(made) / count)


def cells(count: int) -> Any:
    stacked = layers.StackedRNNCells([layers.SimpleRNNCell(3) for _ in range(count)])
    return chain(layers.RNN(stacked), shape=(2, 3))


NETWORKS: dict[str, Callable[[int], Any]] = {
    "chain": lambda count: chain(*(layers.Dense(3) for _ in range(count))),
    "kinds": mixed,
    "unnamed": lambda count: chain(Many(count)),
    "named": lambda count: chain(Many(count, "w{}")),
    "numbered": lambda count: chain(Many(count, "w_{}")),
    "lists": lambda count: chain(Lists(count)),
    "own": own,
    "graph": graph,
    "nested": lambda count: chain(*(chain(layers.Dense(3)) for _ in range(count))),
    "cells": cells,
    "both ways": lambda count: chain(
        *(layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), "sum")
          for _ in range(count)), shape=(2, 3),
    ),
}  # fmt: skip
SLOW = {"cells", "both ways"}


def cases() -> list[Any]:
    """Each way with some networks and counts; `make test` takes fewer, but all ways."""
    found = []
    for n, name in enumerate(NETWORKS):
        for count in COUNTS if name not in SLOW else COUNTS[:-1]:
            for k, way in enumerate(WAYS):
                if (name, way) == ("own", "config"):  # it is not built by its configuration
                    continue
                chosen = count in (11, 12) and (3 * k + n + 8 * count) % 16 == 0
                if not chosen and (n + k + count) % 4:
                    continue
                marks = () if chosen and name not in SLOW else pytest.mark.more(3)
                found.append(pytest.param(name, count, way, marks=marks))
    return found


@pytest.mark.parametrize(("name", "count", "way"), cases())
def test_each_weight_is_read_back_in_its_own_place(
    backend: str, name: str, count: int, way: str, tmp_path: Path
) -> None:
    gpunn.use_backend(backend)

    def make() -> Any:
        model = NETWORKS[name](count)
        if "checkpoint" in way:
            model.compile("sgd", "mse")
        return model

    model = make()
    model.set_weights([
        np.random.default_rng(k).uniform(0.3, 0.9, w.shape) / (1.8 if len(w.shape) == 2 else 1)
        for k, w in enumerate(model.weights)  # divided, so that two hundred layers do not overflow
    ])  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    expected = model.predict(x, verbose=0)
    if way == "onnx":
        found = written.in_onnx(model, tmp_path, x)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        return
    if count % 2:  # the names of the layers in the new model begin with other numbers, or the same
        gpunn.backend.clear_session()
    again = {**written.WHOLE, **written.WEIGHTS}[way](model, make, tmp_path)
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    for k, (a, b) in enumerate(zip(again.get_weights(), model.get_weights(), strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=f"weight {k}")
    assert [w.trainable for w in again.weights] == [w.trainable for w in model.weights]
    assert again.predict(x, verbose=0).tobytes() == expected.tobytes()
