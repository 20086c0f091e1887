"""`float(v)`, `int(v)` and `bool(v)` of variables and weights, as in Keras, and the values that
Python reads in compiled functions and in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers
from gpunn.ops.tensor import NeedsValuesError


class Scaled(layers.Layer):
    """Multiplies by a weight that is one number."""

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight((), initializer="ones")

    def call(self, x: Any) -> Any:
        return x * self.factor


def weight(value: float) -> Any:
    layer = Scaled()
    gpunn.Sequential([layers.Input((1,)), layer]).get_weights()
    layer.factor.assign(value)
    return layer.factor


@pytest.mark.parametrize("value", [2.75, -1.0, 0.0])
def test_a_single_number_is_kerass(value: float, keras: Any) -> None:
    whole = keras.Variable(int(value), dtype="int32", trainable=False)
    for ours, theirs in (
        (weight(value), keras.Variable(value, trainable=False)),
        (gpunn.Variable(value), keras.Variable(value, trainable=False)),
        (gpunn.Variable(int(value), dtype="int32"), whole),
    ):
        for number in (float, int):
            found, expected = number(ours), number(theirs)
            assert (type(found), found) == (type(expected), expected)
        assert_array_equal((+ours).numpy(), float(+theirs))


@pytest.mark.parametrize("convert", [float, int, bool])
@pytest.mark.parametrize("value", [[1.0], [1.0, 2.0]], ids=str)
def test_what_keras_refuses_is_refused(
    value: list[float], convert: Callable[..., Any], keras: Any
) -> None:
    for variable in (keras.Variable(value), gpunn.Variable(value)):
        with pytest.raises(TypeError):
            convert(variable)


def test_a_variable_is_no_condition(keras: Any) -> None:
    """``if v:`` was true whatever its value."""
    for variable in (keras.Variable(0.0), gpunn.Variable(0.0), weight(0.0)):
        with pytest.raises(TypeError):
            bool(variable)


@pytest.mark.parametrize("make", [gpunn.Variable, weight])
@pytest.mark.parametrize(
    "read", [float, int, lambda v: v.numpy(), np.asarray, lambda v: v.item()],
    ids=["float", "int", "numpy", "asarray", "item"],
)  # fmt: skip
def test_a_function_reads_what_is_assigned_meanwhile(
    read: Callable[..., Any], make: Callable[..., Any], backend: str
) -> None:
    """It kept the value of the call that was traced."""
    gpunn.use_backend(backend)
    v = make(1.0)
    scaled = gpunn.function(lambda x: x * read(v))
    for value in (1.0, 2.0, 3.0, 4.0):
        v.assign(value)
        assert scaled([1.0, 2.0]).tolist() == [value, 2 * value]
        with gpunn.GradientTape():
            assert read(v) == value


@pytest.mark.traced
def test_a_call_that_is_compiled_refuses_to_keep_a_value() -> None:
    class Kept(layers.Layer):
        def build(self, shape: Any) -> None:
            self.factor = gpunn.Variable(1.0)

        def call(self, x: Any) -> Any:
            return x * self.factor.numpy()

    with pytest.raises(NeedsValuesError, match="values of"):
        model = gpunn.Sequential([layers.Input((2,)), Kept()])
        model.predict(np.ones((3, 2), "float32"), verbose=0)
