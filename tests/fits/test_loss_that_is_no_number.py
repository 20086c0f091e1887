"""A loss that is NaN or infinite: the error names the layer that made it so, and the row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops
from gpunn.models import NonFiniteLossError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, where it emulates
ROWS, EMPTY = 50, 37
X = np.random.default_rng(0).integers(1, 5, (ROWS, 4))
X[EMPTY] = 0
Y = np.ones((ROWS, 1))


class OfClass(gpunn.Model):
    def __init__(self) -> None:
        super().__init__()
        self.codes = layers.Embedding(5, 3, mask_zero=True)
        self.mean, self.out = layers.GlobalAveragePooling1D(name="mean"), layers.Dense(1)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.out(self.mean(self.codes(x)))


class OwnStep(gpunn.Sequential):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def chain(kind: Any = gpunn.Sequential) -> Any:
    codes, mean = layers.Embedding(5, 3, mask_zero=True), layers.GlobalAveragePooling1D(name="mean")
    return kind([gpunn.Input((4,)), codes, mean, layers.Dense(1)])


def graph() -> Any:
    x = gpunn.Input((4,))
    steps = layers.Masking()(layers.Reshape((4, 1))(x))
    mean = layers.GlobalAveragePooling1D(name="mean")(layers.LSTM(3, return_sequences=True)(steps))
    return gpunn.Model(x, layers.Dense(1)(layers.Concatenate()([mean, layers.Flatten()(x)])))


def nested() -> Any:
    return gpunn.Sequential([gpunn.Input((4,)), chain(), layers.Dense(1)])


MODELS: list[Callable[[], Any]] = [
    chain, graph, nested, OfClass, lambda: chain(OwnStep), lambda: chain(type("M", (OwnStep,), {})),
]  # fmt: skip
NAMES = ["chain", "graph", "nested", "class", "own step", "subclass of own step"]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("make", MODELS[:5], ids=NAMES[:5])
def test_a_row_whose_steps_are_all_masked(every_backend: str, make: Any, shuffle: bool) -> None:
    gpunn.use_backend(every_backend)
    model = make()
    model.compile("sgd", "mse")
    with pytest.raises(NonFiniteLossError) as error:
        model.fit(X, Y, batch_size=8, epochs=3, shuffle=shuffle, verbose=0)
    text = str(error.value)
    assert "mean' returns NaN for row " in text and "(row 37 of x)" in text
    assert "its mask hides all steps of that row. Remove rows without steps" in text
    assert shuffle or f"for row {EMPTY % 8} of a batch" in text
    assert "learning rate" not in text


def test_what_returns_the_loss_warns(backend: str) -> None:
    gpunn.use_backend(backend)
    model = chain()
    model.compile("sgd", "mse")
    before = model.get_weights()
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"'mean' returns NaN for row 5 .*\(row 37 of x\)"):
            assert np.isnan(model.evaluate(X, Y, batch_size=8, verbose=0))
        with pytest.warns(UserWarning, match="'mean' returns NaN for row 7 of a batch"):
            assert np.isnan(model.test_on_batch(X[30:40], Y[30:40]))
    assert np.isfinite(model.evaluate(X[:EMPTY], Y[:EMPTY], verbose=0))
    assert all(map(np.array_equal, before, model.get_weights()))
    assert np.isnan(model.predict(X, verbose=0)[EMPTY]).all()  # as in Keras
    with pytest.warns(UserWarning, match="'mean' returns NaN for row 7 of a batch"):
        assert np.isnan(model.train_on_batch(X[30:40], Y[30:40]))


def test_batches_that_end_with_such_a_row() -> None:
    def batches() -> Iterator[Any]:
        yield X[:8], Y[:8]
        yield X[30:40], Y[30:40]

    model = chain()
    model.compile("sgd", "mse")
    with pytest.raises(NonFiniteLossError, match="'mean' returns NaN for row 7 of a batch"):
        model.fit(batches(), verbose=0)


class Root(layers.Layer):
    def __init__(self) -> None:
        super().__init__(name="root")
        self.inner = layers.Lambda(ops.sqrt, name="inner")

    def call(self, x: Any) -> Any:
        return self.inner(x * 1.0)


@pytest.mark.parametrize(("make", "name"), [
    (Root, "inner"), (lambda: layers.Lambda(ops.log, name="log"), "log"),
    (lambda: layers.Activation(lambda x: ops.exp(1000.0 * ops.square(x)), name="e"), "e"),
], ids=["root", "log", "exp"])  # fmt: skip
def test_any_layer_that_makes_such_values(every_backend: str, make: Any, name: str) -> None:
    gpunn.use_backend(every_backend)
    x = np.full((ROWS, 2), 0.01)
    x[11] = -3
    inputs = [gpunn.Input((2,), name="a"), gpunn.Input((2,), name="b")]
    y = layers.Concatenate()([layers.Dense(2)(inputs[0]), make()(inputs[1])])
    model = gpunn.Model(inputs, layers.Dense(1)(y))
    model.compile("sgd", "mse")
    kind = "infinite values" if name == "e" else "NaN"
    wanted = rf"'{name}' returns {kind} for row \d+ of a batch \(row 11 of x\), where its inputs"
    with pytest.raises(NonFiniteLossError, match=wanted):
        model.fit([np.abs(x), x], Y, batch_size=8, verbose=0)


@pytest.mark.parametrize("make", MODELS, ids=NAMES)
def test_weights_that_diverge_are_the_learning_rates_fault(make: Any) -> None:
    model, x = make(), np.delete(X, EMPTY, 0)
    model.compile(gpunn.optimizers.SGD(1e30), "mse")
    with pytest.raises(NonFiniteLossError, match=r"Training diverges: .*learning rate"):
        model.fit(x, Y[1:], epochs=9, verbose=0)


def test_looking_for_the_layer_draws_no_seed() -> None:
    drawn = []
    for x in (X, np.delete(X, EMPTY, 0)):
        gpunn.utils.set_random_seed(3)
        model = chain()
        model.compile("sgd", "mse")
        if x is X:
            with pytest.raises(NonFiniteLossError):
                model.fit(x, Y, verbose=0)
        else:
            model.fit(x, Y[1:], verbose=0)
        drawn.append(layers.Dense(2)(np.ones((1, 3))).tolist())
    assert drawn[0] == drawn[1]


def test_no_layer_is_blamed_for_weights_that_have_diverged(backend: str) -> None:
    """pytest makes a warning an error."""
    gpunn.use_backend(backend)
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.set_weights([np.full_like(w, 1e30) for w in model.get_weights()])
    assert not np.isfinite(model.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0))
    assert not np.isfinite(model.train_on_batch(np.ones((4, 2)), np.ones((4, 1))))
