"""Keras's names at the top: each is what Keras means by it, or says what to do."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from PyTorch, about NumPy
SAME = {
    "Initializer": "initializers", "InputSpec": "layers", "Layer": "layers", "Loss": "losses",
    "Metric": "metrics", "Model": "models", "Optimizer": "optimizers",
    "Regularizer": "regularizers", "Sequential": "models",
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_classes_are_those_of_their_modules(name: str, keras: Any) -> None:
    for module in (gpunn, keras):
        assert getattr(module, name) is getattr(getattr(module, SAME[name]), name)


def test_every_name_of_keras_is_there_or_says_what_to_do(keras: Any) -> None:
    for name in dir(keras):
        if not name.startswith("_") and name != "src":
            try:
                getattr(gpunn, name)
            except AttributeError as error:
                assert "gpunn has no " in str(error) and ";" in str(error), name


def test_symbolic_tensors(keras: Any) -> None:
    for module in (gpunn, keras):
        x = module.Input((3,))
        y = module.layers.Dense(2)(x)
        for tensor in (x, y, module.ops.exp(y) * 2):
            assert isinstance(tensor, module.KerasTensor)
        assert not isinstance(np.ones(3), module.KerasTensor)
        assert not isinstance(module.ops.ones(3), module.KerasTensor)
        made = module.KerasTensor((None, 4), dtype="int32", name="t")
        assert isinstance(made, module.KerasTensor)
        assert (tuple(made.shape), made.dtype, made.name) == ((None, 4), "int32", "t")


def test_operations(keras: Any) -> None:
    for module in (gpunn, keras):

        class Twice(module.Operation):  # type: ignore[misc, name-defined]
            def call(self, x: Any) -> Any:
                return 2 * x

        x = module.Input((3,))
        y = Twice(name="twice")(x)
        model = module.Model(x, y)
        assert model.predict(np.ones((2, 3)), verbose=0).tolist() == [[2] * 3] * 2
        assert isinstance(Twice(), module.Operation)
        assert not isinstance(module.layers.Dense(2), Twice)
        for part in (module.layers.Dense(2), model, module.Sequential()):
            assert isinstance(part, module.Operation)
        assert issubclass(module.layers.Dense, module.Operation)
        assert not isinstance(module.losses.MeanSquaredError(), module.Operation)


def test_scopes_of_names(keras: Any) -> None:
    for module in (gpunn, keras):
        with module.name_scope("block") as scope:
            layer = module.layers.Dense(2, name="inside")
        assert (scope.name, layer.name) == ("block", "inside")
        for wrong in ("a/b", 3):
            with pytest.raises(ValueError, match="name"):
                module.name_scope(wrong)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Dense", r"It is gpunn\.layers\.Dense\."),
        ("EarlyStopping", r"It is gpunn\.callbacks\.EarlyStopping\."),
        ("Dens", r"Did you mean 'gpunn\.layers\.Dense'\?"),
        ("reduce_men", r"Did you mean 'reduce_mean'\?"),
    ],
)
def test_a_name_that_is_elsewhere(name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=rf"gpunn has no '{name}'\. {hint}"):
        getattr(gpunn, name)


@pytest.mark.parametrize("name", ["Wyvern", "layer_of_mine", "foo", "Zz"])
def test_nothing_is_suggested_from_afar(name: str) -> None:
    with pytest.raises(AttributeError, match=f"gpunn has no '{name}'. It replaces Keras"):
        getattr(gpunn, name)


@pytest.mark.parametrize(("line", "message"), [
    ("from gpunn import Layer, KerasTensor, StatelessScope", "gpunn has no such scopes; models"),
    ("from gpunn import Dense", "gpunn has no 'Dense'. It is gpunn.layers.Dense."),
    ("from gpunn.keras import Dense", "gpunn has no 'Dense'. It is gpunn.layers.Dense."),
    ("from gpunn.layers import Dens", "no attribute 'Dens'. Did you mean 'Dense'?"),
])  # fmt: skip
def test_what_is_imported_says_so_too(line: str, message: str) -> None:
    with pytest.raises(ImportError) as error:
        exec(line, {})
    assert message in str(error.value)
    module, name = line.split()[1], line.split()[-1]
    with pytest.raises(AttributeError):  # so that hasattr is false
        getattr(importlib.import_module(module), name)
