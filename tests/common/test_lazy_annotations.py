"""Test that annotations are never evaluated. From Python 3.14 on, evaluating a name that only type
checkers know is an error; before, with `from __future__`, it never happened."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import gpunn

PARTS = """
import gpunn
from gpunn import ops
from gpunn.common.fields import field

class Fading(gpunn.optimizers.SGD):
    learning_rate: Unknown = 0.5
    part: Unknown = field(default=0.125)

class Scaled(gpunn.layers.Layer):
    factor: Unknown = 2.0

    def __init__(self, by: Unknown = 1.0, **options: Unknown) -> None:
        super().__init__(**options)
        self.by = by

    def build(self, input_shape: Unknown) -> Unknown:
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

    def call(self, x: Unknown, training: Unknown = None) -> Unknown:
        return x * self.scale * self.by

class Worst(gpunn.metrics.Metric):
    def __init__(self, name: Unknown = "worst", **options: Unknown) -> None:
        super().__init__(name=name, **options)
        self.worst = self.add_weight(name="worst", initializer="zeros")

    def update_state(self, y_true: Unknown, y_pred: Unknown, sample_weight: Unknown = None) -> None:
        self.worst.assign(ops.maximum(self.worst, ops.max(ops.abs(y_true - y_pred))))

    def result(self) -> Unknown:
        return self.worst

class Net(gpunn.Model):
    def __init__(self, units: Unknown = 4, **options: Unknown) -> None:
        super().__init__(**options)
        self.units = units
        self.hidden = gpunn.layers.Dense(units)
        self.scaled = Scaled(by=0.5)
        self.last = gpunn.layers.Dense(1)

    def call(self, x: Unknown, training: Unknown = None) -> Unknown:
        return self.last(self.scaled(self.hidden(x)))

def loss(y_true: Unknown, y_pred: Unknown) -> Unknown:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)

def rate(step: Unknown) -> Unknown:
    return 0.01

def rate_of_epoch(epoch: Unknown, learning_rate: Unknown) -> Unknown:
    return learning_rate / 2
"""


@pytest.fixture
def parts() -> dict[str, Any]:
    late = sys.version_info >= (3, 14)
    names: dict[str, Any] = {"__name__": "parts"}
    source = PARTS if late else "from __future__ import annotations\n" + PARTS
    exec(compile(source, "parts.py", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("kind", ["numpy", "compiled"])
def test_parts_are_trained_and_made_again(kind: str, parts: dict[str, Any]) -> None:
    gpunn.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((20, 3), np.float32)
    model = parts["Net"](units=2, backend=kind)
    model.compile(parts["Fading"](0.01), parts["loss"], metrics=[parts["Worst"]()])
    slower = gpunn.callbacks.LearningRateScheduler(parts["rate_of_epoch"])
    first, last = model.fit(x, x.sum(1), epochs=2, verbose=0, callbacks=[slower]).history["loss"]
    assert last < first and model.optimizer.part == 0.125
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01 / 4)
    assert parts["Fading"].from_config(model.optimizer.get_config()).part == 0.125
    model.compile(gpunn.optimizers.SGD(parts["rate"]), "mse")
    model.fit(x, x.sum(1), verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    again = parts["Net"].from_config(model.get_config())
    again(x)
    again.set_weights(model.get_weights())
    assert again.predict(x, verbose=0) == pytest.approx(model.predict(x, verbose=0), abs=1e-6)


def test_fields_may_be_annotated_with_what_is_not_there(parts: dict[str, Any]) -> None:
    made = parts["Fading"](part=0.5)
    assert (made.learning_rate, made.part) == (0.5, 0.5)
    with pytest.raises(TypeError, match="unexpected keyword argument 'whole'"):
        parts["Fading"](whole=1)
