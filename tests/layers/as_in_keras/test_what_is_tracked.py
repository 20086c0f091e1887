"""Weights of layers that no `call` holds, and of what is set before ``super().__init__()``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*was called on layer:UserWarning"),  # both of Keras
]

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def coder(lib: Any) -> Any:
    """A layer without a `call`: it holds others, which its methods apply."""

    class Coder(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.narrow = lib.layers.Dense(2, kernel_initializer="ones")
            self.wide = [lib.layers.Dense(3, kernel_initializer="ones")]

        def encode(self, x: Any) -> Any:
            return self.narrow(x)

        def decode(self, x: Any) -> Any:
            return self.wide[0](x)

    class Both(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.coder = Coder()

        def call(self, x: Any) -> Any:
            return self.coder.decode(self.coder.encode(x))

    return Both()


def test_layers_inside_one_without_a_call_are_trained(keras: Any) -> None:
    found = []
    for lib in (keras, gpunn):
        layer = coder(lib)
        model = lib.Sequential([lib.Input((3,)), layer])
        assert len(layer.coder.trainable_variables) == 4
        model.compile(lib.optimizers.SGD(0.01), "mse")
        model.fit(X, X, batch_size=8, epochs=3, shuffle=False, verbose=0)
        found.append(model.predict(X, verbose=0))
        layer.coder.trainable = False
        assert not model.trainable_variables
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_a_variable_that_is_set_before_the_constructor_is_a_weight(keras: Any) -> None:
    for lib in (keras, gpunn):

        class Scaled(lib.layers.Layer):  # type: ignore[name-defined, misc]
            def __init__(self, variable: Any) -> None:
                self.scale = variable
                super().__init__()

            def call(self, x: Any) -> Any:
                return x * self.scale

        layer = Scaled(lib.Variable(np.full(3, 2.0, "float32")))
        assert len(layer.trainable_weights) == 1
        model = lib.Sequential([lib.Input((3,)), layer])
        model.compile(lib.optimizers.SGD(0.5), "mse")
        model.fit(X, X, batch_size=8, epochs=50, verbose=0)
        np.testing.assert_allclose(np.array(layer.scale.numpy()), 1.0, atol=1e-2)


def in_groups(lib: Any, early: bool) -> Any:
    """A layer with variables in lists, tuples and dictionaries, of which one is not trained."""

    def one(value: float, **options: Any) -> Any:
        return lib.Variable(np.full(3, value, "float32"), **options)

    class Inner(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            if not early:
                super().__init__()
            self.pair = one(1.2), one(0.9)
            self.by_name = {"a": [one(1.1)], "steps": one(0.0, trainable=False)}
            if early:
                super().__init__()
            self.later: list[Any] = []
            self.later.append(one(0.8))

        def call(self, x: Any, training: Any = None) -> Any:
            if training:
                self.by_name["steps"].assign(self.by_name["steps"] + 1.0)
            return x * self.pair[0] * self.pair[1] * self.by_name["a"][0] * self.later[0]

    class Outer(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = [Inner()]

        def call(self, x: Any) -> Any:
            return self.parts[0](x)

    return Outer()


@pytest.mark.parametrize("early", [False, True])
def test_variables_in_groups_are_weights(keras: Any, early: bool, tmp_path: Path) -> None:
    found = []
    for lib in (keras, gpunn):
        layer = in_groups(lib, early)
        model = lib.Sequential([lib.Input((3,)), layer])
        model.compile(lib.optimizers.SGD(0.1), "mse")
        model.fit(X, X + 1, batch_size=4, epochs=3, shuffle=False, verbose=0)
        assert len(model.trainable_weights) == 4
        np.testing.assert_array_equal(np.array(layer.parts[0].by_name["steps"].numpy()), 6.0)
        model.save_weights(tmp_path / "of.weights.h5")
        other = lib.Sequential([lib.Input((3,)), in_groups(lib, early)])
        other.load_weights(tmp_path / "of.weights.h5")
        found.append(model.predict(X, verbose=0))
        np.testing.assert_allclose(other.predict(X, verbose=0), found[-1], rtol=1e-6)
        layer.trainable = False
        assert not model.trainable_weights
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_a_variable_of_two_attributes_is_one_weight() -> None:
    class Twice(gpunn.layers.Layer):
        def __init__(self) -> None:
            self.one = gpunn.Variable([2.0])
            self.all = [self.one]
            super().__init__()

        def call(self, x: Any) -> Any:
            return x * self.one * self.all[0]

    layer = Twice()
    assert layer([[3.0]]).tolist() == [[12.0]]
    assert len(layer.weights) == 1


class Moved(gpunn.layers.Layer):
    """Adds a variable, and variables in a list."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.first = gpunn.Variable(np.full(3, 2.0, "float32"))
        self.rest = [gpunn.Variable(np.full(3, 1.0, "float32"))]

    def call(self, x: Any) -> Any:
        return x + self.first + self.rest[0]


@pytest.mark.parametrize(
    "make", [Moved, lambda: gpunn.layers.BatchNormalization(renorm=True)], ids=["own", "renorm"]
)
def test_layers_whose_weights_begin_at_values_of_others_are_pickled(make: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), make()])
    model.compile("sgd", "mse")
    model.fit(X, X, epochs=2, verbose=0)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
