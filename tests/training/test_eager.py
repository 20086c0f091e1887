"""Test eager steps: custom code runs in each step, sees values, and gives the same results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

ROOT = Path(__file__).parents[2]
ROWS = 10


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = gpunn.config.runs_eagerly()
    yield
    gpunn.config.run_eagerly(before)


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 3)).astype(np.float32)
    return x, random.normal(size=(ROWS, 2)).astype(np.float32)


class Everything(layers.Layer):
    """Inner layers, a weight, state, an added loss and random numbers."""

    def build(self, input_shape: Any) -> None:
        self.beta = self.add_weight(shape=(), initializer="ones")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        # A bias here has a gradient of 0 but for rounding, of which Adam makes whole steps.
        self.inner = [layers.Dense(input_shape[-1], use_bias=False), layers.BatchNormalization()]
        self.drop = layers.Dropout(0.3)

    def call(self, x: Any, training: Any = None) -> Any:
        h = x
        for layer in self.inner:
            h = layer(h)
        h = self.drop(h)
        if training:
            self.count.assign_add(1.0)
        self.add_loss(1e-3 * ops.mean(h**2))
        noise = 0.1 * gpunn.random.normal(h.shape)
        return h * ops.sigmoid(self.beta * h) + 0.01 * self.count + x + noise


class Mean(gpunn.metrics.Metric):
    """The mean of the predictions."""

    def __init__(self) -> None:
        super().__init__(name="mean")
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(y_pred))
        self.count.assign_add(ops.size(y_pred))

    def result(self) -> Any:
        return self.total / self.count


def loss(t: Any, p: Any) -> Any:
    return ops.mean((t - p) ** 2, axis=-1)


def far(t: Any, p: Any) -> Any:
    return ops.max(ops.abs(t - p), axis=-1)


def results(backend: str, everywhere: bool, asked: bool) -> list[Any]:
    gpunn.config.run_eagerly(everywhere)
    gpunn.random.set_random_seed(3)
    hidden = layers.Dense(
        5, activation=lambda x: x * ops.tanh(x),
        kernel_regularizer=lambda w: 1e-3 * ops.sum(ops.abs(w)),
    )  # fmt: skip
    model = gpunn.Sequential(
        [gpunn.Input((3,)), hidden, Everything(), layers.Dense(2)], backend=backend
    )
    model.compile("adam", loss, metrics=[far, Mean()], run_eagerly=asked)
    x, y = data()
    history = model.fit(x, y, batch_size=4, epochs=3, verbose=0, validation_data=(x, y)).history
    evaluated = model.evaluate(x, y, verbose=0)
    return [*history.values(), evaluated, model.predict(x, verbose=0), *model.get_weights()]


@pytest.mark.parametrize("asked", [False, True])
def test_the_results_are_the_same(backend: str, asked: bool) -> None:
    traced = results(backend, False, False)
    for own, other in zip(results(backend, not asked, asked), traced, strict=True):
        assert_allclose(own, other, 1e-5, 1e-6)


class Looking(layers.Layer):
    """Reads the values of its input and branches on them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []
        self.large = 0

    def call(self, x: Any) -> Any:
        self.seen.append(x.numpy())
        if float(ops.max(x)) > 1:
            self.large += 1
            return x * 2
        return x


def test_numbers_are_there(backend: str) -> None:
    gpunn.config.run_eagerly(True)
    layer, (x, y) = Looking(), data()
    model = gpunn.Sequential([gpunn.Input((3,)), layer, layers.Dense(2)], backend=backend)
    model.compile("sgd", "mse")
    layer.seen.clear()
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    batches = [x[:4], x[4:8], x[8:]]
    seen = [array for array in layer.seen if array.any()]  # without the 0s of shape inference
    for array, expected in zip(seen, 2 * batches, strict=True):
        assert_allclose(array, expected)
    assert layer.large == 2 * sum(batch.max() > 1 for batch in batches)
    chosen = np.where(x.max() > 1, 2, 1) * x
    kernel, bias = model.get_weights()
    assert_allclose(model.predict(x, verbose=0), chosen @ kernel + bias, 1e-5, 1e-6)


def test_it_can_be_asked_for_at_any_time(backend: str) -> None:
    called = []

    class Counted(layers.Layer):
        def call(self, x: Any) -> Any:
            called.append(1)
            return 2 * x

    gpunn.config.run_eagerly(False)
    model = gpunn.Sequential([gpunn.Input((3,)), Counted(), layers.Dense(2)], backend=backend)
    model.compile("sgd", "mse")
    x, y = data()

    def calls(work: Any) -> int:
        called.clear()
        work()
        return len(called)

    def fit() -> Any:
        return model.fit(x, y, batch_size=2, epochs=4, verbose=0)

    def predict() -> Any:
        return model.predict(x, verbose=0)

    assert calls(fit) < 20 and calls(predict) < 5
    assert not calls(fit) and not calls(predict)
    gpunn.config.run_eagerly(True)
    assert calls(fit) >= 20 and calls(predict) and calls(predict)
    gpunn.config.run_eagerly(False)
    assert calls(fit) < 20
    model.run_eagerly = True
    assert calls(fit) >= 20 and calls(predict) and calls(predict)


def test_functions_that_are_differentiated_have_numbers() -> None:
    gpunn.config.run_eagerly(True)
    seen = []

    def cube(x: Any) -> Any:
        seen.append(float(x))
        return x**3 if x > 0 else -x

    assert gpunn.grad(cube)(2.0).item() == 12.0
    assert gpunn.grad(cube)(-2.0).item() == -1.0
    assert gpunn.grad(gpunn.grad(cube))(2.0).item() == 12.0
    assert seen == [2.0, -2.0, 2.0]


def test_a_loss_by_numpy_is_refused(backend: str) -> None:
    """It would have no gradient."""
    gpunn.config.run_eagerly(True)
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2)], backend=backend)
    model.compile("sgd", lambda t, p: np.abs(t - p))
    with pytest.raises(TypeError, match=r"NumPy.*gpunn\.ops instead of numpy"):
        model.fit(*data(), verbose=0)


def test_a_loss_in_some_steps_only_is_refused() -> None:
    class Sometimes(layers.Layer):
        def call(self, x: Any) -> Any:
            if ops.any(x != 0):
                self.add_loss(ops.sum(x))
            return x

    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2)])
    gpunn.config.run_eagerly(True)
    model = gpunn.Sequential([gpunn.Input((3,)), Sometimes(name="sometimes"), layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="sometimes adds a loss in this step"):
        model.fit(*data(), verbose=0)


# By folder.
WHAT_USERS_WRITE = {
    "layers": ("custom_call", "custom_call_forms", "custom_call_random", "custom_state"),
    "losses": ("losses",),
    "metrics": ("metrics",),
    "models": ("graph_operations", "model_calls"),
    "ops": ("dtypes", "errors", "function_gradients", "random", "tensor_methods"),
    "training": ("added_losses", "custom_functions", "custom_parts"),
}
# One process for all of them: each takes longer to start than most files take.
EAGERLY = {
    "all": [
        f"tests/{folder}/test_{name}.py"
        for folder, names in WHAT_USERS_WRITE.items()
        for name in names
    ],
    "operations one by one, on one backend": ["tests/ops/test_operations.py", "-k", "numpy"],
}


@pytest.mark.more(2)
@pytest.mark.parametrize("which", EAGERLY)
def test_the_tests_of_what_users_write_pass_eagerly(which: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--eagerly"]
    done = subprocess.run([*command, *EAGERLY[which]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
