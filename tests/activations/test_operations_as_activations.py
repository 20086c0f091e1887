"""Test the activations that are operations beside Keras's: by name, in layers and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import activations, layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(6, 4)).astype("f") * 2
NAMES = ["hard_shrink", "hard_tanh", "log_sigmoid", "soft_shrink", "sparse_plus", "sparse_sigmoid",
         "squareplus", "tanh_shrink"]  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "hard_shrink": {"threshold": 1.0}, "soft_shrink": {"threshold": 1.0}, "squareplus": {"b": 1.0},
    "threshold": {"threshold": 0.5, "default_value": -1.0},
    "glu": {"axis": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, "threshold", "glu"])
def test_values_are_kerass(keras: Any, name: str) -> None:
    ours, theirs = (getattr(k.activations, name) for k in (gpunn, keras))
    for options in ({}, OPTIONS.get(name, {})):
        if name == "threshold" and not options:
            continue  # Keras has no defaults
        wanted = np.asarray(theirs(X, **options))
        assert_allclose(ours(X, **options), wanted, rtol=1e-5, atol=1e-6)
        assert_allclose(ours(ops.array(X), **options), wanted, rtol=1e-5, atol=1e-6)
        assert_allclose(ours(X, *options.values()), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_layers_train_with_them_as_with_keras(
    keras: Any, name: str, backend: str, tmp_path: Path
) -> None:
    models: list[Any] = []
    for k, of in ((gpunn, {"backend": backend}), (keras, {})):
        chain = [k.Input((4,)), k.layers.Dense(5, activation=name), k.layers.Dense(3),
                 k.layers.Activation(name)]  # fmt: skip
        models.append(k.Sequential(chain, **of))
        models[-1].compile(k.optimizers.SGD(0.1), "mse")
    ours, theirs = models
    theirs.set_weights(ours.get_weights())
    y = RANDOM.normal(size=(6, 3)).astype("f")
    for model in models:
        model.fit(X, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for found, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    for k, file in ((keras, "model.keras"), (gpunn, "model.keras"), (gpunn, "model.gpunn")):
        ours.save(tmp_path / file)
        again = k.saving.load_model(tmp_path / file)
        assert_allclose(again.predict(X, verbose=0), ours.predict(X, verbose=0), atol=1e-6)
    theirs.save(tmp_path / "theirs.keras")
    again = gpunn.saving.load_model(tmp_path / "theirs.keras")
    assert_allclose(again.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sparsemax_is_the_projection_onto_the_simplex(axis: int, backend: str) -> None:
    """By the conditions of the minimum. Keras's leaves rows out that add up to 0."""
    gpunn.use_backend(backend)
    activation = activations.Sparsemax(axis)
    model = gpunn.Sequential([gpunn.Input((4,)), layers.Activation(activation)], backend=backend)
    for y in (activation(X).numpy(), model.predict(X, verbose=0)):
        assert_allclose(y.sum(axis), 1.0, rtol=1e-6)
        moved, kept = X - y, y > 0
        least = np.where(kept, moved, np.inf).min(axis, keepdims=True)
        assert_allclose(np.where(kept, moved - least, 0.0), 0.0, atol=1e-6)
        assert (y >= 0).all() and (np.where(kept, -np.inf, X) <= least + 1e-6).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_sparsemax_is_that_of_sorted_rows(size: int, dtype: str) -> None:
    """Also where elements fall out of the sum one by one, as halves of distances do."""
    places = np.arange(size)
    rows = [np.cos(places), 1e-3 * np.cos(places), -np.sqrt(places / size), -1 / (1 + places),
            2.0 ** -np.minimum(places, 40), np.expm1(-0.4 * places)]  # fmt: skip
    x = np.array(rows, dtype)
    wide = np.sort(x.astype("longdouble"))[:, ::-1]
    over = (np.cumsum(wide, -1) - 1) / (1 + places)
    count = (wide > over).sum(-1, keepdims=True)
    wanted = np.maximum(x - np.take_along_axis(over, count - 1, -1), 0)
    found = ops.sparsemax(ops.convert_to_tensor(x, dtype)).numpy()
    assert_allclose(found, wanted.astype(dtype), atol=2 * np.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squareplus_keeps_digits_and_does_not_overflow(dtype: str) -> None:
    most = float(np.finfo(dtype).max) / 2
    x = np.array([-most, -1e4, -10.0, 0.0, 10.0, 1e4, most], dtype)
    wide = x.astype("longdouble")
    exact = 2.0 / (np.sqrt(wide * wide + 4.0) + abs(wide)) + np.maximum(wide, 0.0)
    ulps = 4 * np.finfo(dtype).eps
    assert_allclose(activations.squareplus(x), exact.astype(dtype), rtol=ulps, atol=1e-30)
    slope = gpunn.grad(lambda x: ops.sum(ops.squareplus(x)))(ops.array([0.0, -3.0]))
    assert_allclose(slope, [0.5, 0.5 - 1.5 / np.sqrt(13)], rtol=1e-5)


def test_the_activation_that_halves_an_axis_is_applied_to_outputs(keras: Any) -> None:
    for use in (lambda: layers.Dense(4, activation="glu"), lambda: layers.Activation(ops.glu),
                lambda: activations.get(activations.glu)):  # fmt: skip
        with pytest.raises(ValueError, match=r"glu halves an axis.*activations\.glu\(Dense"):
            use()
    models = []
    for k in (gpunn, keras):
        inputs = k.Input((4,))
        y = k.activations.glu(k.layers.Dense(6)(inputs))
        models.append(k.Model(inputs, k.layers.Dense(2)(y)))
        models[-1].compile("sgd", "mse")
    models[1].set_weights(models[0].get_weights())
    logs = [m.fit(X, X[:, :2], epochs=3, shuffle=False, verbose=0).history["loss"] for m in models]
    assert_allclose(logs[0], logs[1], rtol=1e-4)


def test_sorting_is_not_exported_to_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = gpunn.Sequential([gpunn.Input((4,)), layers.Dense(3, ops.sort)])
    with pytest.raises(ValueError, match=r"ONNX has no counterpart of .*argsort.*Nothing was"):
        model.export(tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: activations.HardShrink(-1), "threshold must be at least 0"),
        (lambda: activations.SoftShrink(-1), "threshold must be at least 0"),
        (lambda: activations.Squareplus(0), "b must be above 0"),
        (lambda: activations.Sparsemax(2)([[1.0]]), "axis must name one of the 2 axes"),
        (lambda: activations.sparsemax(1.0), "at least one axis"),
        (lambda: activations.glu([1.0, 2.0, 3.0]), "3"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
