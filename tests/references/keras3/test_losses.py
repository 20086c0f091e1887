"""Loss values that Keras 3 asserts in its unit tests, for losses called on plain arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

ROWS_TRUE = np.array([[1, 9, 2], [-5, -2, 6]])
ROWS_PRED = np.array([[4, 8, 12], [8, 1, 3]], dtype="float32")

ONE_HOT = np.eye(3, dtype="int64")
LABELS = np.array([0, 1, 2])
COLUMN = LABELS[:, None]
# The middle row sums to 1.99: the values hold only if rows are divided by their sum.
PROBS = np.array([[0.9, 0.05, 0.05], [0.5, 0.89, 0.6], [0.05, 0.01, 0.94]], dtype="float32")
LOGITS = np.array([[8.0, 1.0, 1.0], [0.0, 9.0, 1.0], [2.0, 3.0, 5.0]])

BITS_TRUE = np.array([[1, 0], [1, 0]])
BITS_PRED = np.array([[1, 1], [1, 0]], dtype="float32")
BITS_TRUE_3 = np.array([[1, 0, 1], [0, 1, 1]])
BITS_LOGITS = np.array([[10.0, -10.0, 10.0], [10.0, 10.0, -10.0]])

PIXELS = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 1]])


def stack(values: Any, *shape: int) -> np.ndarray:
    return np.array(values).reshape(shape)


# name: y_true, y_pred, sample_weight, expected, tolerance, constructor arguments
MSE = {
    "right": (ROWS_TRUE, ROWS_TRUE, None, 0.0, 1e-7, {}),
    "plain": (ROWS_TRUE, ROWS_PRED, None, 49.5, 1e-5, {}),
    "mean is the same": (ROWS_TRUE, ROWS_PRED, None, 49.5, 1e-5, {"reduction": "mean"}),
    "scalar weight": (ROWS_TRUE, ROWS_PRED, 2.3, 113.85, 1e-4, {}),
    "weight 0": (ROWS_TRUE, ROWS_PRED, 0, 0.0, 1e-7, {}),
    "column of weights": (ROWS_TRUE, ROWS_PRED, [[1.2], [3.4]], 767.8 / 6, 1e-4, {}),
    "row of weights": (ROWS_TRUE, ROWS_PRED, [1.2, 3.4], 767.8 / 6, 1e-4, {}),
    "a weight for each time step": (
        stack(ROWS_TRUE, 2, 3, 1), stack(ROWS_PRED, 2, 3, 1), [[3, 6, 5], [0, 4, 2]],
        97.833336, 1e-4, {},
    ),
    "no reduction": (
        ROWS_TRUE, ROWS_PRED, 2.3, [84.3333, 143.3666], 1e-3, {"reduction": None}
    ),
    "none is no reduction": (
        ROWS_TRUE, ROWS_PRED, 2.3, [84.3333, 143.3666], 1e-3, {"reduction": "none"}
    ),
    "sum": (ROWS_TRUE, ROWS_PRED, 2.3, 227.69998, 1e-3, {"reduction": "sum"}),
    "mean with sample weight": (
        ROWS_TRUE, ROWS_PRED, [[1.2], [3.4]], (110 / 3 * 1.2 + 187 / 3 * 3.4) / 4.6,
        1e-4, {"reduction": "mean_with_sample_weight"},
    ),
    "one output": (
        [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], [[0.4, 0.1], [0.2, 0.6], [0.6, 0.1]], None,
        0.068333, 1e-5, {},
    ),
}  # fmt: skip

BINARY = {
    "right": (np.eye(3), np.eye(3), None, 0.0, 1e-5, {}),
    "right, logits": (np.eye(3), 20 * np.eye(3) - 10, None, 0.0, 1e-4, {"from_logits": True}),
    "plain": (
        np.eye(3), [[0.9, 0.1, 0.2], [0.3, 0.8, 0.1], [0.1, 0.2, 0.7]], None,
        0.20046903, 1e-6, {},
    ),
    # A confident but wrong 1 costs -log(1 - (1 - 1e-7)), which is 15.942385 in float32.
    "saturated": (BITS_TRUE, BITS_PRED, None, 3.98559, 1e-4, {}),
    "logits": (BITS_TRUE_3, BITS_LOGITS, None, 10 / 3, 1e-4, {"from_logits": True}),
    "saturated, scalar weight": (BITS_TRUE, BITS_PRED, 2.3, 9.1668, 1e-3, {}),
    "logits, scalar weight": (
        BITS_TRUE_3, BITS_LOGITS, 2.3, 7.6667, 1e-3, {"from_logits": True}
    ),
    "saturated, column of weights": (BITS_TRUE, BITS_PRED, [[1.2], [3.4]], 4.7827, 1e-3, {}),
    "logits, row of weights": (
        BITS_TRUE_3, BITS_LOGITS, [4, 3], 10.0, 1e-3, {"from_logits": True}
    ),
    "logits, no reduction": (
        BITS_TRUE_3, BITS_LOGITS, None, [0.0, 6.6667], 1e-3,
        {"from_logits": True, "reduction": None},
    ),
    "smoothed labels": (
        [[1, 0, 1]], [[10.0, -10.0, -10.0]], None, (10.0 + 5.0 * 0.1) / 3, 1e-3,
        {"from_logits": True, "label_smoothing": 0.1},
    ),
}  # fmt: skip

# Shared by the categorical (one-hot labels) and the sparse (integer labels) cross-entropy.
CLASSES = {
    "right": (np.eye(3), None, 0.0, 1e-5, {}),
    "right, logits": (10 * np.eye(3), None, 0.0, 1e-3, {"from_logits": True}),
    "plain": (PROBS, None, 0.3239, 1e-4, {}),
    "logits": (LOGITS, None, 0.0573, 1e-4, {"from_logits": True}),
    "scalar weight": (PROBS, 2.3, 0.7449, 5e-4, {}),
    "logits, scalar weight": (LOGITS, 2.3, 0.1317, 5e-4, {"from_logits": True}),
    "column of weights": (PROBS, [[1.2], [3.4], [5.6]], 1.0696, 2e-4, {}),
    "row of weights": (PROBS, [1.2, 3.4, 5.6], 1.0696, 2e-4, {}),
    "logits, column of weights": (
        LOGITS, [[1.2], [3.4], [5.6]], 0.31829, 1e-4, {"from_logits": True}
    ),
    "logits, no reduction": (
        LOGITS, None, [0.001822, 0.000459, 0.169846], 1e-6,
        {"from_logits": True, "reduction": None},
    ),
}  # fmt: skip


def check(loss: str, case: tuple[Any, ...]) -> None:
    y_true, y_pred, weight, expected, tolerance, arguments = case
    weight = np.array(weight) if isinstance(weight, list) else weight
    fn = getattr(gpunn.losses, loss)(**arguments)
    value = np.asarray(fn(np.asarray(y_true), np.asarray(y_pred), sample_weight=weight))
    assert value.shape == np.shape(expected)
    assert_allclose(value, expected, rtol=1e-6, atol=tolerance)
    positional = np.asarray(fn(np.asarray(y_true), np.asarray(y_pred), weight))
    assert_allclose(positional, value)


@pytest.mark.parametrize("case", MSE.values(), ids=MSE)
def test_mean_squared_error(case: tuple[Any, ...]) -> None:
    check("MeanSquaredError", case)


@pytest.mark.parametrize("case", BINARY.values(), ids=BINARY)
def test_binary_crossentropy(case: tuple[Any, ...]) -> None:
    check("BinaryCrossentropy", case)


@pytest.mark.parametrize("case", CLASSES.values(), ids=CLASSES)
def test_categorical_crossentropy(case: tuple[Any, ...]) -> None:
    check("CategoricalCrossentropy", (ONE_HOT, *case))


@pytest.mark.parametrize("labels", [LABELS, COLUMN], ids=["flat", "column"])
@pytest.mark.parametrize("case", CLASSES.values(), ids=CLASSES)
def test_sparse_categorical_crossentropy(case: tuple[Any, ...], labels: np.ndarray) -> None:
    check("SparseCategoricalCrossentropy", (labels, *case))


def test_categorical_crossentropy_of_soft_targets() -> None:
    # The targets sum to .3, .7 and 1.1 and are not normalized.
    y_true = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    y_pred = [[0.4, 0.1], [0.2, 0.6], [0.6, 0.1]]
    check("CategoricalCrossentropy", (y_true, y_pred, None, 0.706595, 1e-5, {}))


def test_categorical_label_smoothing() -> None:
    arguments = {"from_logits": True, "label_smoothing": 0.1}
    logits = [[100.0, -100.0, -100.0]]
    check("CategoricalCrossentropy", ([[1, 0, 0]], logits, None, 40 / 3, 1e-4, arguments))


def test_categorical_label_smoothing_along_another_axis() -> None:
    # (batch, classes, position). Smoothing counts the 3 classes of axis 1, not the 2 positions.
    y_true = np.array([[[1, 0], [0, 1], [0, 0]], [[0, 1], [1, 0], [0, 0]]], dtype="float32")
    y_pred = 0.1 + 0.7 * y_true
    smooth = 0.9 * y_true + 0.1 / 3
    expected = -np.sum(smooth * np.log(y_pred), axis=1).mean()
    arguments = {"label_smoothing": 0.1, "axis": 1}
    check("CategoricalCrossentropy", (y_true, y_pred, None, expected, 1e-5, arguments))


def one_hot_pixels(labels: np.ndarray, classes: int, **changed: list[float]) -> np.ndarray:
    """Confident, correct predictions, except for the pixels named `at_ROW_COLUMN`."""
    predictions = np.eye(classes)[labels]
    for name, row in changed.items():
        _, i, j = name.split("_")
        predictions[int(i), int(j)] = row
    return predictions


def test_sparse_categorical_of_every_pixel() -> None:
    loss = gpunn.losses.SparseCategoricalCrossentropy()
    assert_allclose(np.asarray(loss(PIXELS, one_hot_pixels(PIXELS, 2))), 0.0, atol=1e-5)
    two = one_hot_pixels(PIXELS, 2, at_0_3=[0.2, 0.8], at_3_3=[0.6, 0.4])
    assert_allclose(np.asarray(loss(PIXELS, two)), -np.log(0.2 * 0.4) / 16, rtol=1e-5)

    labels = PIXELS.copy()
    labels[0, 2] = 2
    assert_allclose(np.asarray(loss(labels, one_hot_pixels(labels, 3))), 0.0, atol=1e-5)
    three = one_hot_pixels(
        labels, 3, at_0_3=[0.2, 0.0, 0.8], at_1_0=[0.7, 0.3, 0.0], at_3_2=[0.5, 0.5, 0.0]
    )
    assert_allclose(np.asarray(loss(labels, three)), -np.log(0.2 * 0.3 * 0.5) / 16, rtol=1e-5)


@pytest.mark.parametrize("labels", [[[-1, 2]], [[[-1], [2]]]], ids=["flat", "column"])
def test_sparse_categorical_ignores_a_class(labels: list[Any]) -> None:
    logits = np.array([[[0.854, 0.698, 0.598], [0.088, 0.86, 0.018]]])
    loss = gpunn.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-1, reduction=None
    )
    assert_allclose(np.asarray(loss(np.array(labels), logits)), [[0.0, 1.480129]], atol=1e-5)


def test_functions_give_one_loss_a_row() -> None:
    losses = gpunn.losses
    # Labels of shape (3,) are treated as a column if the predictions are one.
    column = losses.mean_squared_error(np.array([4, 8, 12]), np.array([[3.0], [0.0], [1.0]]))
    assert_allclose(np.asarray(column), [1.0, 64.0, 121.0])
    rows = {
        losses.binary_crossentropy: ([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], [0.916, 0.714]),
        losses.categorical_crossentropy: (
            [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], [0.0513, 2.303],
        ),
        losses.sparse_categorical_crossentropy: (
            [1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], [0.0513, 2.303],
        ),
    }  # fmt: skip
    for function, (y_true, y_pred, expected) in rows.items():
        value = np.asarray(function(np.array(y_true), np.array(y_pred)))
        assert_allclose(value, expected, atol=5e-4)


@pytest.mark.parametrize("loss", ["BinaryCrossentropy", "CategoricalCrossentropy"])
def test_labels_of_another_shape_are_refused(loss: str) -> None:
    with pytest.raises(ValueError, match="shape"):
        getattr(gpunn.losses, loss)()(COLUMN, PROBS)


def test_one_column_of_classes_is_pointed_out() -> None:
    column = np.full((2, 1), 0.5, dtype="float32")
    with warnings.catch_warnings(), pytest.raises((ValueError, Warning), match=r"(?i)binary"):
        warnings.simplefilter("error")
        gpunn.losses.categorical_crossentropy(np.ones((2, 1), dtype="float32"), column)


def test_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction"):
        gpunn.losses.MeanSquaredError(reduction="abc")


def test_get() -> None:
    for name in ("mse", "mean_squared_error", "MeanSquaredError"):
        value = np.mean(gpunn.losses.get(name)(ROWS_TRUE, ROWS_PRED))
        assert value == pytest.approx(49.5, rel=1e-6)
    with pytest.raises(ValueError, match="typo"):
        gpunn.losses.get("typo")


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        ("MeanSquaredError", {"name": "mine", "reduction": "sum"}),
        ("BinaryCrossentropy", {"label_smoothing": 0.1, "axis": -1}),
        ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
        ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 3}),
    ],
)
def test_config_holds_the_arguments(loss: str, arguments: dict[str, Any]) -> None:
    cls = getattr(gpunn.losses, loss)
    config = cls(**arguments).get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert cls.from_config(config).get_config() == config


def test_default_names() -> None:
    names = {
        "MeanSquaredError": "mean_squared_error",
        "BinaryCrossentropy": "binary_crossentropy",
        "CategoricalCrossentropy": "categorical_crossentropy",
        "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    }
    assert {cls: getattr(gpunn.losses, cls)().name for cls in names} == names
