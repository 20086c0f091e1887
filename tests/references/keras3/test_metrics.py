"""Metric values that Keras 3 asserts in its unit tests, and the losses of the same names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

FOUR = ([[1], [2], [3], [4]], [[0], [2], [3], [4]])
SQUARE = ([[1, 2], [3, 4]], [[0, 2], [3, 4]])
BINARY = ([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
BINARY_SQUARE = ([[1, 1], [0, 0]], [[0.98, 1], [0, 0.6]])
HOT = ([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
SPARSE = ([2, 1], HOT[1])
SPARSE_COLUMN = ([[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
BITS = (
    [[0, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]],
    [[0, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1]],
)
SATURATED = ([[1, 0], [1, 0]], [[1, 1], [1, 0]])
BIT_LOGITS = ([[1, 0, 1], [0, 1, 1]], [[10.0, -10.0, 10.0], [10.0, 10.0, -10.0]])
PROBS = ([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
LOGITS = (PROBS[0], [[1.0, 9.0, 0.0], [1.0, 8.0, 1.0]])
VOID_PROBS = ([0, 1, 2], [[0.8, 0.1, 0.1], [0.05, 0.95, 0], [0.1, 0.8, 0.1]])
VOID_LOGITS = ([0, 1, 2], [[10.0, 1.0, 1.0], [1.0, 9.0, 0.0], [1.0, 8.0, 1.0]])

SORTED = ([2, 1], [[1, 0, 3], [1, 2, 3]])
ROWS = (np.array([[1, 9, 2], [-5, -2, 6]]), np.array([[4, 8, 12], [8, 1, 3]]))
COSINES = np.sum(ROWS[0] * ROWS[1], axis=1) / np.prod(np.linalg.norm(ROWS, axis=2), axis=0)
LOG_COSH = np.log(np.cosh(ROWS[1] - ROWS[0]))
SHARES = (
    np.array([[0.5, 0.8, 0.12], [0.7, 0.43, 0.8]]), np.array([[0.4, 0.9, 0.12], [0.36, 0.3, 0.4]])
)  # fmt: skip
DIVERGENCES = np.sum(SHARES[0] * np.log(SHARES[0] / SHARES[1]), axis=1)
COUNTS = (np.array([[4, 8, 12], [8, 1, 3]]), np.array([[1, 9, 2], [5, 2, 6]]))
POISSON = COUNTS[1] - COUNTS[0] * np.log(COUNTS[1])
SIDES = ([[0, 1, 0, 1], [0, 0, 1, 1]], [[-0.3, 0.2, -0.1, 1.6], [-0.25, -1.0, 0.5, 0.6]])

# metric, constructor arguments, (y_true, y_pred), sample_weight, expected, tolerance
CASES = [
    ("Accuracy", {}, FOUR, None, 0.75, 1e-6),
    ("Accuracy", {}, FOUR, [1, 1, 0, 0], 0.5, 1e-6),
    ("Accuracy", {}, ([1, 2, 3, 4], [0, 2, 3, 4]), [1, 1, 0, 0], 0.5, 1e-6),
    ("Accuracy", {}, SQUARE, [[1, 0], [0, 1]], 0.5, 1e-6),
    ("Accuracy", {}, SQUARE, [[1, 0]], 0.5, 1e-6),
    ("BinaryAccuracy", {}, BINARY, None, 0.75, 1e-6),
    ("BinaryAccuracy", {}, ([1, 1, 0, 0], BINARY[1]), None, 0.75, 1e-6),
    ("BinaryAccuracy", {}, BINARY, [1, 0, 0, 1], 0.5, 1e-6),
    ("BinaryAccuracy", {}, ([1, 1, 0, 0], [0.98, 1, 0, 0.6]), [1, 0, 0, 1], 0.5, 1e-6),
    ("BinaryAccuracy", {}, BINARY_SQUARE, [[1, 0], [0, 1]], 0.5, 1e-6),
    ("BinaryAccuracy", {}, BINARY_SQUARE, [[1, 0]], 1.0, 1e-6),
    ("BinaryAccuracy", {"threshold": 0.3}, (BINARY[0], [[0.98], [0.5], [0.1], [0.2]]), None,
     1.0, 1e-6),
    ("BinaryAccuracy", {"threshold": 0.9}, (BINARY[0], [[0.98], [0.5], [0.1], [0.2]]), None,
     0.75, 1e-6),
    ("CategoricalAccuracy", {}, HOT, None, 0.5, 1e-6),
    ("CategoricalAccuracy", {}, HOT, [0.7, 0.3], 0.3, 1e-6),
    ("SparseCategoricalAccuracy", {}, SPARSE_COLUMN, None, 0.5, 1e-6),
    ("SparseCategoricalAccuracy", {}, SPARSE_COLUMN, [0.7, 0.3], 0.3, 1e-6),
    ("SparseCategoricalAccuracy", {}, ([0, 1], [[0.9, 0.1], [0.1, 0.9]]), None, 1.0, 1e-6),
    ("SparseCategoricalAccuracy", {}, ([2, 1, 0], np.eye(3)[::-1]), None, 1.0, 1e-6),
    ("TopKCategoricalAccuracy", {"k": 1}, HOT, None, 0.5, 1e-6),
    ("TopKCategoricalAccuracy", {"k": 1}, HOT, [0.7, 0.3], 0.3, 1e-6),
    ("TopKCategoricalAccuracy", {"k": 2}, HOT, None, 1.0, 1e-6),
    ("SparseTopKCategoricalAccuracy", {"k": 1}, SPARSE, None, 0.5, 1e-6),
    ("SparseTopKCategoricalAccuracy", {"k": 1}, SPARSE, [0.7, 0.3], 0.3, 1e-6),
    ("SparseTopKCategoricalAccuracy", {"k": 1, "from_sorted_ids": True}, SORTED, None, 0.5, 1e-6),
    ("SparseTopKCategoricalAccuracy", {"k": 1, "from_sorted_ids": True}, SORTED, [0.7, 0.3],
     0.3, 1e-6),
    ("MeanAbsoluteError", {}, BITS, None, 0.5, 1e-6),
    ("MeanAbsoluteError", {}, BITS, [1.0, 1.5, 2.0, 2.5], 0.54285, 1e-5),
    ("MeanAbsolutePercentageError", {}, BITS, None, 35e7, 100),
    ("MeanAbsolutePercentageError", {}, BITS, [1.0, 1.5, 2.0, 2.5], 40e7, 100),
    ("MeanSquaredLogarithmicError", {}, BITS, None, 0.24022, 1e-5),
    ("MeanSquaredLogarithmicError", {}, BITS, [1.0, 1.5, 2.0, 2.5], 0.26082, 1e-5),
    ("RootMeanSquaredError", {}, ([2, 4, 6], [1, 3, 2]), None, np.sqrt(6), 1e-3),
    ("RootMeanSquaredError", {}, ([2, 4, 6, 8], [1, 3, 2, 3]), [0, 1, 0, 1], np.sqrt(13), 1e-3),
    ("CosineSimilarity", {}, ROWS, None, np.mean(COSINES), 1e-3),
    ("CosineSimilarity", {"axis": 1}, ROWS, None, np.mean(COSINES), 1e-3),
    ("CosineSimilarity", {}, ROWS, [1.2, 3.4], COSINES @ [1.2, 3.4] / 4.6, 1e-3),
    ("LogCoshError", {}, ROWS, None, np.mean(LOG_COSH), 1e-3),
    ("LogCoshError", {}, ROWS, [[1.2], [3.4]], np.mean(LOG_COSH, axis=1) @ [1.2, 3.4] / 4.6, 1e-3),
    ("KLDivergence", {}, SHARES, None, np.mean(DIVERGENCES), 1e-3),
    ("KLDivergence", {}, SHARES, [[1.2], [3.4]], DIVERGENCES @ [1.2, 3.4] / 4.6, 1e-3),
    ("Poisson", {}, COUNTS, None, np.mean(POISSON), 1e-3),
    ("Poisson", {}, COUNTS, [[1.2], [3.4]], np.mean(POISSON, axis=1) @ [1.2, 3.4] / 4.6, 1e-3),
    ("Hinge", {}, SIDES, None, 0.506, 1e-3),
    ("Hinge", {}, (np.where(SIDES[0], 1, -1), SIDES[1]), [1.5, 2.0], 0.493, 1e-3),
    ("SquaredHinge", {}, SIDES, None, 0.364, 1e-3),
    ("SquaredHinge", {}, (np.where(SIDES[0], 1, -1), SIDES[1]), [1.5, 2.0], 0.347, 1e-3),
    ("CategoricalHinge", {}, BITS, None, 0.5, 1e-5),
    ("CategoricalHinge", {}, BITS, [1.0, 1.5, 2.0, 2.5], 0.5, 1e-5),
    ("MeanSquaredError", {}, BITS, None, 0.5, 1e-6),
    ("MeanSquaredError", {}, BITS, [1.0, 1.5, 2.0, 2.5], 0.54285, 1e-5),
    ("BinaryCrossentropy", {}, SATURATED, None, 3.9855, 2e-4),
    ("BinaryCrossentropy", {"from_logits": True}, BIT_LOGITS, None, 3.333, 1e-3),
    ("BinaryCrossentropy", {}, SATURATED, [1.5, 2.0], 3.4162, 1e-4),
    ("BinaryCrossentropy", {"from_logits": True}, BIT_LOGITS, [2.0, 2.5], 3.7037, 2e-4),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1},
     ([1, 0, 1], [10.0, -10.0, -10.0]), None, 3.5, 1e-3),
    ("CategoricalCrossentropy", {}, PROBS, None, 1.1769, 2e-4),
    ("CategoricalCrossentropy", {"from_logits": True}, LOGITS, None, 3.5011, 1e-4),
    ("CategoricalCrossentropy", {}, PROBS, [1.5, 2.0], 1.338, 5e-4),
    ("CategoricalCrossentropy", {"from_logits": True}, LOGITS, [1.5, 2.0], 4.0012, 1e-4),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, LOGITS, None,
     3.667, 1e-3),
    ("SparseCategoricalCrossentropy", {}, ([1, 2], PROBS[1]), None, 1.1769, 2e-4),
    ("SparseCategoricalCrossentropy", {}, ([1, 2], PROBS[1]), [1.5, 2.0], 1.338, 5e-4),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, ([1, 2], LOGITS[1]), None,
     3.5011, 1e-4),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, ([1, 2], LOGITS[1]), [1.5, 2.0],
     4.0012, 1e-4),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0}, VOID_PROBS, None, 0.78462, 1e-5),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0}, VOID_PROBS, [0.5, 1.5, 2.0],
     1.33774646, 1e-5),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0, "from_logits": True}, VOID_LOGITS,
     None, 2.33409, 1e-4),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)]
)
def test_figures(case: tuple[Any, ...]) -> None:
    name, arguments, (y_true, y_pred), weight, expected, tolerance = case
    y_pred = np.asarray(y_pred, dtype="float32")
    weight = None if weight is None else np.array(weight)
    metric = getattr(gpunn.metrics, name)(**arguments)
    metric.update_state(np.array(y_true), y_pred, sample_weight=weight)
    assert float(metric.result()) == pytest.approx(expected, abs=tolerance)
    # The same batch again does not change a mean; a reset discards both.
    metric.update_state(np.array(y_true), y_pred, weight)
    assert float(metric.result()) == pytest.approx(expected, abs=tolerance)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    called = metric(np.array(y_true), y_pred, sample_weight=weight)
    assert float(called) == pytest.approx(expected, abs=tolerance)


def test_the_mean_over_batches_weighs_rows_and_not_batches() -> None:
    y_true = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    first = np.array([[0.4, 0.1], [0.2, 0.6], [0.6, 0.1]])
    second = np.array([[0.3, 0.2], [0.1, 0.4], [0.2, 0.3]])
    plain, weighted = gpunn.metrics.MeanSquaredError(), gpunn.metrics.MeanSquaredError()
    for y_pred in (first, second):
        plain.update_state(y_true, y_pred)
        weighted.update_state(y_true, y_pred, sample_weight=np.array([1, 0.0, 1]))
    assert float(plain.result()) == pytest.approx(0.055833336, rel=1e-5)
    assert float(weighted.result()) == pytest.approx(0.0725, rel=1e-5)


@pytest.mark.parametrize(
    ("values", "weight", "expected"),
    [
        ([1, 3, 5, 7], None, 4.0),
        ([1, 3, 5, 7], [1, 1, 0, 0], 2.0),
        ([1, 3, 5, 7], [-1, -1, 0, 0], 2.0),
        ([[1, 3], [5, 7]], [[1, 1], [1, 0]], 3.0),
        ([[1, 3], [5, 7]], [[1, 0]], 3.0),
        (np.subtract(*BITS) ** 2, None, 0.5),
        (np.subtract(*BITS) ** 2, [1.0, 1.5, 2.0, 2.5], 0.5428571),
        (np.subtract(*BITS) ** 2, [[1.0, 0.0, 0.5, 0.0, 1.0]], 0.45),
        (6.5, None, 6.5),
    ],
)
def test_mean(values: Any, weight: list[Any] | None, expected: float) -> None:
    mean = gpunn.metrics.Mean()
    assert float(mean.result()) == 0.0
    mean.update_state(values, sample_weight=weight)
    assert float(mean.result()) == pytest.approx(expected, rel=1e-6)


def test_boolean_labels_and_predictions() -> None:
    x = np.random.default_rng(0).random((32, 1))
    metric = gpunn.metrics.BinaryAccuracy()
    metric.update_state(x > 0.5, x > 0.5)
    assert float(metric.result()) == 1.0


def test_the_place_at_the_threshold_is_below_it() -> None:
    metric = gpunn.metrics.BinaryAccuracy()
    metric.update_state(np.array([[0], [1]]), np.array([[0.5], [0.5]], dtype="float32"))
    assert float(metric.result()) == 0.5


def test_functions_give_one_value_a_row() -> None:
    metrics = gpunn.metrics
    values = {
        metrics.binary_accuracy: (*BINARY, [[1], [1], [1], [0]]),
        metrics.categorical_accuracy: (*HOT, [0, 1]),
        metrics.sparse_categorical_accuracy: (*SPARSE_COLUMN, [0, 1]),
    }
    for function, (y_true, y_pred, expected) in values.items():
        value = np.asarray(function(np.array(y_true), np.array(y_pred, dtype="float32")))
        assert_allclose(value.ravel(), np.ravel(expected))


@pytest.mark.parametrize(
    ("name", "arguments", "default_name"),
    [
        ("Mean", {}, "mean"),
        ("Accuracy", {}, "accuracy"),
        ("BinaryAccuracy", {"threshold": 0.3}, "binary_accuracy"),
        ("CategoricalAccuracy", {}, "categorical_accuracy"),
        ("SparseCategoricalAccuracy", {}, "sparse_categorical_accuracy"),
        ("TopKCategoricalAccuracy", {"k": 1}, "top_k_categorical_accuracy"),
        ("SparseTopKCategoricalAccuracy", {"k": 1}, "sparse_top_k_categorical_accuracy"),
        ("MeanSquaredError", {}, "mean_squared_error"),
        ("BinaryCrossentropy", {"label_smoothing": 0.2}, "binary_crossentropy"),
        ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "categorical_crossentropy"),
        ("SparseCategoricalCrossentropy", {"from_logits": True},
         "sparse_categorical_crossentropy"),
    ],
)  # fmt: skip
def test_config_holds_the_arguments(
    name: str, arguments: dict[str, Any], default_name: str
) -> None:
    cls = getattr(gpunn.metrics, name)
    assert cls().name == default_name
    metric = cls(name="mine", dtype="float32", **arguments)
    config = metric.get_config()
    assert config["name"] == "mine"
    assert {key: config[key] for key in arguments} == arguments
    again = cls.from_config(config)
    assert again.name == "mine"
    assert again.get_config() == config


def test_top_k_counts_five_by_default() -> None:
    y_pred = np.arange(8, dtype="float32")[None, ::-1]
    for label, hit in [(4, 1.0), (5, 0.0)]:
        sparse, dense = (
            gpunn.metrics.SparseTopKCategoricalAccuracy(),
            gpunn.metrics.TopKCategoricalAccuracy(),
        )
        assert float(sparse(np.array([label]), y_pred)) == hit
        assert float(dense(np.eye(8)[[label]], y_pred)) == hit


def test_get() -> None:
    assert isinstance(gpunn.metrics.get("mse"), gpunn.metrics.MeanSquaredError)
    name = "sparse_categorical_accuracy"
    assert isinstance(gpunn.metrics.get(name), gpunn.metrics.SparseCategoricalAccuracy)
    with pytest.raises(ValueError, match="typo"):
        gpunn.metrics.get("typo")
