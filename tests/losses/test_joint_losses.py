"""Losses of several outputs together, as in Keras: in `compile`, and called by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras

X = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
A, B = 2 * X[:, :1], X[:, 1:2] ** 2
START = [np.ones((3, 1)), np.zeros(1), np.full((3, 1), 0.5), np.ones(1)]


def grouped(kind: str, a: Any, b: Any) -> Any:
    return {"a": a, "b": b} if kind == "dict" else [a, b] if kind == "list" else (a, b)


def product_of(m: Any) -> Callable[[Any, Any], Any]:
    def product(y_true: Any, y_pred: Any) -> Any:
        t, p = (list(y.values()) if isinstance(y, dict) else y for y in (y_true, y_pred))
        return m.ops.mean(m.ops.abs(t[0] - p[0]) * (1 + m.ops.square(t[1] - p[1])), -1)

    return product


def made(m: Any, kind: str) -> Any:
    x = m.Input((3,))
    a, b = m.layers.Dense(1, name="one")(x), m.layers.Dense(1, name="two")(x)
    model = m.Model(x, grouped(kind, a, b))
    model.set_weights(START)
    return model


def trained(m: Any, kind: str, loss: Any, weights: Any = None, **how: Any) -> Any:
    model = made(m, kind)
    model.compile("sgd", loss(product_of(m)), loss_weights=weights, **how)
    y = grouped(kind, A, B)
    history = model.fit(
        X, y, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=(X, y)
    ).history
    found = {name: np.asarray(values) for name, values in history.items()}
    for prefix, logs in (
        ("evaluate", model.evaluate(X, y, verbose=0, return_dict=True)),
        ("batch", model.train_on_batch(X, y, return_dict=True)),
    ):
        found |= {f"{prefix}_{name}": np.asarray(float(value)) for name, value in logs.items()}
    return model, found


CASES: dict[str, tuple[Any, ...]] = {
    "one of all": ("dict", lambda f: [f]),
    "of all and of each": (
        "dict", lambda f: [f, {"a": "mse", "b": "mae"}], [0.5, {"a": 2.0, "b": 1.0}]),
    "of all and of one": ("dict", lambda f: [f, {"b": "mse"}]),
    "a tuple for a list": ("list", lambda f: (f, ["mse", "mae"])),
    "a list for a tuple": ("tuple", lambda f: [f, ("mse", "mae")], [1.0, (0.5, 0.25)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_training_is_kerass(keras: Any, name: str) -> None:
    (ours, found), (theirs, expected) = (trained(m, *CASES[name]) for m in (gpunn, keras))
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert_allclose(found[key], value, rtol=1e-4, err_msg=key)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_metrics_are_beside_it(keras: Any) -> None:
    how = {"metrics": {"a": ["mae"], "b": ["mse"]}}
    found, expected = (
        trained(m, "dict", lambda f: [f, {"a": "mse", "b": "mse"}], **how)[1]
        for m in (gpunn, keras)
    )
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert_allclose(found[key], value, rtol=1e-4, err_msg=key)


def test_groups_in_groups(keras: Any) -> None:
    def history(m: Any) -> dict[str, float]:
        x = m.Input((3,))
        each = [m.layers.Dense(1, kernel_initializer="ones", name=f"y{k}")(x) for k in range(3)]
        model = m.Model(x, {"a": (each[0], each[1]), "b": each[2]})

        def gap(y_true: Any, y_pred: Any) -> Any:
            return m.ops.mean(m.ops.abs(y_true[0] - y_pred[0] - y_true[1] + y_pred[1]), -1)

        model.compile("sgd", {"a": [gap, (None, "mse")], "b": "mae"})
        y = {"a": (A, B), "b": A}
        logs = model.fit(X, y, batch_size=4, shuffle=False, verbose=0).history
        return {name: float(values[0]) for name, values in logs.items()}

    ours, theirs = history(gpunn), history(keras)
    assert set(ours) == set(theirs) == {"loss", "a_loss", "a/y1_loss", "b_loss"}
    for name, value in theirs.items():
        assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)


def test_a_loss_of_ones_own_gets_groups(keras: Any) -> None:
    values = []
    for m in (gpunn, keras):
        product = product_of(m)

        class Product(m.losses.Loss):  # type: ignore[misc, name-defined]
            def call(self, y_true: Any, y_pred: Any, product: Any = product) -> Any:
                return product(y_true, y_pred)

        tensors = {"a": m.ops.convert_to_tensor(A), "b": m.ops.convert_to_tensor(B)}
        zeros = {name: m.ops.zeros_like(x) for name, x in tensors.items()}
        weights = np.arange(8, dtype=np.float32)
        for how, given in (({}, ()), ({"reduction": "sum"}, ()), ({}, (weights,)),
                           ({"reduction": "mean_with_sample_weight"}, (weights,))):  # fmt: skip
            value = Product(**how)(tensors, zeros, *given)
            values.append(float(m.ops.convert_to_numpy(value)))
    assert_allclose(values[:4], values[4:], rtol=1e-5)


@gpunn.saving.register_serializable(package="joint")
def gap_of_both(y_true: Any, y_pred: Any) -> Any:
    return gpunn.ops.mean(gpunn.ops.abs(y_true["a"] - y_pred["b"]), -1)


@pytest.mark.parametrize("suffix", ["gpunn", "keras"])
def test_it_is_saved(suffix: str, tmp_path: Path) -> None:
    model = made(gpunn, "dict")
    loss = [gap_of_both, {"a": "mse", "b": gpunn.losses.Huber(0.5)}]
    model.compile("sgd", loss, loss_weights=[0.5, {"a": 2.0, "b": 1.0}])
    y = {"a": A, "b": B}
    model.fit(X, y, verbose=0)
    model.save(tmp_path / f"model.{suffix}")
    loaded = gpunn.models.load_model(tmp_path / f"model.{suffix}")
    for one in (model, loaded):
        one.fit(X, y, shuffle=False, verbose=0)
    logs = [one.evaluate(X, y, verbose=0, return_dict=True) for one in (model, loaded)]
    assert set(logs[0]) == {"loss", "a_b_loss", "a_loss", "b_loss"}
    assert logs[0] == logs[1]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert_array_equal(a, b)


def test_another_compile_ends_it() -> None:
    model = made(gpunn, "dict")
    model.compile("sgd", [product_of(gpunn)])
    model.compile("sgd", "mse")
    assert set(model.fit(X, {"a": A, "b": B}, verbose=0).history) == {"loss", "a_loss", "b_loss"}


def test_one_weight_for_each_sample_counts_for_the_group() -> None:
    model = made(gpunn, "dict")
    model.compile("sgd", [product_of(gpunn)])
    y, weights = {"a": A, "b": B}, np.arange(8) / 8
    p = {name: np.asarray(x) for name, x in model(X).items()}
    values = (np.abs(A - p["a"]) * (1 + (B - p["b"]) ** 2))[:, 0]
    found = model.evaluate(X, y, sample_weight=weights, batch_size=8, verbose=0)
    assert_allclose(found, (weights * values).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="the loss 'a_b' is of several: pass one array for all"):
        model.evaluate(X, y, sample_weight={"a": weights, "b": weights}, verbose=0)


def test_errors_say_what_is_expected() -> None:
    model, product = made(gpunn, "dict"), product_of(gpunn)
    with pytest.raises(ValueError, match="loss: there is no output 'c'; 'a', 'b' are expected"):
        model.compile("sgd", [product, {"c": "mse"}])
    with pytest.raises(ValueError, match="loss_weights must have a weight for each loss"):
        model.compile("sgd", [product, {"a": "mse"}], loss_weights=[1.0])

    class Own(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = gpunn.layers.Dense(1), gpunn.layers.Dense(1)

        def call(self, x: Any, training: bool | None = None) -> Any:
            return {"a": self.a(x), "b": self.b(x)}

    own, y = Own(), {"a": A, "b": B}
    own.compile("sgd", [product])
    with pytest.raises(ValueError, match=r"fit: a loss of several outputs .* before compile"):
        own.fit(X, y, verbose=0)
    own(X)
    own.compile("sgd", [product])
    assert list(own.fit(X, y, verbose=0).history) == ["loss"]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_loss_of_a_dictionary_in_a_list_trains(keras: Any, kind: Any) -> None:
    """The targets beside it were read as one array of numbers."""
    found = []
    for m in (keras, gpunn):
        x = m.Input((3,))
        first, a, b = (m.layers.Dense(1, name=name)(x) for name in ("first", "one", "two"))
        model = m.Model(x, kind([first, {"a": a, "b": b}]))
        model.set_weights([*START, *START[2:]])
        model.compile("sgd", kind(["mse", product_of(m)]))
        y = kind([B, {"a": A, "b": B}])
        history = model.fit(X, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        found.append((history, model.train_on_batch(X, y, return_dict=True)))
    (expected, batch), (history, own) = found
    assert history.keys() == expected.keys() and own.keys() == batch.keys()
    for name, values in expected.items():
        assert_allclose(history[name], values, rtol=1e-4)
        assert_allclose(float(own[name]), float(batch[name]), rtol=1e-4)


def test_many_models_train_with_it_as_each_alone() -> None:
    def compiled() -> Any:
        model = made(gpunn, "dict")
        model.compile("sgd", [product_of(gpunn)])
        return model

    given: dict[str, Any] = {"sample_weight": np.arange(8.0), "epochs": 2, "shuffle": False}
    alone, many = compiled(), [compiled(), compiled()]
    expected = alone.fit(X, {"a": A, "b": B}, verbose=0, **given)
    for model, found in zip(
        many, gpunn.fit_many(many, X, {"a": A, "b": B}, verbose=0, **given), strict=True
    ):
        assert found.history == expected.history
        for one, other in zip(model.get_weights(), alone.get_weights(), strict=True):
            assert_array_equal(one, other)
