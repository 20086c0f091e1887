"""Test penalties, constraints and rates by layer, trained on both backends and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
import torch

import gpunn
from gpunn import constraints, layers, regularizers
from gpunn.optimizers import SGD, Adam

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 5))
Y = RNG.standard_normal((20, 3))
GPUS = {mode: emulated.make_backend(mode) for mode in ("plain", "fused", "persistent")}
BACKENDS = {"numpy": "numpy", "compiled": "compiled", **GPUS}


@gpunn.saving.register_serializable(package="regularizers")
class Cubes(regularizers.Regularizer):
    """A custom penalty."""

    def __call__(self, x: Any) -> Any:
        return 0.1 * np.sum(np.abs(x) ** 3)

    def gradient(self, x: Any) -> Any:
        return 0.3 * x * np.abs(x)


@gpunn.saving.register_serializable(package="regularizers")
class Halves(constraints.Constraint):
    """A custom constraint: no weight above a half."""

    def __call__(self, w: Any) -> Any:
        return w.clip(-0.5, 0.5)


def make(backend: Any, optimizer: Any = None, **given: Any) -> gpunn.Sequential:
    """Dense layers of 4 and 3 units; ``given`` applies to the first one."""
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(
        [layers.Input((5,)), layers.Dense(4, "tanh", bias_initializer="normal", **given),
         layers.Dense(3)],
        dtype="float64", backend=backend,
    )  # fmt: skip
    model.compile(optimizer or SGD(0.1), "mse")
    return model


def fit(model: gpunn.Sequential, epochs: int = 2) -> list[float]:
    history = model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"]


Penalty = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Limit = Callable[[torch.Tensor], torch.Tensor]


def torch_fit(
    weights: list[np.ndarray], penalty: Penalty, limit: Limit | None = None, adam: bool = False
) -> tuple[list[float], list[np.ndarray], float]:
    """The same in PyTorch: losses of the epochs, weights, and the final loss over all rows."""
    w = [torch.tensor(array, requires_grad=True) for array in weights]
    optimizer = torch.optim.Adam(w, 0.1, eps=1e-12) if adam else torch.optim.SGD(w, 0.1)

    def loss(rows: slice) -> torch.Tensor:
        x, y = torch.tensor(X[rows]), torch.tensor(Y[rows])
        out = torch.tanh(x @ w[0] + w[1]) @ w[2] + w[3]
        return torch.nn.functional.mse_loss(out, y) + penalty(w[0], w[1])

    losses = []
    for _ in range(2):
        total = 0.0
        for start in range(0, 20, 8):
            optimizer.zero_grad()
            value = loss(slice(start, start + 8))
            value.backward()
            optimizer.step()
            if limit is not None:
                with torch.no_grad():
                    w[0].copy_(limit(w[0]))
            total += float(value.detach()) * len(X[start : start + 8])
        losses.append(total / 20)
    return losses, [array.detach().numpy() for array in w], float(loss(slice(20)).detach())


def orthogonal(w: torch.Tensor, dim: int) -> torch.Tensor:
    unit = torch.nn.functional.normalize(w, dim=dim)
    cosines = unit @ unit.T if dim == 1 else unit.T @ unit
    n = len(cosines)
    return (cosines * (1 - torch.eye(n, dtype=w.dtype))).abs().sum() / (n * (n - 1))


PENALTIES: dict[str, tuple[dict[str, Any], Penalty]] = {
    "l1": (
        {"kernel_regularizer": regularizers.L1(0.05)},
        lambda w, b: 0.05 * w.abs().sum(),
    ),
    "l2 of both": (
        {"kernel_regularizer": regularizers.L2(0.05), "bias_regularizer": "l2"},
        lambda w, b: 0.05 * (w**2).sum() + 0.01 * (b**2).sum(),
    ),
    "l1 and l2 of the bias": (
        {"bias_regularizer": regularizers.L1L2(0.05, 0.1)},
        lambda w, b: 0.05 * b.abs().sum() + 0.1 * (b**2).sum(),
    ),
    "orthogonal rows": (
        {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.5)},
        lambda w, b: 0.5 * orthogonal(w, 1),
    ),
    "orthogonal columns": (
        {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.5, "columns")},
        lambda w, b: 0.5 * orthogonal(w, 0),
    ),
    "of one's own": (
        {"kernel_regularizer": Cubes(), "bias_regularizer": "l1"},
        lambda w, b: 0.1 * (w.abs() ** 3).sum() + 0.01 * b.abs().sum(),
    ),
}


@pytest.mark.parametrize("backend", ["numpy", "compiled", "plain"])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_part_of_the_loss(name: str, backend: str) -> None:
    check_penalty(name, backend, SGD(0.1))


@pytest.mark.parametrize("backend", ["fused", "persistent"])
def test_penalties_in_one_launch_with_others(backend: str) -> None:
    check_penalty("l2 of both", backend, SGD(0.1))


def test_penalties_are_in_what_adam_scales() -> None:
    check_penalty("l2 of both", "numpy", Adam(0.1, epsilon=1e-12))


def check_penalty(name: str, backend: str, optimizer: Any) -> None:
    given, penalty = PENALTIES[name]
    model = make(BACKENDS[backend], optimizer, **given)
    adam = isinstance(optimizer, Adam)
    losses, weights, after = torch_fit(model.get_weights(), penalty, adam=adam)
    tolerance = 1e-7 if adam else 1e-11  # its epsilon is added in another place there
    np.testing.assert_allclose(fit(model), losses, rtol=tolerance)
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    evaluated = model.evaluate(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(evaluated, after, rtol=tolerance)


def test_validation_has_the_penalty_and_a_batch_too() -> None:
    given, plain = {"kernel_regularizer": regularizers.L2(0.05)}, make("numpy")
    model = make("numpy", SGD(0.0), **given)
    penalty = 0.05 * (model.get_weights()[0] ** 2).sum()
    loss = plain.evaluate(X, Y, verbose=0)
    history = model.fit(X, Y, validation_data=(X[:3], Y[:3]), verbose=0).history
    np.testing.assert_allclose(history["loss"], [loss + penalty])
    small = plain.evaluate(X[:3], Y[:3], verbose=0)
    np.testing.assert_allclose(history["val_loss"], [small + penalty])
    np.testing.assert_allclose(model.train_on_batch(X, Y), loss + penalty)
    np.testing.assert_allclose(model.test_on_batch(X[:3], Y[:3]), small + penalty)


def test_frozen_weights_have_no_penalty() -> None:
    model = make("numpy", kernel_regularizer="l2")
    with_penalty = model.evaluate(X, Y, verbose=0)
    model.layers[0].trainable = False
    without = model.evaluate(X, Y, verbose=0)
    expected = 0.01 * (model.get_weights()[0] ** 2).sum()
    np.testing.assert_allclose(with_penalty - without, expected)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "plain"])
def test_a_changed_penalty_takes_effect(backend: str) -> None:
    model = make(BACKENDS[backend], SGD(0.0), kernel_regularizer=regularizers.L2(0.0))
    kernel = model.layers[0].kernel
    squares = (kernel.numpy() ** 2).sum()
    losses = [model.evaluate(X, Y, verbose=0)]
    kernel.regularizer.l2 = 0.5
    losses.append(model.evaluate(X, Y, verbose=0))
    kernel.regularizer = Cubes()
    losses.append(model.evaluate(X, Y, verbose=0))
    kernel.regularizer = None
    losses.append(model.evaluate(X, Y, verbose=0))
    cubes = 0.1 * (np.abs(kernel.numpy()) ** 3).sum()
    np.testing.assert_allclose(np.subtract(losses, losses[0]), [0, 0.5 * squares, cubes, 0])


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_gradient_of_the_orthogonal_penalty(mode: str) -> None:
    w, d = RNG.standard_normal((4, 6)), 1e-6
    regularizer = regularizers.OrthogonalRegularizer(1.0, mode)
    found = regularizer.gradient(w)
    for at in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[at] = d
        slope = (regularizer(w + step) - regularizer(w - step)) / (2 * d)
        np.testing.assert_allclose(found[at], slope, atol=1e-8)


# -- constraints

LIMITS: dict[str, tuple[constraints.Constraint, Limit]] = {
    "max norm": (constraints.MaxNorm(0.75), lambda w: torch.renorm(w, 2, 1, 0.75)),
    "max norm of rows": (constraints.MaxNorm(0.5, axis=1), lambda w: torch.renorm(w, 2, 0, 0.5)),
    "not negative": (constraints.NonNeg(), lambda w: w.clamp(min=0)),
    "unit norm": (constraints.UnitNorm(), lambda w: w / torch.linalg.norm(w, dim=0)),
    "of all together": (constraints.UnitNorm([0, 1]), lambda w: w / torch.linalg.norm(w)),
    "min and max, halfway": (
        constraints.MinMaxNorm(0.9, 1.0, rate=0.5),
        lambda w: (
            w * (0.5 + 0.5 * torch.linalg.norm(w, dim=0).clamp(0.9, 1.0)
                 / torch.linalg.norm(w, dim=0))
        ),
    ),
    "of one's own": (Halves(), lambda w: w.clamp(-0.5, 0.5)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in LIMITS for backend in ("numpy", "compiled", "plain")]
    + [("max norm", "fused"), ("max norm", "persistent")],
)
def test_constraints_hold_after_each_update(name: str, backend: str) -> None:
    constraint, limit = LIMITS[name]
    model = make(BACKENDS[backend], kernel_constraint=constraint)
    losses, weights, _ = torch_fit(model.get_weights(), lambda w, b: w.sum() * 0, limit)
    np.testing.assert_allclose(fit(model), losses, rtol=1e-5)
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(constraint(kernel), kernel, rtol=0.15 if "half" in name else 1e-6)


def test_norms_of_a_convolutions_filters() -> None:
    w = RNG.standard_normal((3, 3, 2, 4))
    limited = constraints.MaxNorm(1.0, axis=[0, 1, 2])(w)
    np.testing.assert_allclose(np.linalg.norm(limited.reshape(18, 4), axis=0), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(limited, constraints.MaxNorm(1.0, axis=(-4, -3, -2))(w))


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (2, "axis=2 does not fit"), ([0, 2], "adjacent"), (-3, "axis=-3"),
        ([1, 2], r"axis=\[1, 2\] does not fit"),
    ],
)  # fmt: skip
def test_axes_that_do_not_fit(axis: Any, words: str) -> None:
    shape = (2, 3, 4) if axis == [0, 2] else (2, 3)
    with pytest.raises(ValueError, match=words):
        constraints.MaxNorm(axis=axis)(np.ones(shape))


def test_the_bias_has_a_constraint_of_its_own() -> None:
    model = make("numpy", bias_constraint="non_neg")
    assert (model.get_weights()[1] < 0).any()
    fit(model, 1)
    assert (model.get_weights()[1] >= 0).all()


# -- both


def test_penalties_and_constraints_are_saved(tmp_path: Path) -> None:
    model = make(  # on the default backend, like the loaded model
        None, kernel_regularizer=regularizers.L1L2(0.1, 0.2), bias_regularizer=Cubes(),
        kernel_constraint=constraints.MinMaxNorm(0.1, 0.9, axis=[0]), bias_constraint=Halves(),
        learning_rate_multiplier="lecun",
    )  # fmt: skip
    fit(model, 1)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert again.layers[0].get_config() == model.layers[0].get_config()
    fit(model, 1)
    fit(again, 1)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_only_a_step_that_needs_them_has_the_operations() -> None:
    model = make("numpy")
    with model.backend.profile() as operations:
        fit(model, 1)
    assert not {"regularize", "constrain"} & {operation.name for operation in operations}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown regularizer"):
        layers.Dense(3, activity_regularizer="l3")
    with pytest.raises(ValueError, match="Unknown regularizer"):
        layers.Dense(3, kernel_regularizer="l3")
    with pytest.raises(ValueError, match="Unknown constraint"):
        layers.Dense(3, bias_constraint="max_nrom")


def test_no_samples_add_no_penalty() -> None:
    layer = layers.Dense(3, activity_regularizer="l2")
    for rows in (2, 0):
        layer(np.ones((rows, 4)))
        (penalty,) = layer.losses
        assert (float(penalty) > 0) == (rows > 0)


# -- rates by layer


@pytest.mark.parametrize("backend", ["numpy", "compiled", "plain"])
def test_rates_by_layer_may_change(backend: str) -> None:
    model = make(BACKENDS[backend], learning_rate_multiplier="lecun")
    first = model.layers[0]
    for multiplier, factor in (("lecun", 5**-0.5), (0.25, 0.25), (0.0, 0.0), (2, 2.0)):
        first.learning_rate_multiplier = multiplier
        before = model.get_weights()
        model.train_on_batch(X, Y)
        steps = np.subtract(before[0], model.get_weights()[0])
        gradient = model.gradients()[f"{first.name}/kernel"]
        np.testing.assert_allclose(steps, 0.1 * factor * gradient, rtol=1e-9, atol=1e-15)


def test_wrong_multipliers() -> None:
    with pytest.raises(ValueError, match="learning_rate_multiplier"):
        layers.Dense(3, learning_rate_multiplier=-1.0)
    with pytest.raises(ValueError, match="'lecunn'"):
        layers.Dropout(0.5, learning_rate_multiplier="lecunn")
    without_kernel = layers.LayerNormalization(learning_rate_multiplier="lecun")
    without_kernel.build((None, 4))
    assert [p.multiplier for p in without_kernel.weights] == [1.0, 1.0]
