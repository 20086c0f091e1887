"""Values of losses on numbers, margins and counts that Keras 3 asserts in its unit tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpunn import losses

TRUE = np.array([[1, 9, 2], [-5, -2, 6]])
PRED = np.array([[4, 8, 12], [8, 1, 3]], np.float32)
COLUMN = [[1.2], [3.4]]
STEPS = (TRUE.reshape(2, 3, 1), PRED.reshape(2, 3, 1), np.array([[3, 6, 5], [0, 4, 2]]))
MEAN = {"reduction": "mean_with_sample_weight"}

# loss, arguments, y_true, y_pred, sample_weight, expected, tolerance
ERRORS = [
    ("MeanAbsoluteError", {}, TRUE, PRED, None, 5.5, 1e-6),
    ("MeanAbsoluteError", {}, TRUE, PRED, 2.3, 12.65, 1e-5),
    ("MeanAbsoluteError", {}, TRUE, PRED, COLUMN, 81.4 / 6, 1e-5),
    ("MeanAbsoluteError", {}, *STEPS, 13.833333, 1e-5),
    ("MeanAbsoluteError", {"reduction": None}, TRUE, PRED, 2.3, [10.7333, 14.5666], 1e-3),
    ("MeanAbsoluteError", {"reduction": "sum"}, TRUE, PRED, 2.3, 25.29999, 1e-4),
    ("MeanAbsoluteError", MEAN, TRUE, PRED, COLUMN, (14 / 3 * 1.2 + 19 / 3 * 3.4) / 4.6, 1e-5),
    ("MeanAbsolutePercentageError", {}, TRUE, PRED, None, 211.8518, 1e-3),
    ("MeanAbsolutePercentageError", {}, TRUE, PRED, 2.3, 487.259, 1e-3),
    ("MeanAbsolutePercentageError", {}, TRUE, PRED, COLUMN, 422.8888, 1e-3),
    ("MeanAbsolutePercentageError", {}, *STEPS, 694.4444, 1e-3),
    ("MeanAbsolutePercentageError", {"reduction": None}, TRUE, PRED, 2.3,
     [621.8518, 352.6666], 1e-3),
    ("MeanAbsolutePercentageError", MEAN, TRUE, PRED, COLUMN, 183.865, 1e-3),
    ("MeanSquaredLogarithmicError", {}, TRUE, PRED, None, 1.437, 1e-3),
    ("MeanSquaredLogarithmicError", {}, TRUE, PRED, 2.3, 3.3051, 1e-3),
    ("MeanSquaredLogarithmicError", {}, TRUE, PRED, COLUMN, 3.7856, 1e-3),
    ("MeanSquaredLogarithmicError", {}, *STEPS, 2.647374, 1e-5),
    ("MeanSquaredLogarithmicError", MEAN, TRUE, PRED, COLUMN, 1.646, 1e-3),
]  # fmt: skip

SIDES = (np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.6, 0.4], [0.4, 0.6]]))
NONE, SUM = {"reduction": None}, {"reduction": "sum"}
MARGINS = [
    (name, arguments, *SIDES, weight, expected, 1e-3)
    for name, expectations in {
        "Hinge": [1.3, 2.6, [1.1, 1.5], 0.55, 1.1, [1.1, 0.0]],
        "SquaredHinge": [1.86, 3.72, [1.46, 2.26], 0.73, 1.46, [1.46, 0.0]],
        "CategoricalHinge": [1.4, 2.8, [1.2, 1.6], 0.6, 1.2, [1.2, 0.0]],
    }.items()
    for (weight, arguments), expected in zip(
        [(w, a) for w in (None, [1, 0]) for a in ({}, SUM, NONE)], expectations, strict=True
    )
]


def check(case: tuple[Any, ...]) -> None:
    name, arguments, y_true, y_pred, weight, expected, tolerance = case
    loss = getattr(losses, name)(**arguments)
    assert_allclose(loss(y_true, y_pred, weight), expected, rtol=1e-6, atol=tolerance)
    if arguments != MEAN:  # no weight at all is a separate case for that
        assert_allclose(loss(y_true, y_pred, 0), np.zeros_like(expected), atol=1e-7)


@pytest.mark.parametrize("case", [*ERRORS, *MARGINS], ids=lambda case: case[0])
def test_figures(case: tuple[Any, ...]) -> None:
    check(case)


# Keras's tests compute the following by these formulas, one value for each element.
HUBER = (
    np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), np.array([[0.9, 0.2, 0.2], [0.8, 0.4, 0.6]])
)  # fmt: skip
SHARES = (
    np.array([[0.5, 0.8, 0.12], [0.7, 0.43, 0.8]]), np.array([[0.4, 0.9, 0.12], [0.36, 0.3, 0.4]])
)  # fmt: skip
COUNTS = (np.array([[4.0, 8, 12], [8, 1, 3]]), np.array([[1.0, 9, 2], [5, 2, 6]]))


def huber(delta: float) -> np.ndarray:
    error = np.abs(HUBER[1] - HUBER[0])
    small = np.minimum(error, delta)
    return 0.5 * small * small + delta * (error - small)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


FORMULAS = {
    "Huber": ({}, HUBER, huber(1.0), "mean"),
    "Huber of 0.8": ({"delta": 0.8}, HUBER, huber(0.8), "mean"),
    "LogCosh": ({}, (TRUE, PRED), np.log(np.cosh(PRED - TRUE)), "mean"),
    "KLDivergence": ({}, SHARES, SHARES[0] * np.log(SHARES[0] / SHARES[1]), "sum"),
    "Poisson": ({}, COUNTS, COUNTS[1] - COUNTS[0] * np.log(COUNTS[1]), "mean"),
    "CosineSimilarity": ({}, (TRUE, PRED), -unit(TRUE) * unit(PRED), "sum"),
    "CosineSimilarity of axis 1": ({"axis": 1}, (TRUE, PRED), -unit(TRUE) * unit(PRED), "sum"),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    arguments, data, elements, over = FORMULAS[name]
    rows = getattr(elements, over)(axis=1)
    kind = name.split()[0]
    check((kind, arguments, *data, None, rows.mean(), 1e-3))
    check((kind, arguments, *data, 2.3, 2.3 * rows.mean(), 1e-3))
    check((kind, arguments, *data, COLUMN, rows @ [1.2, 3.4] / 2, 1e-3))
    if kind == "CosineSimilarity":
        if arguments:
            return
        elements = -np.sign(TRUE * PRED)  # of one value each
    steps = np.sum(elements * STEPS[2]) / 6
    check((kind, arguments, *(a.reshape(2, 3, 1) for a in data), STEPS[2], steps, 1e-3))


@pytest.mark.parametrize("name", ["Hinge", "Huber", "LogCosh", "KLDivergence", "Poisson"])
def test_unknown_reductions_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid value for argument `reduction`"):
        getattr(losses, name)(reduction="abc")


@pytest.mark.parametrize(
    ("loss", "name"),
    [("MeanAbsoluteError", "mean_absolute_error"), ("Huber", "huber_loss"),
     ("LogCosh", "log_cosh"), ("KLDivergence", "kl_divergence"),
     ("CosineSimilarity", "cosine_similarity"), ("SquaredHinge", "squared_hinge")],
)  # fmt: skip
def test_default_names(loss: str, name: str) -> None:
    cls = getattr(losses, loss)
    config = cls(reduction="sum").get_config()
    assert cls().name == name and config["reduction"] == "sum" and config["name"] == name


def test_functions_give_one_loss_a_row() -> None:
    assert_allclose(losses.mean_absolute_error(TRUE, PRED), [14 / 3, 19 / 3], rtol=1e-6)
    assert_allclose(losses.huber(*HUBER, delta=0.8), huber(0.8).mean(axis=1), rtol=1e-6)
    assert_allclose(losses.hinge(*SIDES), [1.1, 1.5])
    assert_allclose(losses.categorical_hinge(*SIDES), [1.2, 1.6])
