"""Weights that no loss depends on, beside Keras: no update changes them, whatever it does for a
gradient of 0, and no gradient of an earlier loss does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = [  # of Keras
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning"),
]

X = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
Y = X.sum(1, keepdims=True)

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda lib: lib.optimizers.SGD(0.01, momentum=0.9),
    "decay": lambda lib: lib.optimizers.AdamW(0.01, weight_decay=0.1),
    "ftrl": lambda lib: lib.optimizers.Ftrl(0.01),
    "clipped": lambda lib: lib.optimizers.SGD(0.1, global_clipnorm=0.1),
    "gathered": lambda lib: lib.optimizers.AdamW(
        0.01, weight_decay=0.1, gradient_accumulation_steps=2
    ),
}


def two_heads(lib: Any, regularizer: Any = None) -> tuple[Any, Any, Any]:
    layers = lib.layers
    x = lib.Input((4,))
    hidden = layers.Dense(3, "tanh", kernel_initializer="ones", name="hidden")(x)
    a = layers.Dense(1, kernel_initializer="ones", name="a")(hidden)
    given = {"kernel_regularizer": regularizer}
    return x, a, layers.Dense(1, kernel_initializer="ones", name="b", **given)(hidden)


def trained(lib: Any, model: Any, optimizer: Any, loss: Any, x: Any = X, epochs: int = 3) -> Any:
    model.compile(optimizer(lib), loss)
    y = 3 * Y if isinstance(loss, str) else [Y, 2 * Y]
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def one_head(lib: Any, optimizer: Any) -> list[Any]:
    x, a, b = two_heads(lib)
    return trained(lib, lib.Model(x, [a, b]), optimizer, ["mse", None]).get_weights()


def both_and_then_one(lib: Any, optimizer: Any) -> list[Any]:
    """Without a second `compile`, the last gradient of ``b`` would be there still."""
    x, a, b = two_heads(lib)
    model = trained(lib, lib.Model(x, [a, b]), optimizer, ["mse", "mse"])
    return trained(lib, model, optimizer, ["mse", None]).get_weights()


def a_penalty_alone(lib: Any, optimizer: Any) -> list[Any]:
    x, a, b = two_heads(lib, lib.regularizers.L2(0.1))
    model = trained(lib, lib.Model(x, [a, b]), optimizer, ["mse", None])
    return [*model.get_weights(), model.evaluate(X, [Y, Y], verbose=0)]


def two_models_in_turn(lib: Any, optimizer: Any) -> list[Any]:
    x, a, b = two_heads(lib)
    models = lib.Model(x, [a, b]), lib.Model(x, [a, b])
    models[0].compile(optimizer(lib), ["mse", None])
    models[1].compile(optimizer(lib), [None, "mse"])
    for _ in range(6):
        for model in models:
            model.train_on_batch(X, [Y, 2 * Y])
    return models[0].get_weights()


def a_weight_that_a_call_no_longer_reads(lib: Any, optimizer: Any) -> list[Any]:
    class Scaling(lib.layers.Layer):  # type: ignore[name-defined, misc]
        twice = True

        def build(self, input_shape: Any) -> None:
            self.one = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="one")
            self.other = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="two")

        def call(self, x: Any) -> Any:
            return x * self.one * self.other if self.twice else x * self.one

    scaling = Scaling()
    dense = lib.layers.Dense(1, kernel_initializer="ones")
    model = trained(lib, lib.Sequential([lib.Input((4,)), scaling, dense]), optimizer, "mse")
    scaling.twice = False
    return trained(lib, model, optimizer, "mse").get_weights()


def tables(lib: Any, optimizer: Any) -> list[Any]:
    layers, x = lib.layers, lib.Input((2,), dtype="int32")
    flat = [layers.Flatten()(layers.Embedding(40, 3, "ones")(x)) for _ in range(2)]
    ends = [layers.Dense(1, kernel_initializer="ones")(one) for one in flat]
    numbers = np.random.default_rng(1).integers(0, 40, (32, 2))
    model = trained(lib, lib.Model(x, ends), optimizer, ["mse", "mse"], numbers)
    return trained(lib, model, optimizer, ["mse", None], numbers).get_weights()


def one_output_of_a_call(lib: Any, optimizer: Any) -> list[Any]:
    class Heads(lib.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.a, self.b = (
                lib.layers.Dense(n, kernel_initializer="ones") for n in (3, 1, 1)
            )

        def call(self, x: Any) -> Any:
            hidden = self.hidden(x)
            return self.a(hidden), self.b(hidden)

    return trained(lib, Heads(), optimizer, ["mse", None]).get_weights()


def what_stops_gradients(lib: Any, optimizer: Any) -> list[Any]:
    class Stopping(lib.layers.Layer):  # type: ignore[name-defined, misc]
        def build(self, input_shape: Any) -> None:
            self.one = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="one")
            self.other = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="two")

        def call(self, x: Any) -> Any:
            return lib.ops.stop_gradient(x * self.other) * self.one

    layers = lib.layers
    dense = [layers.Dense(3, kernel_initializer="ones") for _ in range(2)]
    model = lib.Sequential([lib.Input((4,)), dense[0], Stopping(), dense[1], layers.Dense(1)])
    model.layers[-1].set_weights([np.full((3, 1), 0.1), np.zeros(1)])
    return trained(lib, model, optimizer, "mse").get_weights()


def what_is_before_integers(lib: Any, optimizer: Any) -> list[Any]:
    layers, x = lib.layers, lib.Input((4,))
    places = lib.ops.argmax(layers.Dense(3, kernel_initializer="ones")(x), axis=-1)
    ends = layers.Dense(1, kernel_initializer="ones")(layers.Embedding(3, 2, "ones")(places))
    return trained(lib, lib.Model(x, ends), optimizer, "mse").get_weights()


CASES = [
    one_head, both_and_then_one, a_penalty_alone, two_models_in_turn,
    a_weight_that_a_call_no_longer_reads, tables, one_output_of_a_call, what_stops_gradients,
    what_is_before_integers,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_they_stay_as_in_keras(
    case: Callable[..., list[Any]], name: str, keras: Any, backend: str
) -> None:
    gpunn.use_backend(backend)
    wanted, found = (case(lib, OPTIMIZERS[name]) for lib in (keras, gpunn))
    for own, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-4, atol=1e-4)


def test_many_models_leave_them_too() -> None:
    models = []
    for rate in (0.01, 0.02, 0.03, 0.04):
        x, a, b = two_heads(gpunn)
        models.append(gpunn.Model(x, [a, b]))
        models[-1].compile(gpunn.optimizers.AdamW(rate, weight_decay=0.1), ["mse", None])
    gpunn.fit_many(models, X, [Y, Y], epochs=3, verbose=0)
    for model in models:
        np.testing.assert_array_equal(model.get_layer("b").kernel.numpy(), np.ones((3, 1)))
        assert (model.get_layer("a").kernel.numpy() != 1).all()


@pytest.mark.parametrize("written", ["move", "update_step"])
def test_own_rules_are_not_applied_to_them(written: str, backend: str) -> None:
    class Shrinking(gpunn.optimizers.Optimizer):
        if written == "move":

            def rule(self, w: Any, g: Any, *_: Any) -> Any:
                return 0.9 * w - 0.1 * g

        else:

            def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
                variable.assign(0.9 * variable - learning_rate * gradient)

    gpunn.use_backend(backend)
    x, a, b = two_heads(gpunn)
    model = gpunn.Model(x, [a, b])
    trained(gpunn, model, lambda lib: Shrinking(learning_rate=0.01), ["mse", None])
    np.testing.assert_array_equal(model.get_layer("b").kernel.numpy(), np.ones((3, 1)))
    assert (model.get_layer("a").kernel.numpy() != 1).all()


def test_a_training_that_reaches_them_again_goes_on(keras: Any, backend: str) -> None:
    gpunn.use_backend(backend)
    results = []
    for lib in (keras, gpunn):
        x, a, b = two_heads(lib)
        model = lib.Model(x, [a, b])
        for loss in (["mse", None], ["mse", "mse"], [None, "mse"]):
            trained(lib, model, OPTIMIZERS["decay"], loss)
        results.append(model.get_weights())
    for own, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-4, atol=1e-4)


def test_callbacks_do_not_look_at_their_gradients() -> None:
    x, a, b = two_heads(gpunn)
    model = gpunn.Model(x, [a, b])
    trained(gpunn, model, OPTIMIZERS["sgd"], ["mse", "mse"])
    model.compile(gpunn.optimizers.SGD(0.05), ["mse", None])
    monitor = gpunn.callbacks.GradientMonitor(verbose=0)
    stop = gpunn.callbacks.StopOnSmallGradient(0.5)
    model.fit(X, [Y, Y], epochs=200, batch_size=32, verbose=0, callbacks=[monitor, stop])
    assert {record["layer"] for record in monitor.records} == {"hidden", "a"}
    assert stop.norm < 0.5  # not that of the last gradient of `b`
