"""Test that a custom layer with a `call` does the same as built-in layers with the same formula."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from comparisons.custom_layers import (
    PAIRS,
    Linear,
    MLPBlock,
    Nested,
    Residual,
    SameDropout,
    SameNormalization,
)
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.testing import check_gradients

PAIRED = pytest.mark.parametrize("name", PAIRS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same initial weights in each run, so that no value moves onto a kink of ReLU."""
    gpunn.utils.set_random_seed(7)


def data(sample: tuple[int, ...], rows: int = 41) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(3).standard_normal((rows, *sample)).astype(np.float32)
    return x, (x.reshape(rows, -1)[:, 0] > 0).astype(np.int64)


def model_of(applied: Any, sample: tuple[int, ...], backend: Any, optimizer: Any = None) -> Any:
    """A Dense before and after the tested layer, so that its input has a gradient."""
    inputs = gpunn.Input(sample)
    x = layers.Dense(sample[-1], "tanh")(inputs)
    outputs = layers.Dense(2, "softmax")(layers.Flatten()(applied(x)))
    model = gpunn.Model(inputs, outputs, backend=backend)
    optimizer = optimizer or gpunn.optimizers.SGD(0.05, momentum=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def same_weights(own: Any, other: Any, drop: int = 0) -> None:
    """Give both models equal weights without special values; ``own`` may have more weights."""
    random = np.random.default_rng(5)
    new = [w + 0.1 * random.random(w.shape).astype(w.dtype) for w in other.get_weights()]
    other.set_weights(new)
    own.set_weights(new)


@PAIRED
def test_gradients_agree_with_differences(name: str, backend: str) -> None:
    pair = PAIRS[name]
    check_gradients(pair.own(), (3, *pair.sample), backend=backend)


@PAIRED
def test_ten_steps_are_those_of_built_in_layers(name: str, backend: str) -> None:
    pair = PAIRS[name]
    own = model_of(lambda x: pair.own()(x), pair.sample, backend)
    other = model_of(pair.built_in, pair.sample, backend)
    if name == "Swish":
        own.layers[2].trainable = False
        weights = own.get_weights()
        other.set_weights(weights[:2] + weights[3:])
    else:
        same_weights(own, other)
    x, y = data(pair.sample)
    options = {"batch_size": 9, "epochs": 2, "verbose": 0, "shuffle": False}  # the last has 5
    first, second = own.fit(x, y, **options).history, other.fit(x, y, **options).history
    assert first.keys() == second.keys()
    assert_allclose(first["loss"], second["loss"], rtol=2e-5)
    assert_allclose(own.predict(x, verbose=0), other.predict(x, verbose=0), rtol=2e-4, atol=1e-5)
    assert_allclose(own.evaluate(x, y, verbose=0), other.evaluate(x, y, verbose=0), rtol=1e-4)
    mine = own.get_weights() if name != "Swish" else own.get_weights()[:2] + own.get_weights()[3:]
    for a, b in zip(mine, other.get_weights(), strict=True):
        assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@PAIRED
def test_a_first_layer_learns_too(name: str) -> None:
    pair = PAIRS[name]
    model = gpunn.Sequential(
        [layers.Input(pair.sample), pair.own(), layers.Flatten(), layers.Dense(2, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    before = [np.array(w) for w in model.layers[0].trainable_weights]
    model.fit(*data(pair.sample), verbose=0)
    for old, new in zip(before, model.layers[0].trainable_weights, strict=True):
        assert not np.array_equal(old, new), new.path


@PAIRED
def test_a_saved_model_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    pair = PAIRS[name]
    model = model_of(lambda x: pair.own()(x), pair.sample, None, "adam")
    x, y = data(pair.sample)
    model.fit(x, y, batch_size=9, epochs=1, verbose=0)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    logs = [m.fit(x, y, batch_size=9, epochs=2, verbose=0).history for m in (model, again)]
    assert logs[0] == logs[1]
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_threads_predict_at_the_same_time(backend: str) -> None:
    model = model_of(lambda x: Nested()(x), (6,), backend)
    x, _ = data((6,), 300)
    expected = model.predict(x, verbose=0)
    with ThreadPoolExecutor(4) as threads:
        for got in threads.map(lambda _: model.predict(x, verbose=0), range(12)):
            assert np.array_equal(got, expected)


def test_dropout_inside_drops_in_training_alone(backend: str) -> None:
    layer = Residual(0.5)
    x = np.ones((50, 4), np.float32)
    assert np.array_equal(layer(x), layer(x))
    assert not np.array_equal(layer(x, training=True), layer(x, training=True))
    own = model_of(lambda x: SameDropout(0.5)(x), (6,), backend)
    plain = model_of(lambda x: x, (6,), backend)
    same_weights(own, plain)
    x, y = data((6,))
    assert_allclose(own.evaluate(x, y, verbose=0), plain.evaluate(x, y, verbose=0), rtol=1e-6)
    losses = [m.fit(x, y, verbose=0).history["loss"] for m in (own, plain)]
    assert losses[0] != losses[1]


def test_moving_averages_follow_in_training_alone(backend: str) -> None:
    model = gpunn.Sequential([layers.Input((3,)), SameNormalization(momentum=0.5)], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    x = np.random.default_rng(0).normal(4.0, 2.0, (20, 3)).astype(np.float32)
    model.predict(x, verbose=0)
    model.evaluate(x, x, verbose=0)
    assert_allclose(model.get_weights()[2], 0.0)
    model.fit(x, x, batch_size=20, epochs=1, verbose=0)
    assert_allclose(model.get_weights()[2], 0.5 * x.mean(axis=0), rtol=1e-5)
    assert_allclose(model.get_weights()[3], 0.5 + 0.5 * x.var(axis=0), rtol=1e-5)


def test_a_layer_that_stands_twice_adds_up_its_gradients(backend: str) -> None:
    block = Nested()
    check_gradients([block, layers.Dense(6), block], (4, 6), backend=backend)


# -- weights


def test_weights_have_the_order_and_the_names_that_keras_gives_them() -> None:
    layer = MLPBlock(name="block")
    layer.linear_1.name, layer.linear_2.name, layer.linear_3.name = "one", "two", "three"
    model = gpunn.Sequential([layers.Input((2,)), layer])
    paths = [w.path for w in layer.weights]
    assert paths == [
        "block/one/w", "block/one/b", "block/two/kernel", "block/two/bias", "block/three/w",
        "block/three/b",
    ]  # fmt: skip
    assert [w.shape for w in model.get_weights()] == [(2, 8), (8,), (8, 5), (5,), (5, 3), (3,)]
    assert layer.count_params() == model.count_params() == 2 * 8 + 8 + 8 * 5 + 5 + 5 * 3 + 3
    given = [np.full(w.shape, k) for k, w in enumerate(layer.weights)]
    layer.set_weights(given)
    for k, w in enumerate(model.get_weights()):
        assert (w == k).all()


def test_freezing_a_layer_freezes_those_inside() -> None:
    layer = Nested()
    model = model_of(lambda x: layer(x), (6,), "numpy")
    trained = len(layer.trainable_weights)
    assert trained == len(layer.weights) - 2  # those of the moving averages
    layer.trainable = False
    assert layer.trainable_weights == []
    assert not layer.first.cell.trainable
    before = layer.get_weights()
    model.fit(*data((6,)), verbose=0)
    for old, new in zip(before, layer.get_weights(), strict=True):
        assert np.array_equal(old, new)
    layer.trainable = True
    assert len(layer.trainable_weights) == trained
    layer.first.cell.trainable = False
    assert len(layer.trainable_weights) == trained - 2
    before = layer.first.get_weights(), layer.norm.get_weights()
    model.fit(*data((6,)), verbose=0)
    assert np.array_equal(before[0][0], layer.first.get_weights()[0])
    assert not np.array_equal(before[1][0], layer.norm.get_weights()[0])


def test_a_layer_made_frozen_stays_so() -> None:
    layer = MLPBlock(trainable=False)
    gpunn.Sequential([layers.Input((2,)), layer])
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 6


def test_penalties_and_constraints_of_weights_are_obeyed(backend: str) -> None:
    class Scaled(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(
                (input_shape[-1],), "ones", regularizer="l2", constraint="non_neg", name="scale"
            )
            self.steps = self.add_weight((), "zeros", trainable=False, name="steps")

        def call(self, x: Any) -> Any:
            return x * self.scale

    model = gpunn.Sequential([layers.Input((2,)), Scaled()], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.5), "mse")
    x = np.array([[1.0, -3.0]], np.float32)
    assert model.evaluate(x, x, verbose=0) == pytest.approx(2 * 0.01, rel=1e-5)
    model.fit(x, -x, epochs=1, verbose=0)
    # By hand: w - 0.5 (dL/dw + 2 0.01 w), with dL/dw = 2 (x - y) x / 2, and at least 0.
    expected = np.maximum(1 - 0.5 * (2 * x[0] ** 2 + 0.02), 0)
    assert_allclose(model.get_weights()[0], expected, atol=1e-6)
    assert model.get_weights()[1] == 0


def test_a_number_of_the_layer_that_changes_between_epochs_is_obeyed(backend: str) -> None:
    class Scaled(layers.Layer):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Scaled(1.0)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    layer = Outer()
    model = gpunn.Sequential([layers.Input((1,)), layer], backend=backend)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32)

    class Anneal(gpunn.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            layer.inner.factor = 1.0 / (epoch + 1)

    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[Anneal()]).history
    assert_allclose(history["loss"], [1.0, 1 / 4, 1 / 9], rtol=1e-6)
    assert_allclose(model.predict(x, verbose=0), 1 / 3, rtol=1e-6)
    layer.inner.factor = 5.0
    assert_allclose(model.predict(x, verbose=0), 5.0)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(25.0)


def test_arguments_of_the_constructor_are_its_config() -> None:
    config = Linear(7, name="mine").get_config()
    assert config == {"name": "mine", "trainable": True, "units": 7}
    assert Linear.from_config(config).units == 7


def test_computes_on_arrays_by_itself() -> None:
    layer = Linear(2)
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert_allclose(layer(x), x @ layer.get_weights()[0], rtol=1e-6)
    assert layer.compute_output_shape((None, 3)) == (None, 2)
    assert ops.convert_to_numpy(layer.w).shape == (3, 2)


def test_a_layer_inside_learns_from_constants_too(backend: str) -> None:
    """Its input is a constant of the trace, but its weights are not."""

    class Offset(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.learned = layers.Dense(1, use_bias=False, kernel_initializer="zeros")

        def call(self, x: Any) -> Any:
            return x + self.learned(ops.ones((x.shape[0], 2)))

    model = gpunn.Sequential([layers.Input((1,)), Offset()], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.25), "mse")
    x = np.zeros((8, 1), np.float32)
    model.fit(x, x + 3.0, batch_size=8, epochs=1, verbose=0)
    # One step from 0: the gradient of (2 w - 3)^2 for each of the two weights is -6.
    assert_allclose(model.get_weights()[0], [[1.5], [1.5]], rtol=1e-6)


@pytest.mark.traced
def test_of_a_relu_only_its_result_is_kept(backend: str) -> None:
    """The derivative follows from the result, so the input of the relu is not stored."""

    class Rectified(Linear):
        def call(self, x: Any) -> Any:
            return ops.relu(super().call(x))

    rows, width = 41, 6
    model = model_of(lambda x: Rectified(width)(x), (width,), backend)
    x, y = data((width,), rows)
    model.fit(x, y, batch_size=rows, epochs=1, verbose=0)
    with model.backend.profile() as operations:
        model.fit(x, y, batch_size=rows, epochs=1, verbose=0)
    forward = next(operation for operation in operations if operation.name == "expression")
    read, written = rows * width + width, rows * width
    assert forward.bytes == 4 * (read + written)
