"""Test losses at extremes and at their kinks, and against reference implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered
from scipy.stats import entropy, poisson

import gpunn
from gpunn import layers, losses
from gpunn.backends import get_backend

BACKENDS = ["numpy", "compiled", "emulated"]


def value_and_gradient(
    loss: Any, y_true: Any, y_pred: Any, backend: str, dtype: str = "float32"
) -> tuple[float, np.ndarray]:
    """The mean loss of the rows and its gradient, as a training step computes them."""
    device = get_backend(backend)
    y = device.upload(np.array(y_pred, dtype))
    t = device.upload(np.array(y_true, np.int32 if loss.sparse else dtype))
    gradient, totals = device.empty(y.shape, dtype), device.zeros((2,), np.float64)
    with np.errstate(all="ignore"), device.stream_lock:
        loss.add_up(device, t, y, None, 1 / len(y), gradient, totals)
    total, rows = device.read(totals)
    return total / rows, device.read(gradient)


def targets(loss: Any, rows: int, columns: int) -> np.ndarray:
    labels = np.arange(rows) % columns
    return labels if loss.sparse else np.eye(columns)[labels]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), registered.cases("loss"), ids=registered.label)
def test_extreme_predictions(name: str, arguments: dict, dtype: str, backend: str) -> None:
    """Loss and gradient are finite for any output of a layer."""
    loss = registered.make("loss", name, arguments)
    bounded = not getattr(loss, "from_logits", True)
    extremes = [0.0, 1.0, 1e-30] if bounded else [0.0, 1e4, 1e-30, -1e4, 1e15]
    if name == "Poisson":  # its predictions are rates, which are not negative
        extremes = [0.0, 1e4, 1e-30, 1e15]
    grid = np.array(np.meshgrid(extremes, extremes, extremes)).reshape(3, -1).T
    if bounded:
        grid = grid[grid.sum(axis=1) > 0]  # as in Keras, 0 / 0 is not a probability
    if name == "Circle":  # of vectors of length 1
        grid = np.array([[1.0, 0.0, 0.0], [1e-30, 1.0, 0.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    value, gradient = value_and_gradient(loss, targets(loss, *grid.shape), grid, backend, dtype)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_crossentropy_of_infinite_logits(target: float, backend: str) -> None:
    loss = losses.BinaryCrossentropy(from_logits=True)
    for logit in (np.inf, -np.inf):
        value, gradient = value_and_gradient(loss, [[target]], [[logit]], backend)
        right = (logit > 0) == bool(target)
        assert value == (0 if right else np.inf)
        assert gradient.item() == (0 if right else np.sign(logit))


@pytest.mark.parametrize("backend", BACKENDS)
def test_euclidean_distance(backend: str) -> None:
    loss = losses.EuclideanDistance()
    value, gradient = value_and_gradient(loss, np.zeros((1, 2)), [[3.0, -4.0]], backend)
    assert value == 5 and gradient[0] == pytest.approx([0.6, -0.8])
    value, gradient = value_and_gradient(loss, np.ones((2, 3)), np.ones((2, 3)), backend)
    assert value == 0 and not gradient.any()
    value, gradient = value_and_gradient(loss, np.zeros((1, 2)), [[3e30, -4e30]], backend)
    assert value == pytest.approx(5e30) and gradient[0] == pytest.approx([0.6, -0.8])


@pytest.mark.parametrize("backend", BACKENDS)
def test_cosine_similarity_of_nothing(backend: str) -> None:
    loss = losses.CosineSimilarity()
    for t, y in ((np.zeros((1, 2)), np.ones((1, 2))), (np.ones((1, 2)), np.zeros((1, 2)))):
        value, gradient = value_and_gradient(loss, t, y, backend)
        assert value == 0 and not gradient.any()
    value, gradient = value_and_gradient(loss, [[0.0, 1.0]], [[3e30, 3e30]], backend)
    assert value == pytest.approx(-np.sqrt(0.5)) and np.isfinite(gradient).all()


def test_kl_divergence_and_its_other_direction() -> None:
    random = np.random.default_rng(0)
    t, p = random.dirichlet(np.ones(4), (2, 5))
    loss = losses.KLDivergence(reduction="none")
    np.testing.assert_allclose(loss(t, p), entropy(t, p, axis=1))
    np.testing.assert_allclose(loss(p, t), entropy(p, t, axis=1))


def test_poisson_is_a_likelihood_up_to_a_constant() -> None:
    counts, rates = np.arange(4.0)[:, None], np.array([0.5, 1.0, 2.5])
    ours = [losses.poisson(np.broadcast_to(counts, (4, 1)), np.full((4, 1), r)) for r in rates]
    theirs = [-poisson.logpmf(counts[:, 0], r) for r in rates]
    np.testing.assert_allclose(np.diff(ours, axis=0), np.diff(theirs, axis=0), rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["Hinge", "SquaredHinge", "PerceptronCriterion"])
def test_labels_of_0_are_those_of_minus_1(name: str, backend: str) -> None:
    loss = registered.make("loss", name, {})
    random = np.random.default_rng(1)
    y, t = random.normal(size=(6, 3)), random.integers(0, 2, (6, 3))
    by_bits, by_sides = (value_and_gradient(loss, truth, y, backend) for truth in (t, 2 * t - 1))
    assert by_bits[0] == by_sides[0]
    np.testing.assert_array_equal(by_bits[1], by_sides[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_slopes_at_kinks(backend: str) -> None:
    """Where a loss has no derivative, the slope lies between those on both sides."""
    for name, y, slope in (
        ("MeanAbsoluteError", 1.0, 0.0),
        ("MeanAbsolutePercentageError", 1.0, 0.0),
        ("Hinge", 1.0, 0.0),
        ("PerceptronCriterion", 0.0, -1.0),
    ):
        _, gradient = value_and_gradient(registered.make("loss", name, {}), [[1]], [[y]], backend)
        assert gradient.item() == slope, name
    # The largest wrong outputs share the slope, as in automatic differentiation.
    loss = losses.CategoricalHinge()
    _, gradient = value_and_gradient(loss, [[0, 1, 0]], [[0.5, 0.5, 0.5]], backend)
    assert gradient[0] == pytest.approx([0.5, -1, 0.5])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_perceptron_from_zero_weights_separates(backend: str) -> None:
    """Rosenblatt's rule is gradient descent on the criterion, one sample at a time."""
    random = np.random.default_rng(2)
    x = random.normal(size=(40, 2)) + np.where(np.arange(40) % 2, 2.0, -2.0)[:, None]
    y = np.where(np.arange(40) % 2, 1.0, -1.0)[:, None]
    neuron = layers.Dense(1, kernel_initializer="zeros")
    model = gpunn.Sequential([layers.Input((2,)), neuron], backend=backend)
    model.compile(gpunn.optimizers.SGD(1.0), "perceptron_criterion")
    model.fit(x, y, batch_size=1, epochs=5, shuffle=False, verbose=0)
    w, b = np.zeros(2), 0.0
    for _ in range(5):
        for row, side in zip(x, y[:, 0], strict=True):
            if side * (w @ row + b) <= 0:
                w, b = w + side * row, b + side
    assert neuron.get_weights()[0][:, 0] == pytest.approx(w, rel=1e-5)
    assert (np.sign(model.predict(x, verbose=0)) == y).all()


def test_arguments() -> None:
    for delta in (0.0, -1.0):
        with pytest.raises(ValueError, match="delta must be a positive number"):
            losses.Huber(delta=delta)
    for name, cls in {
        "mae": "MeanAbsoluteError", "MAPE": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError", "kld": "KLDivergence", "logcosh": "LogCosh",
        "huber": "Huber", "kl_divergence": "KLDivergence", "squared_hinge": "SquaredHinge",
    }.items():  # fmt: skip
        assert type(losses.get(name)).__name__ == cls
    assert type(losses.get(losses.mean_absolute_error)).__name__ == "MeanAbsoluteError"


KERAS_ONLY = ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "LogCosh",
              "SquaredHinge", "CategoricalHinge", "CosineSimilarity", "KLDivergence")  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
def test_values_and_gradients_are_those_of_keras(keras: Any) -> None:
    """For losses that PyTorch does not have or defines differently."""
    import torch

    y_pred = np.random.default_rng(3).dirichlet(np.ones(4), 6).astype(np.float32)
    y_true = np.eye(4, dtype=np.float32)[np.arange(6) % 4]

    for name in KERAS_ONLY:
        p = torch.tensor(y_pred, requires_grad=True)
        value = getattr(keras.losses, name)()(y_true, p)
        value.backward()
        slope = p.grad.numpy()
        loss = registered.make("loss", name, {})
        ours, gradient = value_and_gradient(loss, y_true, y_pred, "numpy")
        assert ours == pytest.approx(value.item(), rel=1e-5), name
        size = np.abs(slope).max()
        np.testing.assert_allclose(gradient, slope, rtol=2e-5, atol=1e-6 * size, err_msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"]
)
@pytest.mark.parametrize("weights", [None, (4, 1), (4, 4), (4, 4, 1)], ids=str)
def test_called_on_arrays_it_weighs_as_keras_does(
    weights: tuple[int, ...] | None, reduction: str, keras: Any
) -> None:
    """For several steps in each row."""
    ours, theirs, values, given = weighed(weights, reduction, keras)
    if weights == (4, 1) and reduction == "mean_with_sample_weight":
        # Keras divides by the sum of the unbroadcast weights, which is not a mean.
        assert theirs == pytest.approx((values * given).sum() / given.sum())
        assert ours == pytest.approx(np.average(values, weights=given + np.zeros((4, 4))))
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
def test_weights_of_rows_are_not_those_of_steps(keras: Any) -> None:
    """Keras broadcasts them over the last axis, silently if there are as many steps as rows."""
    ours, theirs, values, given = weighed((4,), "none", keras)
    np.testing.assert_allclose(ours, values * given[:, np.newaxis], rtol=1e-6)
    np.testing.assert_allclose(theirs, values * given, rtol=1e-6)


def weighed(
    shape: tuple[int, ...] | None, reduction: str, keras: Any
) -> tuple[Any, Any, np.ndarray, Any]:
    """Our loss and Keras's for 4 steps in 4 rows, the single losses, and weights of this shape."""
    random = np.random.default_rng(7)
    y_true, y_pred = random.normal(size=(2, 4, 4, 3)).astype(np.float32)
    given = None if shape is None else random.uniform(0.5, 2.0, shape).astype(np.float32)
    ours, theirs = (
        module.losses.MeanSquaredError(reduction=reduction)(y_true, y_pred, sample_weight=given)
        for module in (gpunn, keras)
    )
    return ours, np.asarray(theirs), ((y_true - y_pred) ** 2).mean(-1), given


def test_a_loss_of_single_numbers() -> None:
    assert losses.MeanSquaredError()(2.0, 3.5) == 2.25
    assert losses.SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]) == pytest.approx(np.log(2))


def test_an_unknown_name_is_answered_with_those_that_are_like_it():
    with pytest.raises(ValueError, match="Unknown loss: 'crossentropy'") as caught:
        losses.get("crossentropy")
    message = str(caught.value)
    assert "binary_crossentropy" in message and "sparse_categorical_crossentropy" in message
    assert "hinge" not in message and "binarycrossentropy" not in message and len(message) < 300
    with pytest.raises(ValueError, match=r"Did you mean 'mean_squared_error'\?"):
        losses.get("mean_square_error")
    with pytest.raises(ValueError, match=r"Unknown loss: 'xyz'\. Known: .*\.\.\.\."):
        losses.get("xyz")
