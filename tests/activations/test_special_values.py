"""Test that built-in activations agree on every backend at signed zeros, infinities and NaN."""

from __future__ import annotations

from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import registered

from gpunn import activations
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend

BACKENDS = ["numpy", "compiled", "emulated"]
CASES = registered.cases("activation", "Softmax", "LogSoftmax", "Sparsemax")
each_activation = pytest.mark.parametrize(("name", "arguments"), CASES, ids=registered.label)


def points(dtype: str) -> np.ndarray:
    most = np.finfo(dtype).max
    sizes = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0, 6.0, 20.0, 1e4, most, np.inf]
    return np.array([*sizes, *(-x for x in sizes), np.nan], dtype)[:, None]


def passes(
    backend: Backend, activation: Any, x: np.ndarray, *slopes: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return f(x), and the gradient for each of these dy."""
    given, y = backend.upload(x.copy()), backend.empty(x.shape, x.dtype)
    with np.errstate(all="ignore"):
        backend.bias_activation(given, None, activation, y)
        found = []
        for slope in slopes:
            dy, dx = backend.upload(np.full_like(x, slope)), backend.empty(x.shape, x.dtype)
            saved = given if activation.saves == "input" else y
            backend.activation_gradient(activation, saved, dy, dx)
            found.append(backend.read(dx))
    return backend.read(y), found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_activation
def test_zeros_infinities_and_nan_are_the_same_on_every_backend(
    name: str, arguments: dict[str, Any], dtype: str
) -> None:
    activation, x = registered.make("activation", name, arguments), points(dtype)
    expected, _ = passes(get_backend("numpy"), activation, x)
    for backend in BACKENDS[1:]:
        found, _ = passes(get_backend(backend), activation, x)
        # Values so small that some backends round them to 0 count as 0 here.
        rounded = [np.where(np.abs(y) < 1e-30, np.copysign(0, y), y) for y in (found, expected)]
        special = [~np.isfinite(y) | (y == 0) for y in rounded]
        pair = [y[special[0] | special[1]] for y in rounded]
        np.testing.assert_array_equal(*pair, backend)
        np.testing.assert_array_equal(*[np.signbit(y[~np.isnan(y)]) for y in pair], backend)


@pytest.mark.parametrize("backend", BACKENDS)
@each_activation
def test_where_a_curve_is_flat_nothing_comes_back(
    name: str, arguments: dict[str, Any], backend: str
) -> None:
    """However large the incoming gradient is: 0 times infinity would be NaN."""
    activation = registered.make("activation", name, arguments)
    x = points("float32")
    _, slopes = passes(get_backend(backend), activation, x, np.inf, -np.inf, np.nan)
    for start, stop in activation.properties.flat:
        inside = (x > start) & (x < stop)
        for slope in slopes:
            np.testing.assert_array_equal(slope[inside], 0.0)


def test_elsewhere_it_does() -> None:
    """An infinite gradient stays infinite where the slope is not 0."""
    x = np.array([[-1.0], [0.5], [2.0]], np.float32)
    for name in ("relu", "relu6", "hard_sigmoid", "hard_silu", "leaky_relu"):
        activation = activations.get(name)
        for backend in BACKENDS:
            _, (slope,) = passes(get_backend(backend), activation, x, np.inf)
            assert np.isinf(slope[1:]).all(), (name, backend)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3)])
@pytest.mark.parametrize("name", ["log_softmax", "softmax", "relu"])
def test_nothing_stays_nothing(name: str, shape: tuple[int, ...]) -> None:
    assert getattr(activations, name)(np.zeros(shape, "float32")).shape == shape
