"""Metrics of outputs with a mask: those of the steps that are left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, metrics, ops

STEPS = 5


class Positives(metrics.Metric):
    """A user's own, by Keras's two methods."""

    def __init__(self) -> None:
        super().__init__(name="positives")
        self.total = self.add_weight(name="total")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        found = ops.cast(ops.squeeze(y_pred, -1) > 0.5, "float32")
        self.total.assign_add(ops.sum(found if sample_weight is None else found * sample_weight))

    def result(self) -> Any:
        return self.total


class Unweighted(Positives):
    def update_state(self, y_true: Any, y_pred: Any) -> None:  # type: ignore[override]
        super().update_state(y_true, y_pred)


MAKE: dict[str, Any] = {
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "area": metrics.AUC,
    "true positives": metrics.TruePositives,
    "false positives": metrics.FalsePositives,
    "true negatives": metrics.TrueNegatives,
    "false negatives": metrics.FalseNegatives,
    "F1": lambda: metrics.F1Score(threshold=0.5),
    "R2": metrics.R2Score,
    "accuracy": metrics.BinaryAccuracy,
    "intersection over union": metrics.BinaryIoU,
    "own": Positives,
}


def network() -> Any:
    model = gpunn.Sequential(
        [gpunn.Input((STEPS, 2)), layers.Masking(), layers.Dense(1, "sigmoid")]
    )
    model.set_weights([[[1.0], [-1.0]], [0.1]])
    return model


def data() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(1)
    x = random.standard_normal((8, STEPS, 2)).astype("float32")
    valid = random.random((8, STEPS)) < 0.6
    return np.where(valid[..., None], x, 0), random.integers(0, 2, (8, STEPS, 1)), valid


@pytest.mark.parametrize("name", MAKE)
def test_they_are_those_of_the_steps_that_are_left(every_backend: str, name: str) -> None:
    gpunn.use_backend(every_backend)
    model, (x, y, valid) = network(), data()
    model.compile("sgd", "binary_crossentropy", metrics=[MAKE[name]()])
    _, found = model.evaluate(x, y, batch_size=4, verbose=0)
    alone = MAKE[name]()
    p = 1 / (1 + np.exp(-(x @ [[1.0], [-1.0]] + 0.1)))
    left_p, left_y = p[valid].astype("float32"), y[valid].astype("float32")
    if name == "own":
        assert found == (left_p > 0.5).sum()
        return
    alone.update_state(left_y, left_p)
    np.testing.assert_allclose(found, np.mean(alone.result()), 1e-5)
    if name == "precision":
        positive = left_p > 0.5
        np.testing.assert_allclose(found, left_y[positive].mean(), 1e-6)


def test_weights_of_steps_go_with_the_mask() -> None:
    model, (x, y, valid) = network(), data()
    weights = np.random.default_rng(2).random(valid.shape)
    model.compile("sgd", "binary_crossentropy", weighted_metrics=["Precision"])
    _, found = model.evaluate(x, y, sample_weight=weights, verbose=0)
    positive = valid & ((x @ [[1.0], [-1.0]])[..., 0] + 0.1 > 0)
    expected = (weights * y[..., 0])[positive].sum() / weights[positive].sum()
    np.testing.assert_allclose(found, expected, 1e-5)


def test_a_metric_without_weights_counts_all_steps() -> None:
    model, (x, y, _) = network(), data()
    model.compile("sgd", "binary_crossentropy", metrics=[Unweighted()])
    assert model.evaluate(x, y, verbose=0)[1] == (x @ [[1.0], [-1.0]] + 0.1 > 0).sum()
