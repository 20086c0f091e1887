"""Test the element-wise costs of losses against automatic differentiation; also custom losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers, losses, ops
from gpunn.backends import get_backend
from gpunn.losses import ElementLoss

LOGITS = [losses.BinaryCrossentropy(label_smoothing=s).on_logits() for s in (0.0, 0.2)]
STATED: list[Any] = [
    *(loss for case in registered.cases("loss")
      if isinstance(loss := registered.make("loss", *case), ElementLoss)),
    *LOGITS,
]  # fmt: skip
each = pytest.mark.parametrize("loss", STATED, ids=lambda loss: f"{loss.name} {loss.functor}")


class Quartic(ElementLoss):
    """A custom loss: a mean over the elements of a row."""

    def cost(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(ops.square(y_pred - y_true))


class Added(Quartic):
    mean = False


class Squared(losses.MeanAbsoluteError):
    """Overrides the cost of a built-in loss, and with it the derivative."""

    def cost(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_pred - y_true)


X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((20, 2)).astype(np.float32)


def trained(backend: str, loss: Any) -> tuple[list[np.ndarray], list[float]]:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)], backend=backend
    )
    model.compile(gpunn.optimizers.SGD(0.01), loss)
    history = model.fit(X, Y, batch_size=7, epochs=3, verbose=0).history
    return model.get_weights(), history["loss"]


@pytest.mark.parametrize(
    ("own", "alike"),
    [
        (Quartic(), lambda t, y: ops.mean((y - t) ** 4, axis=-1)),
        (Added(), lambda t, y: ops.sum((y - t) ** 4, axis=-1)),
        (Squared(), "mse"),
    ],
)
def test_a_cost_of_elements_is_a_loss(own: Any, alike: Any, backend: str) -> None:
    weights, values = trained(backend, own)
    others, expected = trained(backend, alike)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_it_is_called_on_arrays() -> None:
    assert float(Quartic()([[1.0, 2.0]], [[1.0, 4.0]])) == 8.0
    assert float(Added()([[1.0, 2.0]], [[1.0, 4.0]])) == 16.0
    assert losses.get(Squared()).functor is None


def test_what_would_be_ignored_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Steep.slope would be ignored. .* cost\(y_true, y_pred\)"):

        class Steep(Quartic):
            def slope(self, y_true: Any, y_pred: Any) -> Any:
                return y_pred

    class Empty(ElementLoss):
        pass

    with pytest.raises(TypeError, match=r"Empty must define cost\(y_true, y_pred\)"):
        Empty()([[1.0]], [[2.0]])


def numbers(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets that losses of all kinds accept, and predictions that avoid kinks."""
    rng = np.random.default_rng(4)
    targets = rng.integers(0, 2, (9, 5)).astype(dtype)
    return targets, rng.uniform(0.01, 0.97, (9, 5)).astype(dtype)


@each
def test_the_slope_is_that_of_automatic_differentiation(loss: Any) -> None:
    targets, predictions = (ops.convert_to_tensor(a, "float64") for a in numbers("float64"))
    derived = gpunn.grad(lambda y: ops.sum(loss.cost(targets, y)))(predictions)
    stated = loss.slope(targets, predictions)
    # For clipped values, only the loss itself is that accurate.
    tolerance = 1e-6 if loss in LOGITS else 1e-11
    np.testing.assert_allclose(np.asarray(stated), np.asarray(derived), rtol=tolerance)


@each
def test_the_slope_is_that_of_differences(loss: Any) -> None:
    """Whether it is derived or stated with the cost."""
    targets, predictions = numbers("float64")
    step = 1e-6
    costs = [
        np.asarray(loss.cost(*(ops.convert_to_tensor(a, "float64") for a in (targets, moved))))
        for moved in (predictions + step, predictions - step)
    ]
    stated = loss.slope(*(ops.convert_to_tensor(a, "float64") for a in (targets, predictions)))
    difference = (costs[0] - costs[1]) / (2 * step)
    np.testing.assert_allclose(np.asarray(stated), difference, rtol=1e-6, atol=1e-8)


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_get_what_the_operations_give(loss: Any, dtype: str) -> None:
    targets, predictions = numbers(dtype)
    far = np.array([-np.inf, -1e30, -50.0, -0.0, 0.0, 1.0, 50.0, 1e30, np.inf, np.nan], dtype)
    predictions = np.concatenate([predictions.ravel(), far])
    targets = np.concatenate([targets.ravel(), np.resize(targets, far.shape)])
    with np.errstate(all="ignore"):
        given = [ops.convert_to_tensor(a, dtype) for a in (targets, predictions)]
        expected = [np.asarray(method(*given)) for method in (loss.cost, loss.slope)]
        kept = targets.copy(), predictions.copy()
        terms, slopes, alone = (np.empty_like(predictions) for _ in range(3))
        loss.elements(get_backend("numpy"), targets, predictions, terms, slopes)
        loss.elements(get_backend("numpy"), targets, predictions, alone, None)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for found, wanted in zip((terms, slopes, alone), (*expected, expected[0]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * 1e-2)
    for before, after in zip(kept, (targets, predictions), strict=True):
        np.testing.assert_array_equal(before, after)


def test_large_arrays_get_what_small_ones_get() -> None:
    """NumPy processes them in chunks, the last of which is ragged."""
    loss, backend = losses.LogCosh(), get_backend("numpy")
    targets, predictions = np.random.default_rng(5).standard_normal((2, 1_100, 4_001), np.float32)
    terms, slopes = np.empty_like(targets), np.empty_like(targets)
    loss.elements(backend, targets, predictions, terms, slopes)
    for rows in (slice(0, 3), slice(500, 503), slice(1_097, 1_100)):
        found = [np.empty_like(terms[rows]) for _ in range(2)]
        loss.elements(backend, targets[rows], predictions[rows], *found)
        np.testing.assert_array_equal(terms[rows], found[0])
        np.testing.assert_array_equal(slopes[rows], found[1])
