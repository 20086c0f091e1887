"""Classes whose `__init__` forgets ``super().__init__()`` say so where they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.ones((2, 2), np.float32)


class Doubled(layers.Layer):
    def __init__(self) -> None:
        self.factor = 2.0

    def call(self, x: Any) -> Any:
        return self.factor * x


class Net(gpunn.Model):
    def __init__(self) -> None:
        self.line = layers.Dense(2)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.line(x)


class Gap(gpunn.losses.Loss):
    def __init__(self) -> None:
        self.power = 2

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return gpunn.ops.mean((y_true - y_pred) ** self.power, -1)


class Counted(gpunn.metrics.Metric):
    def __init__(self) -> None:
        self.total = self.add_weight(name="total")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(1.0)

    def result(self) -> Any:
        return self.total


class Descent(gpunn.optimizers.Optimizer):
    def __init__(self) -> None:
        self.rate = 0.1

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        return w - self.rate * g


def fit(**arguments: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(2)])
    model.compile(**({"optimizer": "sgd", "loss": "mse"} | arguments))
    model.fit(X, X, verbose=0)


USES: dict[str, Callable[[], Any]] = {
    "Doubled called": lambda: Doubled()(X),
    "Doubled in a graph": lambda: Doubled()(gpunn.Input((2,))),
    "Doubled in a model": lambda: gpunn.Sequential([Doubled()]),
    "Net called": lambda: Net()(X),
    "Gap in fit": lambda: fit(loss=Gap()),
    "Counted in fit": lambda: fit(metrics=[Counted()]),
    "Descent in fit": lambda: fit(optimizer=Descent()),
}


@pytest.mark.parametrize("use", USES)
def test_the_error_names_the_class_and_what_to_do(use: str) -> None:
    name = use.split()[0]
    with pytest.raises(AttributeError, match=rf"super\(\).*: put it .* line of {name}.__init__"):
        USES[use]()


def test_another_attribute_that_is_missing_is_named() -> None:
    class Whole(layers.Layer):
        def __init__(self) -> None:
            super().__init__()

    with pytest.raises(AttributeError, match="'Whole' object has no attribute 'factor'"):
        _ = getattr(Whole(), "factor")  # noqa: B009
