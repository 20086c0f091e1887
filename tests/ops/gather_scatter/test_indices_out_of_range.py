"""An index out of range raises an error that names it, anywhere in a model.

On the host, the error comes from the step itself, before it has changed a weight; on a GPU, as soon
as the program waits for the results of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers, losses, ops

ROWS, BATCH, BAD_BATCH = 20, 4, 2
HOSTS = ("numpy", "compiled")
THIS_FILE = Path(__file__).name


class Lookup(layers.Layer):
    """Apply an operation to a table of six rows, with integers from the input data."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight((6, 3), "uniform", name="table")

    def call(self, x: Any) -> Any:
        places = ops.cast(x, "int32")  # (batch, 2)
        found = self.function(self.table, places)
        return ops.reshape(found, (x.shape[0], -1))


def rows_of(table: Any, places: Any) -> Any:
    """Return the table for each sample (batch, 6, 3)."""
    return ops.broadcast_to(table, (places.shape[0], *table.shape))


# Operations that read or write by index: a function of the table and of the indices (batch, 2), and
# a value for the first index that is out of range.
OPERATIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "take": (lambda t, i: ops.take(t, i, 0), 6),
    "take from the end": (lambda t, i: ops.take(t, i, 0), -7),
    "take of columns": (lambda t, i: ops.take(t, i[:, 0], 1).T, 3),
    "take of all": (lambda t, i: ops.take(t, i), 18),
    "take far away": (lambda t, i: ops.take(t, i, 0), 2**30),
    "take_along_axis": (lambda t, i: ops.take_along_axis(rows_of(t, i)[:, :, 0], i, 1), 6),
    "x[places]": (lambda t, i: t[i], 6),
    "x[:, places]": (lambda t, i: t[:, i[:, 0]].T, 3),
    "x[places, places]": (lambda t, i: t[i[:, 0], i[:, 1]], -7),
    "x[0, places]": (lambda t, i: t[0, i[:, 0]], 3),
    "scatter": (
        lambda t, i: ops.scatter(i[:, :1], rows_of(t, i)[:, 0], (i.shape[0], 3)), BATCH
    ),
    "scatter of two": (
        lambda t, i: ops.scatter(i, t[0, 0] + i[:, 0] * 0.0, (i.shape[0], 4)), -BATCH - 1
    ),
    "scatter_update": (
        lambda t, i: ops.scatter_update(t, i[:, :1], rows_of(t, i)[:, 0])[i[:, 0]], 6
    ),
    "scatter_update add": (
        lambda t, i: ops.scatter_update(t, i[:, :1], rows_of(t, i)[:, 0], "add")[i[:, 0]], -7
    ),
    "bincount": (lambda t, i: ops.bincount(i, t[0, 0] + i * 0.0, 6), -1),
    "bincount of many": (lambda t, i: ops.bincount(i, t[0, 0] + i * 0.0, 6), 6),
    "unravel_index": (lambda t, i: ops.stack(ops.unravel_index(i, (2, 3))) + t[0, 0], 6),
    "sparse_categorical_crossentropy": (
        lambda t, i: ops.sparse_categorical_crossentropy(i[:, 0], rows_of(t, i)[:, 0]), 3
    ),
    "losses.sparse_categorical_crossentropy": (
        lambda t, i: losses.sparse_categorical_crossentropy(i[:, 0], rows_of(t, i)[:, 0]), -1
    ),
}  # fmt: skip
CALLED = {
    "losses.sparse_categorical_crossentropy": "sparse_categorical_crossentropy: labels",
    "x[:, places]": r"x\[indices\]: indices", "x[places, places]": r"x\[indices\]: indices",
    "x[0, places]": r"x\[indices\]: indices", "x[places]": r"x\[indices\]: indices",
    "bincount of many": "bincount: values", "scatter_update add": "scatter_update: indices",
}  # fmt: skip


def make(name: str, backend: Any) -> Any:
    gpunn.utils.set_random_seed(3)
    x = layers.Input((2,))
    normal = layers.BatchNormalization()(x)  # its moving averages are weights, too
    joined = layers.Concatenate()([normal, Lookup(OPERATIONS[name][0])(x)])
    model = gpunn.Model(x, layers.Dense(1)(joined), backend=backend)
    model.compile(gpunn.optimizers.Adam(0.1), "mse")
    return model


def data(bad: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return valid indices, except for one in the middle of a batch."""
    x = np.random.default_rng(0).integers(0, 3, (ROWS, 2)).astype(np.float32)
    if bad is not None:
        x[BAD_BATCH * BATCH + 1, 0] = bad
    return x, np.ones((ROWS, 1), np.float32)


def refused(name: str) -> Any:
    bad = OPERATIONS[name][1]
    words = name.split()[0]
    called = CALLED.get(name, words)
    line = rf"{THIS_FILE} line \d+"
    text = rf"{called}.* must be from .*{line}; got {bad} in a step"
    return pytest.raises(IndexError, match=text)


ON_NUMPY = ("take", "take_along_axis", "scatter of two", "sparse_categorical_crossentropy")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(n, b, marks=pytest.mark.more if b == "numpy" and n not in ON_NUMPY else ())
        for n in OPERATIONS
        for b in HOSTS
    ],
)
def test_fit_stops_in_that_step(name: str, backend: str) -> None:
    x, y = data(OPERATIONS[name][1])
    model, other = make(name, backend), make(name, backend)
    with refused(name):
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    before = BAD_BATCH * BATCH
    other.fit(x[:before], y[:before], batch_size=BATCH, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        assert_array_equal(found, expected)
    good = data(None)
    for again in (model, other):  # as if the failure had not happened
        again.fit(*good, batch_size=BATCH, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        assert_array_equal(found, expected)
    assert_array_equal(model.predict(good[0], verbose=0), other.predict(good[0], verbose=0))


CALLS: dict[str, Callable[[Any, np.ndarray, np.ndarray], Any]] = {
    "fit": lambda m, x, y: m.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0),
    "fit of a generator": lambda m, x, y: m.fit(
        ((x[k : k + BATCH], y[k : k + BATCH]) for k in range(0, ROWS, BATCH)), verbose=0,
        steps_per_epoch=ROWS // BATCH,
    ),
    "evaluate": lambda m, x, y: m.evaluate(x, y, batch_size=BATCH, verbose=0),
    "validation": lambda m, x, y: m.fit(*data(None), validation_data=(x, y), verbose=0),
    "predict": lambda m, x, y: m.predict(x, batch_size=BATCH, verbose=0),
    "predict at once": lambda m, x, y: m.predict(x, verbose=0),
    "train_on_batch": lambda m, x, y: m.train_on_batch(x, y),
    "test_on_batch": lambda m, x, y: m.test_on_batch(x, y),
    "predict_on_batch": lambda m, x, y: m.predict_on_batch(x),
    "model(x)": lambda m, x, y: m(x),
    "activations": lambda m, x, y: m.activations(x),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_each_call_of_a_model_refuses(call: str, every_backend: str) -> None:
    x, y = data(6)
    model = make("take", every_backend)
    good = model.predict(data(None)[0], verbose=0)
    with refused("take"):
        CALLS[call](model, x, y)
    if call not in ("fit", "fit of a generator", "train_on_batch", "validation"):
        assert_array_equal(model.predict(data(None)[0], verbose=0), good)
    CALLS[call](model, *data(None))  # as if the failure had not happened


@pytest.mark.parametrize("mode", ["plain", "fused", "persistent"])
def test_a_gpu_says_it_in_each_launch_mode(mode: str) -> None:
    model = make("take", emulated.make_backend(mode))
    with refused("take"):
        model.fit(*data(6), batch_size=BATCH, shuffle=False, verbose=0)
    model.fit(*data(None), batch_size=BATCH, epochs=2, verbose=0)
    for _ in range(2):
        with refused("take"):
            model.train_on_batch(*data(6))


def test_a_gpu_says_it_after_other_programs(every_backend: str) -> None:
    """Programs of many batch sizes are created, and old ones are dropped."""
    model, (x, y), (bad_x, bad_y) = make("take", every_backend), data(None), data(6)
    sizes = range(10, 20)
    for size in sizes:
        model.train_on_batch(x[:size], y[:size])
    for size in sizes:
        with refused("take"):
            model.train_on_batch(bad_x[:size], bad_y[:size])


@pytest.mark.parametrize("name", ["take", "take_along_axis", "scatter of two"])
def test_eager_steps_refuse_it_where_it_is_asked_for(name: str, every_backend: str) -> None:
    model = make(name, every_backend)
    model.compile("sgd", "mse", run_eagerly=True)
    words = OPERATIONS[name][0].__code__.co_firstlineno
    with pytest.raises(IndexError, match=rf"{THIS_FILE} line {words}"):
        model.fit(*data(OPERATIONS[name][1]), batch_size=BATCH, verbose=0)


def by_class(y_true: Any, y_pred: Any) -> Any:
    return ops.take_along_axis(y_pred, ops.cast(y_true, "int32"), 1)[:, 0]


OWN: dict[str, dict[str, Any]] = {
    "a loss": {"loss": by_class},
    "a metric": {"loss": "mse", "metrics": [by_class]},
    "losses weighted": {"loss": by_class, "weighted_metrics": [by_class]},
}


@pytest.mark.parametrize("what", OWN)
def test_custom_functions_refuse_it(what: str, every_backend: str) -> None:
    def made() -> Any:
        gpunn.utils.set_random_seed(0)
        model = gpunn.Sequential([layers.Input((2,)), layers.Dense(3)], backend=every_backend)
        model.compile("sgd", **OWN[what])
        return model

    x, y = np.ones((ROWS, 2), np.float32), np.zeros((ROWS, 3 if what == "a metric" else 1))
    model, other = made(), made()
    y[9, 0] = 3
    line = by_class.__code__.co_firstlineno + 1
    for call in (model.fit, model.evaluate):
        with pytest.raises(IndexError, match=f"take_along_axis.* line {line}; got 3 in a step"):
            call(x, y, batch_size=BATCH, verbose=0)
    if every_backend in HOSTS:
        model, y[9, 0] = made(), 0
        y[8, 0] = -4
        with pytest.raises(IndexError, match="got -4 in a step"):
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        other.fit(x[:8], y[:8], batch_size=8, verbose=0)
        for found, expected in zip(model.get_weights(), other.get_weights(), strict=True):
            assert_array_equal(found, expected)


def test_what_is_known_is_refused_eagerly() -> None:
    x = ops.ones((3, 4))
    for call, text in (
        (lambda: ops.take(x, [0, 5, -9], 0), "take: indices must be from -3 to 2; got -9 to 5"),
        (lambda: ops.take(x, 4, 1), "take: indices must be from -4 to 3; got 4"),
        (lambda: ops.take_along_axis(x, [[4]], 1), "take_along_axis: .* got 4"),
        (lambda: x[[0, 3]], r"x\[indices\]: indices must be from -3 to 2; got 3"),
        (lambda: ops.scatter([[3]], [1.0], (3,)), "scatter: .* got 3"),
        (lambda: ops.scatter_update(x, [[0, 4]], [1.0]), "scatter_update: .* got 4"),
        (lambda: ops.bincount([0, -1]), "bincount: values must be from 0 to 0; got -1"),
        (lambda: ops.take(ops.ones((0, 2)), [0], 0), "take: indices .* got 0"),
        (lambda: ops.unravel_index([6], (2, 3)), "unravel_index: .* from 0 to 5; got 6"),
    ):
        with pytest.raises(IndexError, match=text):
            call()
        with pytest.raises(ValueError, match=text):  # it is both, like NumPy's AxisError
            call()


def test_checks_of_other_values() -> None:
    """The mechanism itself: bounds of floats, NaN, and a custom error."""
    from gpunn.ops.gather_scatter.checks import checked

    class Halved(layers.Layer):
        def call(self, x: Any) -> Any:
            return checked(x / 2, -1.5, 2.0, "halves", OverflowError) + 1

    for backend in ("numpy", "compiled", "emulated"):
        model = gpunn.Sequential([layers.Input((2,)), Halved()], backend=backend)
        x = np.zeros((9, 2), np.float32)
        x[3] = 4.0, -3.0
        assert_array_equal(model.predict(x, verbose=0), x / 2 + 1)
        x[5] = 4.5, -7.0
        with pytest.raises(OverflowError, match=r"halves .* -1.5 to 2.*got -3.5 to 2.25.*, 2 such"):
            model.predict(x, verbose=0)
        model = gpunn.Sequential([layers.Input((2,)), layers.Lambda(ops.log), Halved()],
                                 backend=backend)  # fmt: skip
        with pytest.raises(OverflowError, match=r"got nan in a step"):
            model.predict(np.array([[1.0, -1.0]]), verbose=0)


def test_a_condition_for_each_row(every_backend: str) -> None:
    """A choice by rows, between values of each step and a constant."""

    class Chosen(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.where(ops.sum(x, -1, keepdims=True) > 0, x, 0.5)

    model = gpunn.Sequential([layers.Input((3,)), Chosen()], backend=every_backend)
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    expected = np.where(x.sum(-1, keepdims=True) > 0, x, np.float32(0.5))
    for _ in range(3):
        assert_array_equal(model.predict(x, verbose=0), expected)
