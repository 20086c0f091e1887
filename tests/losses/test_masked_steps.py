"""Every loss, and every mean of a metric, counts the steps that a mask leaves, and only these."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import registered
from properties import masked_sequences as sequences
from properties.masked_sequences import Marked, near, numbers, seeds

import gpunn
from gpunn import layers

pytestmark = pytest.mark.usefixtures("doubles")
ROWS, BATCH, STEPS, FEATURES, CLASSES = 5, 2, 4, 3, 3
METRICS = ["mae", "RootMeanSquaredError", "CosineSimilarity", "CategoricalAccuracy"]
"""Without those that count or rank, which read masked steps too."""


def compiled(loss: Any, inputs: Any, y: Any) -> Any:
    metrics = ["SparseCategoricalAccuracy"] if loss.sparse else METRICS
    model = gpunn.Model(inputs, y)
    model.compile(gpunn.optimizers.SGD(0.01), loss, weighted_metrics=[*metrics])
    return model


NAMES = [  # Circle compares samples
    n for n in registered.names("loss") if n not in ("Circle", *registered.OF_SEQUENCES)
]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.more] * (i % 3 > 0)) for i, n in enumerate(NAMES)]
)
@seeds(1, 5)
def test_a_masked_step_is_no_step(backend: str, name: str, seed: int) -> None:
    """In batches, of which the last is smaller, with weights of steps or without."""
    gpunn.use_backend(backend)
    draw = random.Random(f"{name} {seed}")
    arguments = draw.choice(registered.examples("loss", name))
    number = NAMES.index(name) // 3 + seed
    reduction = ("sum_over_batch_size", "sum", "mean_with_sample_weight")[number % 3]
    loss, other = (
        registered.make("loss", name, {**arguments, "reduction": reduction}) for _ in "ab"
    )
    output = "linear" if getattr(loss, "from_logits", False) else "softmax"
    mask = sequences.a_mask(draw, ROWS, STEPS)
    mask[::BATCH, draw.randrange(STEPS)] = True
    x = sequences.spoiled(numbers(draw, ROWS, STEPS, FEATURES), mask, 30.0)
    y = np.random.default_rng(seed).integers(0, CLASSES, (ROWS, STEPS))
    y = y if loss.sparse else np.eye(CLASSES)[y] * 0.5 + 0.2 * ("Cross" not in name)
    weights = np.abs(numbers(draw, ROWS, STEPS)) + 0.1 if number % 2 else None

    given = [gpunn.Input((STEPS, FEATURES)), gpunn.Input((STEPS,))]
    model = compiled(loss, given, layers.Dense(CLASSES, output)(Marked()(given)))
    one = gpunn.Input((FEATURES,))
    flat = compiled(other, one, layers.Dense(CLASSES, output)(one))
    sequences.randomized(model, draw)
    flat.set_weights(model.get_weights())
    history = model.fit(
        [x, mask * 1.0], y, BATCH, epochs=1, sample_weight=weights, shuffle=False, verbose=0
    )
    losses, rows = [], []
    for k in range(0, ROWS, BATCH):
        part = slice(k, k + BATCH)
        left = mask[part]
        by = None if weights is None else weights[part][left]
        found = flat.train_on_batch(x[part][left], y[part][left], by, return_dict=True)
        losses.append(found["loss"]), rows.append(len(left))
    near(model.get_weights(), flat.get_weights())
    assert np.isfinite(history.history["loss"]).all()
    near(history.history["loss"][0], np.average(losses, weights=rows))
    scores = model.evaluate([x, mask * 1.0], y, ROWS, 0, weights, return_dict=True)
    by = None if weights is None else weights[mask]
    expected = flat.evaluate(x[mask], y[mask], mask.sum(), 0, by, return_dict=True)
    near([*scores.values()], [expected[key] for key in scores])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean", "sum", "none", "mean_with_sample_weight"]
)
def test_a_mask_of_predictions_counts_by_hand(keras: Any, reduction: str, weighted: bool) -> None:
    """In a loss and a metric that are called on tensors, as in Keras."""
    numbers = np.random.default_rng(0)
    mask = numbers.random((ROWS, STEPS)) > 0.4
    y_true, values = (numbers.normal(size=(ROWS, STEPS, 2)).astype("float32") for _ in "ab")
    weights = numbers.random((ROWS, STEPS)).astype("float32") if weighted else None
    found = []
    for library in (gpunn, keras):
        y_pred = library.ops.convert_to_tensor(values)
        y_pred._keras_mask = library.ops.convert_to_tensor(mask)
        loss = library.losses.MeanSquaredError(reduction=reduction)
        metric = library.metrics.MeanAbsoluteError()
        metric.update_state(y_true, y_pred, weights)
        found.append((np.asarray(loss(y_true, y_pred, weights)), float(metric.result())))
    (own, of_metric), (wanted, of_kerass) = found
    np.testing.assert_allclose(own, wanted, rtol=1e-5)
    assert of_metric == pytest.approx(of_kerass, rel=1e-5)


def test_a_model_gives_the_mask_of_its_output(keras: Any) -> None:
    codes = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
    for library in (gpunn, keras):
        inputs = library.Input((4,), dtype="int32")
        steps = library.layers.Embedding(7, 3, mask_zero=True)(inputs)
        model = library.Model(inputs, library.layers.Dense(2)(steps))
        np.testing.assert_array_equal(model(codes)._keras_mask, codes > 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_weights_with_an_axis_more_are_those_of_the_steps(keras: Any, shape: Any) -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    weights, mask = np.array([0.4, 0.3, 0.2, 0.1]), np.array([True, False, True, True])
    found = []
    for m in (gpunn, keras):

        class Squared(m.losses.Loss):  # type: ignore[misc, name-defined]
            def call(self, y_true: Any, y_pred: Any) -> Any:
                return (y_true - y_pred) ** 2

        predictions = m.ops.convert_to_tensor(p)
        predictions._keras_mask = m.ops.convert_to_tensor(mask)
        value = Squared()(y, predictions, sample_weight=weights.reshape(shape))
        found.append(float(m.ops.convert_to_numpy(value)))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0] == pytest.approx(np.sum((weights * (y - p) ** 2)[mask]) / 3, rel=1e-6)
