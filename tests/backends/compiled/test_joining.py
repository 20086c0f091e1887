"""Gradients and updates joined into one operation: no bit of a training changes by it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, optimizers
from gpunn.backends.compiled import cpu_kernels, joining
from gpunn.backends.compiled.joining import join_updates
from gpunn.utils import set_random_seed

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))


def network(units: Any, inputs: int, dtype: str = "float32", **dense: Any) -> gpunn.Sequential:
    set_random_seed(0)
    hidden = [layers.Dense(n, activation="relu", **dense) for n in units]
    stack = [layers.Input((inputs,)), *hidden, layers.Dense(10, activation="softmax")]
    return gpunn.Sequential(stack, backend="compiled", dtype=dtype)


def trained(
    model: gpunn.Sequential, batch: int, optimizer: Any, zeros: float, together: bool
) -> list[np.ndarray]:
    """Return the weights and the gradients of the last step after two epochs.

    The last batch is smaller. Steps run together, or one at a time, each of which stores its
    gradients.
    """
    model.compile(optimizer, "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    rows = 5 * batch + batch // 2
    x = rng.random((rows, *model.input_shape[1:]))
    x[rng.random(x.shape) < zeros] = 0
    look = gpunn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    callbacks = [] if together else [look]
    y = rng.integers(0, 10, rows)
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0, callbacks=callbacks)
    return [*model.get_weights(), *model.gradients().values()]


OPTIMIZERS = [
    (optimizers.Adadelta, {}), (optimizers.Adagrad, {}), (optimizers.Adam, {}),
    (optimizers.Adam, {"amsgrad": True}), (optimizers.Adamax, {}), (optimizers.AdamW, {}),
    (optimizers.Lamb, {}), (optimizers.Lion, {}), (optimizers.Nadam, {}),
    (optimizers.RMSprop, {}), (optimizers.RMSprop, {"momentum": 0.9}),
    (optimizers.RMSprop, {"centered": True}),
    (optimizers.RMSprop, {"centered": True, "momentum": 0.9}), (optimizers.SGD, {}),
    (optimizers.SGD, {"momentum": 0.9}), (optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    (optimizers.Adam, {"use_ema": True}),
    (optimizers.Adam, {"gradient_accumulation_steps": 2}), (optimizers.Adam, {"clipnorm": 0.1}),
    (optimizers.Adam, {"learning_rate": optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_optimizer(kind: Any, options: dict[str, Any], dtype: str) -> None:
    found = [
        trained(network((96, 40), 300, dtype), 16, kind(**options), 0.7, together)
        for together in (True, False)
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.85])
@pytest.mark.parametrize(
    ("units", "inputs", "batch"),
    [
        ((128,), 784, 32), ((1024, 513), 256, 33), ((300,), 40, 600), ((10, 700), 1030, 10),
        ((260, 260), 9, 300), ((1500,), 1100, 1), ((2500, 300), 40, 5), ((1,), 5000, 16),
        ((1,), 9, 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_shape(units: Any, inputs: int, batch: int, dtype: str, zeros: float) -> None:
    found = [
        trained(network(units, inputs, dtype), batch, optimizers.Adam(), zeros, together)
        for together in (True, False)
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "dense",
    [
        {"kernel_regularizer": "l2"}, {"kernel_constraint": gpunn.constraints.MaxNorm(0.5)},
        {"use_bias": False}, {"connections": np.arange(300 * 96).reshape(300, 96) % 7 > 0},
    ],
)  # fmt: skip
def test_what_reads_or_changes_gradients_still_does(dense: dict[str, Any]) -> None:
    found = []
    for together in (True, False):
        model = network((96,), 300, **dense)
        found.append(trained(model, 16, optimizers.Adam(), 0.3, together))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_frozen_layer_and_one_with_a_rate_of_its_own() -> None:
    found = []
    for together in (True, False):
        model = network((96, 50), 300)
        model.layers[0].trainable = False
        model.layers[1].learning_rate_multiplier = 0.25
        found.append(trained(model, 16, optimizers.Adam(), 0.3, together))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


# -- the gradient of a table


def texts(words: int, width: int, dtype: str = "float32", again: bool = False) -> gpunn.Model:
    """A network that reads rows of a table, some very often; ``again``: a second reader."""
    set_random_seed(0)
    table = layers.Embedding(words, width)
    x = layers.Input((30,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(table(x))
    if again:
        y = layers.Concatenate()([y, layers.Flatten()(table(x[:, :3]))])
    y = layers.Dense(10, activation="softmax")(y)
    return gpunn.Model(x, y, backend="compiled", dtype=dtype)


def trained_on_texts(model: Any, optimizer: Any, together: bool) -> list[np.ndarray]:
    model.compile(optimizer, "sparse_categorical_crossentropy")
    rng, words = np.random.default_rng(0), model.layers[1].input_dim
    x = (rng.zipf(1.3, (70, 30)) % words).astype(np.int32)
    look = gpunn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    y = rng.integers(0, 10, 70)
    model.fit(
        x, y, batch_size=16, epochs=3, verbose=0, callbacks=[] if together else [look]
    )
    return [*model.get_weights(), *model.gradients().values()]


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the operations in programs that are made from now on."""
    names: list[str] = []
    def recorded(calls: Any, operations: Any) -> Any:
        found = join_updates(calls, operations)
        names.extend(call.key[0] for call in found)
        return found

    monkeypatch.setattr(joining, "join_updates", recorded)
    return names


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_with_each_optimizer(kind: Any, options: dict[str, Any], dtype: str) -> None:
    found = [
        trained_on_texts(texts(4000, 40, dtype), kind(**options), together)
        for together in (True, False)
    ]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("words", "width"), [(20_000, 7), (64, 2500), (5, 30_000), (140_000, 1), (9000, 64)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tables_of_each_shape(
    words: int, width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are updated, also those that no batch reads, as their means still decay."""
    names = calls_of(monkeypatch)
    found = [
        trained_on_texts(texts(words, width, dtype), optimizers.Adam(), together)
        for together in (True, False)
    ]
    assert "scatter_update" in names or cpu_kernels.chosen() == "baseline"  # BLAS is used
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_table_with_two_readers_is_updated_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls_of(monkeypatch)
    found = [
        trained_on_texts(texts(4000, 40, again=True), optimizers.Adam(), together)
        for together in (True, False)
    ]
    assert "scatter_update" not in names
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_weight_that_is_not_finite_makes_the_outputs_nan_where_inputs_are_zero() -> None:
    model = network((64,), 300)
    kernel = model.layers[0].get_weights()[0]
    kernel[7, 5] = np.inf
    model.layers[0].set_weights([kernel, np.zeros(64)])
    x = np.zeros((64, 300), np.float32)
    x[:, 0] = 1
    assert np.isnan(model.predict(x, verbose=0)).all()


def test_an_interrupted_run_leaves_the_gradients_of_its_last_step() -> None:
    """A step changes no weight here, so the gradients of all steps are the same."""
    model = network((128,), 784)
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).random((32, 784)), np.arange(32) % 10
    model.fit(x, y, batch_size=32, epochs=1, verbose=0, shuffle=False)
    wanted = {path: array.copy() for path, array in model.gradients().items()}
    x, y = np.tile(x, (4000, 1)), np.tile(y, 4000)
    timer = threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=32, epochs=1000, verbose=0, shuffle=False)
    for path, array in model.gradients().items():
        np.testing.assert_array_equal(array, wanted[path])
