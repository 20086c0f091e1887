"""A loss with an axis computes along it, counted from the start or from the end."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import ops
from gpunn.common import registry

WITH_AXIS = [
    name
    for name in registered.names("loss")
    if "axis" in inspect.signature(registry.entries("loss")[name]).parameters
]

OF_ROWS = ["BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy",
           "CosineSimilarity"]  # fmt: skip


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("name", OF_ROWS)
def test_fit_and_evaluate_refuse_what_they_would_compute_along_the_last_axis(
    name: str, axis: int
) -> None:
    model = gpunn.Sequential([gpunn.Input((5, 3)), gpunn.layers.Softmax(axis=1)])
    x = np.ones((4, 5, 3))
    y = np.zeros((4, 3)) if name.startswith("Sparse") else x
    kind = registry.entries("loss")[name]
    for act in (model.evaluate, model.fit):
        with pytest.raises(ValueError, match=f"has axis={axis}, and outputs have 3 axes"):
            model.compile("sgd", kind(axis=axis))
            act(x, y, verbose=0)
    metric = gpunn.metrics.CosineSimilarity(axis=axis)
    with pytest.raises(ValueError, match=f"has axis={axis}, and outputs have 3 axes"):
        model.compile("sgd", "mse", metrics=[metric])
        model.evaluate(x, x, verbose=0)
    for last in (2, -1):
        model.compile("sgd", kind(axis=last))
        targets = np.zeros((4, 5)) if name.startswith("Sparse") else x
        assert np.isfinite(model.evaluate(x, targets, verbose=0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
@pytest.mark.parametrize("axis", [1, 2, -1, -2])
@pytest.mark.parametrize("name", sorted({*WITH_AXIS} - {*OF_ROWS}))
def test_fit_and_evaluate_compute_the_others_along_their_axis(
    keras: Any, name: str, axis: int, backend: str
) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(6, 4, 3)).astype("float32")
    y = np.eye(3, dtype="float32")[random.integers(0, 3, (6, 4))]
    found = []
    for module, options in ((gpunn, {"backend": backend}), (keras, {})):
        dense = module.layers.Dense(3, "sigmoid", kernel_initializer="identity")
        model = module.Sequential([module.Input((4, 3)), dense], **options)
        model.compile(module.optimizers.SGD(0.5), getattr(module.losses, name)(axis=axis))
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        found.append((model.get_weights()[0], model.evaluate(x, y, verbose=0)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
@pytest.mark.parametrize(
    "name", ["CategoricalCrossentropy", "SparseCategoricalCrossentropy", "CosineSimilarity"]
)
def test_metrics_that_are_losses_are_those_of_keras(keras: Any, name: str, axis: int) -> None:
    random = np.random.default_rng(0)
    p, y = (random.dirichlet(np.ones(5), (6, 3)) for _ in range(2))
    y = random.integers(0, 5, (6, 3)) if name.startswith("Sparse") else np.moveaxis(y, -1, axis)
    found = []
    for module in (gpunn, keras):
        metric = getattr(module.metrics, name)(axis=axis)
        for _ in range(2):
            metric.update_state(y, np.moveaxis(p, -1, axis))
        found.append(float(metric.result()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("axis", [1, (1, 2), None])
def test_an_axis_of_a_loss_of_ones_own_is_its_own_affair(backend: str, axis: Any) -> None:
    class Unnamed(gpunn.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            apart = ops.max(ops.abs(y_true - y_pred), axis=axis or 1)
            return apart if axis == (1, 2) else ops.mean(apart, axis=-1)

    class Own(Unnamed):
        def __init__(self) -> None:
            super().__init__()
            self.axis = axis  # type: ignore[misc]

    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    network = [gpunn.Input((5, 3)), gpunn.layers.Activation("tanh")]
    model = gpunn.Sequential(network, backend=backend)
    found = []
    for loss in (Own(), Unnamed()):
        model.compile("sgd", loss)
        step = gpunn.function(lambda a, b, loss=loss: loss(a, b))
        found.append((model.evaluate(x, x, verbose=0), float(step(x, np.tanh(x)))))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_allclose(found[0][0], found[0][1], rtol=1e-5)


@pytest.mark.parametrize("how", ["arrays", "tensors", "in a step"])
@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
@pytest.mark.parametrize("name", WITH_AXIS)
def test_the_axis_may_be_counted_from_either_end(name: str, axis: int, how: str) -> None:
    random = np.random.default_rng(0)
    sparse = name.startswith("Sparse")
    p = random.dirichlet(np.ones(5), (2, 3, 4))
    y: Any = random.integers(0, 5, (2, 3, 4)) if sparse else random.dirichlet(np.ones(5), (2, 3, 4))
    kind = registry.entries("loss")[name]
    expected = np.asarray(kind(axis=-1, reduction="none")(y, p))
    p_moved = np.moveaxis(p, -1, axis)
    y_moved = y if sparse else np.moveaxis(y, -1, axis)
    loss = kind(axis=axis, reduction="none")
    if how == "tensors":
        found = loss(ops.convert_to_tensor(y_moved), ops.convert_to_tensor(p_moved))
    elif how == "in a step":
        step = gpunn.function(lambda a, b: loss(a, b))
        step(y_moved, p_moved)
        found = step(y_moved, p_moved)
    else:
        found = loss(y_moved, p_moved)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-5)
