"""Test that integers which a model would receive as other numbers are rejected before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers, ops

ODD = 2**24 + 1  # not representable in float32
MOST = 2**31 - 1
X = np.array([[ODD, 4], [ODD + 1, 7], [MOST, -ODD], [-ODD - 1, 0], [6, MOST - 1], [1, 2]])
Y = X % 2.0


class Parity(layers.Layer):
    """Returns whether integers are odd, plus a weight that starts at 0."""

    def build(self, input_shape: Any) -> None:
        self.wrong = self.add_weight((), "zeros", name="wrong")

    def call(self, x: Any) -> Any:
        return ops.cast(x & 1, "float32") + self.wrong


def parity(dtype: str) -> Any:
    model = gpunn.Sequential([gpunn.Input((2,), dtype=dtype), Parity()])
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    return model



def roads(model: Any, x: Any, y: Any) -> Iterator[Callable[[], Any]]:
    """The ways data can reach a model."""
    yield lambda: model.fit(x, y, verbose=0)
    yield lambda: model.fit(iter([(x, y)]), verbose=0)
    yield lambda: model.evaluate(x, y, verbose=0)
    yield lambda: model.train_on_batch(x, y)
    yield lambda: model.test_on_batch(x, y)
    yield lambda: model.fit(np.abs(X), Y, validation_data=(x, y), verbose=0)


def of_x(model: Any, x: Any) -> Iterator[Callable[[], Any]]:
    yield from roads(model, x, Y[: len(x)])
    yield lambda: model.predict(x, verbose=0)
    yield lambda: model.predict(iter([x]), verbose=0)
    yield lambda: model.predict_on_batch(x)
    yield lambda: model(x)
    yield lambda: model(x, training=True)


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (np.array([[1, 2], [3, 2**40]]), r"x holds 1099511627776 at \[1, 1\]"),
        (np.array([[1, 2], [2**31, 3]], np.uint32), r"x holds 2147483648 at \[1, 0\]"),
        (np.array([[1, 2], [2**63, 3]], np.uint64), r"x holds 9223372036854775808 at \[1, 0\]"),
        (np.array([[1.0, 2.0], [3e9, 3.0]]), r"x holds 3000000000.0 at \[1, 0\]"),
    ],
)
def test_what_int32_does_not_hold_is_refused_before_any_work(x: Any, shown: str) -> None:
    model = parity("int64")
    if x.dtype == np.uint64:
        model = parity("uint64")
    for road in of_x(model, x):
        with pytest.raises((OverflowError, ValueError), match=shown):
            road()
    assert model.get_weights()[0] == 0.0
    with pytest.raises(OverflowError, match="beyond int32"):
        Parity()(x if x.dtype.kind != "f" else x.astype(np.int64))


@pytest.mark.parametrize(
    ("dtype", "x", "expected"),
    [
        ("uint8", [[3, 300]], "whole numbers from 0 to 255"),
        ("int8", [[-129, 3]], "from -128 to 127"),
        ("int32", [[0.5, 1.0]], "whole numbers are"),
        ("int32", [[np.nan, 1.0]], "whole numbers are"),
        ("bool", [[0, 2]], "0 and 1"),
        ("uint16", [[-1, 0]], "from 0 to 65535"),
        ("int32", [[2**31, 0]], "whole numbers from -2147483648 to 2147483647"),
    ],
)
def test_data_are_of_the_dtype_that_was_declared(dtype: str, x: Any, expected: str) -> None:
    model = gpunn.Sequential([gpunn.Input((2,), dtype=dtype), layers.Lambda(lambda x: x)])
    with pytest.raises(ValueError, match=expected):
        model.predict(np.array(x), verbose=0)


class ByHand(layers.Layer):
    def forward(self, call: Any) -> None:
        call.backend.xp.copyto(call.y, call.x)


class OfFloats(gpunn.Model):
    def call(self, x: Any, training: Any = None) -> Any:
        return x * 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: gpunn.Sequential([gpunn.Input((2,)), layers.Lambda(lambda x: x * 1.0)]),
        lambda: gpunn.Sequential([layers.Lambda(lambda x: x * 1.0)]),
        lambda: gpunn.Sequential(
            [gpunn.Input((2,)), layers.Flatten(), layers.Lambda(lambda x: x * 1.0)]
        ),
        lambda: gpunn.Sequential([gpunn.Input((2,)), ByHand()]),
        lambda: gpunn.Sequential([gpunn.Input((2,), dtype="int64"), ByHand()]),
        lambda: gpunn.Model(x := gpunn.Input((2,)), x * 1.0),
        OfFloats,
    ],
)
def test_integers_that_floats_would_change_are_refused_where_they_would_be_seen(
    make: Callable[[], Any],
) -> None:
    made = make()
    with pytest.raises(
        ValueError, match=rf"x holds {ODD} at \[0, 0\].*Input\(shape, dtype='int32'\)"
    ):
        made.predict(X, verbose=0)
    exact = np.array([[2**24, 2**30], [3, -(2**31)]])  # exactly representable in float32
    found = made.predict(exact, verbose=0)
    assert_array_equal(found, exact)
    assert_array_equal(made.predict(X.astype(np.float32), verbose=0), X.astype(np.float32))


def test_float64_models_hold_them() -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Lambda(lambda x: x % 2)], dtype="float64")
    assert_array_equal(model.predict(X, verbose=0), X % 2)
    with pytest.raises(ValueError, match=f"x holds {2**53 + 1} at"):
        model.predict(np.array([[2**53 + 1, 0]]), verbose=0)


@pytest.mark.parametrize("kind", ["function", "class"])
def test_targets_of_a_custom_loss_are_exact_or_refused(kind: str, backend: str) -> None:
    def function(y_true: Any, y_pred: Any) -> Any:
        return ops.abs(y_true - (2**24 + 2.0)) + 0.0 * y_pred

    class Own(gpunn.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return function(y_true, y_pred)

    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)], backend=backend)
    model.compile(
        gpunn.optimizers.SGD(0.0), function if kind == "function" else Own(), metrics=[function]
    )
    x, y = np.ones((2, 1)), np.array([[2**24 + 2], [2**24 + 4]])
    assert model.train_on_batch(x, y) == [1.0, 1.0]
    wrong = np.array([[5], [ODD]])
    for road in (
        lambda: model.fit(x, wrong, verbose=0),
        lambda: model.evaluate(x, wrong, verbose=0),
        lambda: model.train_on_batch(x, wrong),
        lambda: model.fit(iter([(x, wrong)]), verbose=0),
        lambda: model.fit(x, wrong.tolist(), verbose=0),
        lambda: model.fit(x, pd.Series(wrong[:, 0]), verbose=0),
    ):
        with pytest.raises(ValueError, match=rf"y holds {ODD} at \[1(, 0)?\].*dtype='float64'"):
            road()
    wide = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)], backend=backend, dtype="float64")
    wide.compile(gpunn.optimizers.SGD(0.0), function)
    assert wide.train_on_batch(x, wrong) == (2**24 + 2.0 - 5 + 1) / 2


@pytest.mark.parametrize("kind", ["function", "class"])
def test_targets_of_a_custom_metric_are_exact_or_refused(kind: str, backend: str) -> None:
    def above(y_true: Any, y_pred: Any) -> Any:
        return y_true - 2.0**24

    class Above(gpunn.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="above")
            self.total = self.add_weight(name="total")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(ops.sum(above(y_true, y_pred)) / 2)

        def result(self) -> Any:
            return self.total

    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)], backend=backend)
    metric: Any = above if kind == "function" else Above()
    model.compile("sgd", "mae", metrics=[metric])
    x, y = np.ones((2, 1)), np.array([[2**24 + 2], [2**24 + 4]])
    assert model.evaluate(x, y, verbose=0)[1] == 3.0
    with pytest.raises(ValueError, match=rf"y holds {ODD} at \[0, 0\]"):
        model.evaluate(x, y - 1, verbose=0)
    model.compile("sgd", "mae")  # which computes with floats
    assert model.evaluate(x, y - 1, verbose=0) > 2**23


def test_metrics_by_hand_compare_integers_exactly() -> None:
    metric = gpunn.metrics.Accuracy()
    metric.update_state(np.array([ODD, 5, 7]), np.array([ODD - 1, 5, 8]))
    assert metric.result() == pytest.approx(1 / 3)
    wrapped = gpunn.metrics.MeanMetricWrapper(lambda t, p: ops.abs(t - p))
    assert float(wrapped([ODD], [ODD - 1])) == 1.0


def test_a_custom_loss_called_by_hand_is_exact_or_refused() -> None:
    class Own(gpunn.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return y_true - y_pred

    assert float(Own()(np.array([2**24 + 2]), [0.0])) == 2**24 + 2
    with pytest.raises(ValueError, match=f"y_true holds {ODD}"):
        Own()(np.array([ODD]), [0.0])


def test_class_numbers_beyond_float32_are_distinguished() -> None:
    loss = gpunn.losses.SparseCategoricalCrossentropy(ignore_class=2**31 - 1)
    y = np.array([2, 2**31 - 1])
    p = np.full((2, 3), 1 / 3)
    np.testing.assert_allclose(float(loss(y, p)), np.log(3), 1e-6)
    with pytest.raises(ValueError, match="16777217"):
        gpunn.losses.SparseCategoricalCrossentropy()(np.array([ODD]), p[:1])
    with pytest.raises(ValueError, match="ignore_class"):
        gpunn.losses.SparseCategoricalCrossentropy(ignore_class=2**32)
