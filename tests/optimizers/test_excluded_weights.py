"""Test weights that are excluded from weight decay: beside Keras, by hand and in files."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
Y = X[:, :1] - 1


def network(k: Any) -> Any:
    ones = {"kernel_initializer": "ones", "bias_initializer": "ones"}
    return k.Sequential(
        [k.Input((4,)), k.layers.Dense(3, "tanh", name="first", **ones),
         k.layers.Dense(1, name="last", **ones)]
    )  # fmt: skip


CHOICES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "nothing": lambda model: {},
    "names": lambda model: {"var_names": ["bias"]},
    "expressions": lambda model: {"var_names": ["^ker", "nothing"]},
    "weights": lambda model: {"var_list": [model.layers[0].kernel, model.layers[1].bias]},
    "both": lambda model: {"var_list": [model.layers[1].kernel], "var_names": ["bias"]},
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_training_is_kerass(keras: Any, backend: str, choice: str, kind: str) -> None:
    gpunn.use_backend(backend)
    weights = []
    for k in (gpunn, keras):
        model = network(k)
        optimizer = getattr(k.optimizers, kind)(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["kernel"])  # which the next call replaces
        optimizer.exclude_from_weight_decay(**CHOICES[choice](model))
        model.compile(optimizer, "mse")
        model.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        if k is gpunn:  # Keras says so, and does not check it
            with pytest.raises(ValueError, match="before"):
                optimizer.exclude_from_weight_decay(var_names=["bias"])
    for ours, theirs in zip(*weights, strict=True):
        assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_compiled_optimizer_takes_it_until_the_first_update(keras: Any) -> None:
    weights = []
    for k in (gpunn, keras):
        model = network(k)
        model.compile(k.optimizers.AdamW(0.1, weight_decay=0.5), "mse")
        model.evaluate(X, Y, verbose=0)
        model.optimizer.exclude_from_weight_decay(var_names=["bias"])
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_steps_by_hand(keras: Any) -> None:
    found = []
    for k in (gpunn, keras):
        first = k.Variable([1.0, 2.0], name="table")
        second = k.Variable([1.0, 2.0], name="shift")
        third = k.Variable([3.0], name="scale")
        optimizer = k.optimizers.SGD(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay([first], ["sc"])
        optimizer.build([first, second, third])
        if k is gpunn:
            with pytest.raises(ValueError, match="before"):
                optimizer.exclude_from_weight_decay([second])
        zeros = [k.ops.zeros(v.shape) for v in (first, second, third)]
        optimizer.apply(zeros, [first, second, third])
        found.append([np.array(v.numpy()) for v in (first, second, third)])
    for ours, theirs in zip(*found, strict=True):
        assert_allclose(ours, theirs, rtol=1e-6)
    assert found[0][0].tolist() == [1.0, 2.0] and found[0][1].tolist() != [1.0, 2.0]


@pytest.mark.parametrize("name", ["model.gpunn", "model.keras"])
def test_a_saved_model_goes_on_with_it(tmp_path: Path, name: str) -> None:
    model = network(gpunn)
    optimizer = gpunn.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([model.layers[1].kernel], ["bias"])
    model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / name)
    others = [
        gpunn.saving.load_model(tmp_path / name), copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]  # fmt: skip
    for other in (model, *others):
        other.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for other in others:
        for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
            assert_array_equal(ours, theirs)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


def test_keras_loads_the_file(keras: Any, tmp_path: Path) -> None:
    model = network(gpunn)
    optimizer = gpunn.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    assert float(theirs.optimizer.weight_decay) == 0.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"var_names": "bias"}, TypeError, "var_names must be a list of strings; got 'bias'"),
        ({"var_names": [3]}, TypeError, r"var_names must be a list of strings; got \[3\]"),
        ({"var_names": ["("]}, ValueError, "var_names must be regular expressions; got '\\('"),
    ],
)
def test_other_names_are_refused(given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gpunn.optimizers.AdamW().exclude_from_weight_decay(**given)
    with pytest.raises(ValueError, match="excluded weights are described"):
        gpunn.optimizers.AdamW.from_config({"excluded_from_weight_decay": {"names": []}})
