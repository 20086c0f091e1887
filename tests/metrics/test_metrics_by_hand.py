"""Test metrics that steps written by hand update, around their updates of the weights."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import activations, layers, losses, metrics, ops

RANDOM = np.random.default_rng(0)
X, LABELS = RANDOM.normal(size=(9, 3)).astype("float32"), RANDOM.integers(0, 4, 9)


def test_a_mean_of_losses_counts_batches_or_rows(every_backend: str) -> None:
    """Of batches of several sizes, with results before, between and after."""
    gpunn.use_backend(every_backend)
    loss, plain, by_rows = losses.SparseCategoricalCrossentropy(), metrics.Mean(), metrics.Mean()

    @gpunn.function
    def step(z: Any, labels: Any) -> Any:
        value = loss(labels, activations.softmax(z))
        before = plain.result()
        plain.update_state(value)
        between = plain.result()
        plain.update_state(value)
        by_rows.update_state(value, sample_weight=z.shape[0])
        return value, before, between, plain.result(), by_rows.result()

    z, counted = RANDOM.normal(size=(9, 4)).astype("float32"), list[float]()
    sizes = [4, 4, 4, 4, 2, 2, 2, 3, 3, 3, 4]
    for number, size in enumerate(sizes):
        rows = slice(number % 5, number % 5 + size)
        value, *found = map(float, step(z[rows], LABELS[rows]))
        logs = z[rows] - np.log(np.exp(z[rows]).sum(-1, keepdims=True))
        assert value == pytest.approx(-logs[range(size), LABELS[rows]].mean(), rel=1e-5)
        before = np.mean(counted) if counted else 0.0
        counted += [value, value]
        mean = np.average(counted[::2], weights=sizes[: number + 1])
        assert_allclose(found, [before, np.mean(counted[:-1]), np.mean(counted), mean], rtol=1e-6)
    assert step.compiled
    copied = pickle.loads(pickle.dumps(plain))
    assert copied.result() == plain.result() == pytest.approx(np.mean(counted))
    copied.update_state(7.0)
    assert copied.result() == pytest.approx(np.mean([*counted, 7.0]))
    plain.reset_state()
    value = float(step(z[:4], LABELS[:4])[0])
    assert plain.result() == pytest.approx(value)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_each_reads_the_weights_that_there_were(activation: Any, every_backend: str) -> None:
    """Predictions from before an update may be counted after it."""

    def measured(compiled: bool) -> list[float]:
        gpunn.utils.set_random_seed(0)
        gpunn.use_backend(every_backend)
        chain = [gpunn.Input((3,)), layers.Dense(4, activation)]
        model, optimizer = gpunn.Sequential(chain), gpunn.optimizers.SGD(3.0)
        loss = losses.MeanSquaredError()
        of = {name: metrics.SparseCategoricalAccuracy(name=name) for name in "abc"}
        worst = {name: metrics.Mean(name=name) for name in "defg"}

        def step(x: Any, labels: Any) -> Any:
            with gpunn.GradientTape() as tape:
                y = model(x)
                value = loss(ops.one_hot(labels, 4), y)
            of["a"].update_state(labels, y)
            slopes = tape.gradient(value, model.trainable_variables)
            optimizer.apply(slopes, model.trainable_variables)
            of["b"].update_state(labels, y)
            after = model(x)
            of["c"].update_state(labels, after)
            worst["d"].update_state(ops.max(after - y))
            worst["e"].update_state(value)
            worst["f"].update_state(loss(ops.one_hot(labels, 4), after))
            optimizer.apply(slopes, model.trainable_variables)
            worst["g"].update_state(ops.max(model(x) - after))
            return value

        call = gpunn.function(step) if compiled else step
        for _ in range(4):
            call(ops.convert_to_tensor(X), ops.convert_to_tensor(LABELS))
        assert not compiled or call.compiled
        return [float(m.result()) for m in (*of.values(), *worst.values())]

    found = measured(True)
    assert_allclose(found, measured(False), rtol=1e-5)
    a, b, c, *_ = found
    assert a == b != c


def test_a_largest_prediction_is_found_as_in_python(every_backend: str) -> None:
    """Beside an average over classes of its own, which replaces the rows that are counted."""
    gpunn.use_backend(every_backend)

    class Other(metrics.SparseCategoricalAccuracy):
        def rows(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
            values[...] = y_pred[:, 0]

    plain, own, dense = metrics.SparseCategoricalAccuracy(), Other(), metrics.CategoricalAccuracy()
    z = RANDOM.normal(size=(9, 4)).astype("float32")

    @gpunn.function
    def step(z: Any, labels: Any) -> None:
        y = activations.softmax(z)
        plain.update_state(labels, y)
        dense.update_state(ops.one_hot(labels, 4), y)
        if every_backend == "numpy":
            own.update_state(labels, y)

    for _ in range(4):
        step(z, LABELS)
    share = np.mean(z.argmax(-1) == LABELS)
    assert plain.result() == dense.result() == pytest.approx(share)
    if every_backend == "numpy":
        y = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        assert own.result() == pytest.approx(y[:, 0].mean(), rel=1e-5)
