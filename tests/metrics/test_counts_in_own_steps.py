"""Test a train_step of the user with AUC, precision and similar metrics, counted by a program."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as reference

import gpunn
from gpunn import layers, metrics

random = np.random.default_rng(3)
X = random.random((90, 4)).astype(np.float32)
TWO = (X.sum(axis=1) > 2).astype(np.float32)[:, np.newaxis]
THREE = np.eye(3, dtype=np.float32)[random.integers(0, 3, 90)]


class Own(gpunn.Model):
    def train_step(self, data: Any) -> Any:
        x, y = data
        predicted = self(x, training=True)
        for metric in self.metrics:
            if metric.name != "loss":
                metric.update_state(y, predicted)
        return {metric.name: metric.result() for metric in self.metrics}


def trained(metric: Any, y: np.ndarray) -> tuple[np.ndarray, list[float]]:
    gpunn.utils.set_random_seed(0)
    inputs = layers.Input((4,))
    output = layers.Dense(y.shape[1], "sigmoid" if y.shape[1] == 1 else "softmax")(inputs)
    model = Own(inputs, output)
    model.compile("sgd", "mse", metrics=[metric])
    history = model.fit(X, y, batch_size=20, epochs=3, verbose=0, shuffle=False).history
    return model.predict(X, verbose=0), history[metric.name]


SCORES: dict[str, tuple[Callable[[], Any], Any]] = {
    "precision": (metrics.Precision, reference.precision_score),
    "recall": (metrics.Recall, reference.recall_score),
    "average precision": (lambda: metrics.AUC(2_000, curve="PR"), None),
    "auc": (lambda: metrics.AUC(2_000), None),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_step_counts_in_its_program(name: str) -> None:
    make, score = SCORES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p, found = trained(make(), TWO)
    if score is not None:
        expected = score(TWO[:, 0], p[:, 0] > 0.5)
    elif name == "auc":
        expected = reference.roc_auc_score(TWO[:, 0], p[:, 0])
    else:
        expected = reference.average_precision_score(TWO[:, 0], p[:, 0])
    assert_allclose(found, 3 * [expected], atol=0.01)


def test_a_step_counts_one_figure_of_several_classes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p, found = trained(metrics.F1Score("macro"), THREE)
    labels = THREE.argmax(axis=1), p.argmax(axis=1)
    expected = reference.f1_score(*labels, average="macro", zero_division=0)
    assert_allclose(found, 3 * [expected], atol=1e-6)


def test_a_metric_with_a_figure_for_each_class_is_named() -> None:
    with pytest.warns(UserWarning, match="metric 'f1_score' has several results.*average='macro'"):
        p, found = trained(metrics.F1Score(), THREE)
    labels = THREE.argmax(axis=1), p.argmax(axis=1)
    each = reference.f1_score(*labels, average=None, zero_division=0)
    assert_allclose(found, 3 * [np.mean(each)], atol=1e-6)
