"""Explanations of a table model's answers, on linear rules whose smallest changes are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import gpunn
from gpunn import layers
from gpunn.apps.tables.explaining import nearest, smallest_changes
from gpunn.apps.tables.preparing import Feature, prepared


def linear(features: list[Feature], weights: Any, bias: float, classes: int = 2) -> Any:
    """A model whose score is linear in the prepared columns, and the model that prepares them.

    The score is the output, or for two classes the difference of their logits.
    """
    inputs, tensors = prepared(features)
    encoded = tensors[0] if len(tensors) == 1 else layers.Concatenate()(tensors)
    column = np.array(weights, np.float64)[:, None]
    answer = layers.Dense(classes or 1, activation="softmax" if classes else None)
    model = gpunn.Model(inputs, answer(encoded))
    answer.set_weights(
        [np.hstack([0 * column, column]), np.array([0, bias])] if classes
        else [column, np.array([bias])]
    )  # fmt: skip
    prepare = gpunn.Model(inputs, encoded)
    return model, lambda given: prepare.predict(given, verbose=0)


def columns(**values: Any) -> dict[str, Any]:
    return {
        name: np.array(v, object if isinstance(v[0], str) else np.float64)[:, None]
        for name, v in values.items()
    }


def test_nearest_rows_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    among, x = random.standard_normal((200, 3)), random.standard_normal((10, 3))
    distances, places = NearestNeighbors(n_neighbors=4).fit(among).kneighbors(x)
    found = nearest(x, among, 4)
    assert [[i for i, _ in row] for row in found] == places.tolist()
    assert np.allclose([[d for _, d in row] for row in found], distances)
    assert [len(row) for row in nearest(x, among[:2])] == [2] * 10


def test_smallest_change_of_a_linear_rule() -> None:
    """The score a - 3 b + 0.1 of columns divided by 2 and 10; class 1 if it is positive.

    For the row (1, 4) the score is 0.5 - 1.2 + 0.1 = -0.6. Alone, a must rise by 1.2, which is 0.6
    deviations of 2; b must fall by 2, which is 0.2 deviations of 10.
    """
    features = [Feature("a", deviation=2.0), Feature("b", deviation=10.0)]
    model, prepare = linear(features, [1.0, -3.0], 0.1)
    grid = np.arange(-1000, 1001) / 100  # 2001 values, a hundredth apart
    inputs = columns(a=[1.0, *grid], b=[4.0, *grid])
    y = np.array([1, *np.zeros(len(grid), int)])
    known = np.arange(1, len(y))
    (found,) = smallest_changes(model, prepare, inputs, y, [0], known, 2)
    assert found is not None
    ((name, value),) = found.values
    assert name == "b" and value == pytest.approx(1.99, abs=0.011)
    assert found.size == pytest.approx((4 - value) / 10, rel=1e-4)
    assert found.output.argmax() == 1
    (only,) = smallest_changes(model, prepare, inputs, y, [0], known, 2, columns=["a"])
    assert only is not None and only.values[0][0] == "a"
    assert only.values[0][1] == pytest.approx(2.21, abs=0.011)
    assert only.size == pytest.approx(0.6, abs=0.011)


def test_smallest_change_takes_a_category_or_nothing() -> None:
    features = [Feature("a"), Feature("kind", categories=["x", "y", "z"])]
    model, prepare = linear(features, [1.0, 0.0, -2.0, 2.0, 5.0], 0.0)
    inputs = columns(a=[0.0, 0.1, 0.2, -0.1], kind=["x", "y", "y", "x"])
    y = np.array([1, 1, 1, 0])
    rows, known = [0, 3], [0, 1, 2, 3]
    first, none = smallest_changes(model, prepare, inputs, y, rows, known, 2)
    assert first is not None and first.values == [("kind", "y")]  # z is in no training row
    assert first.size == pytest.approx(np.sqrt(2), rel=1e-5)
    assert none is None  # it is right, and no change makes it so


def test_pairs_are_tried_where_no_column_is_enough() -> None:
    """Score: a + b - 1.5, with values from 0 to 1 only: both must rise."""
    model, prepare = linear([Feature("a"), Feature("b"), Feature("c")], [1.0, 1.0, 0.0], -1.5)
    grid = np.linspace(0, 1, 11)
    inputs = columns(a=[0.2, *grid], b=[0.5, *grid], c=[0.5, *grid])
    y = np.array([1, *np.zeros(11, int)])
    (found,) = smallest_changes(model, prepare, inputs, y, [0], np.arange(1, 12), 2)
    assert found is not None and [name for name, _ in found.values] in (["a", "b"], ["b", "a"])
    changed = dict(found.values)
    assert changed["a"] + changed["b"] == pytest.approx(1.6)  # the next step above 1.5
    assert found.size == pytest.approx(changed["a"] - 0.2 + changed["b"] - 0.5, rel=1e-4)


def test_smallest_change_of_a_regression_brings_the_answer_within_the_usual_error() -> None:
    """Output: 2 a + 1. For a = 3 it is 7; the right answer is 12, the usual error 1: a = 5."""
    model, prepare = linear([Feature("a", deviation=4.0), Feature("b")], [8.0, 0.0], 1.0, 0)
    inputs = columns(a=[3.0, *np.arange(0, 20, 0.25)], b=[0.0] * 81)
    inputs["a"][0] = 3.0
    y = np.array([12.0] * 81)
    (found,) = smallest_changes(
        model, prepare, inputs, y, [0], np.arange(1, 81), 0, within=1.001
    )  # fmt: skip
    assert found is not None and found.values == [("a", 5.0)]
    assert found.output.tolist() == pytest.approx([11.0])
    assert found.size == pytest.approx(0.5)


def test_missing_values_are_replaced_but_not_proposed() -> None:
    model, prepare = linear([Feature("a", median=-1.0, gaps=True)], [1.0, 0.0], 0.0)
    inputs = columns(a=[np.nan, np.nan, 2.0, 3.0])
    (found,) = smallest_changes(model, prepare, inputs, np.array([1, 0, 1, 1]), [0], [1, 2, 3], 2)
    assert found is not None and found.values == [("a", 2.0)]
    assert found.size == pytest.approx(np.hypot(3.0, 1.0), rel=1e-5)  # the indicator changes too


def test_nothing_to_explain_is_no_error() -> None:
    model, prepare = linear([Feature("a")], [1.0], 0.0)
    assert smallest_changes(model, prepare, columns(a=[1.0]), np.array([1]), [], [0], 2) == []
