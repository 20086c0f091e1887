"""Penalties that Keras 3 asserts in its unit tests of regularizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpunn import regularizers

VALUE = np.random.default_rng(0).random((4, 4)).astype("float32")


@pytest.mark.parametrize("x", [VALUE, -VALUE, np.zeros((4, 4), "float32")])
def test_penalties(x: np.ndarray) -> None:
    absolute, squares = np.abs(x).sum(), np.square(x).sum()
    assert_allclose(regularizers.L1(0.1)(x), 0.1 * absolute, rtol=1e-6)
    assert_allclose(regularizers.L1(0.0)(x), 0.0)
    assert_allclose(regularizers.L2(0.1)(x), 0.1 * squares, rtol=1e-6)
    assert_allclose(regularizers.L2(0.0)(x), 0.0)
    assert_allclose(regularizers.L1L2(0.1, 0.2)(x), 0.1 * absolute + 0.2 * squares, rtol=1e-6)
    assert_allclose(regularizers.L1L2(l1=0.1)(x), regularizers.L1(0.1)(x))
    assert_allclose(regularizers.L1L2(l2=0.1)(x), regularizers.L2(0.1)(x))


def test_large_weights_and_small_ones() -> None:
    l1, l2, ones = regularizers.L1(1.0), regularizers.L2(1.0), np.ones((4, 4), "float32")
    assert l2(10 * ones) > l1(10 * ones)
    assert l2(0.1 * ones) < l1(0.1 * ones)


@pytest.mark.parametrize(("mode", "axis"), [("rows", 1), ("columns", 0)])
def test_orthogonal(mode: str, axis: int) -> None:
    unit = VALUE / np.linalg.norm(VALUE, axis=axis, keepdims=True)
    cosines = unit @ unit.T if mode == "rows" else unit.T @ unit
    expected = 0.1 * 0.5 * np.abs(cosines * (1 - np.eye(4))).sum() / 6
    regularizer = regularizers.OrthogonalRegularizer(factor=0.1, mode=mode)
    assert_allclose(regularizer(VALUE), expected, rtol=1e-5)
    assert regularizer.get_config() == {"factor": 0.1, "mode": mode}


def test_orthogonal_refuses() -> None:
    with pytest.raises(ValueError, match="mode"):
        regularizers.OrthogonalRegularizer(factor=0.01, mode="invalid_mode")
    with pytest.raises(ValueError, match=r"\(4, 4, 4\)"):
        regularizers.OrthogonalRegularizer(factor=0.1)(np.ones((4, 4, 4), "float32"))


@pytest.mark.parametrize(
    ("name", "cls", "config"),
    [
        ("l1l2", "L1L2", {"l1": 0.01, "l2": 0.01}),
        ("l1_l2", "L1L2", {"l1": 0.01, "l2": 0.01}),
        ("l1", "L1", {"l1": 0.01}),
        ("l2", "L2", {"l2": 0.01}),
        ("orthogonal_regularizer", "OrthogonalRegularizer", {"factor": 0.01, "mode": "rows"}),
    ],
)
def test_get(name: str, cls: str, config: dict[str, Any]) -> None:
    found = regularizers.get(name)
    assert type(found) is getattr(regularizers, cls)
    assert found.get_config() == config


def test_get_nothing_and_nonsense() -> None:
    assert regularizers.get(None) is None
    assert regularizers.L1L2().get_config() == {"l1": 0.0, "l2": 0.0}
    with pytest.raises(ValueError, match="typo"):
        regularizers.get("typo")


@pytest.mark.parametrize(
    "factor", ["not_a_number", float("nan"), float("inf"), -float("inf"), -1, -0.001, None, [0.1]]
)
def test_factors_that_are_refused(factor: Any) -> None:
    for cls in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        with pytest.raises(ValueError, match="finite number of at least 0"):
            cls(factor)


@pytest.mark.parametrize("factor", [1, 1.0, 0, 0.0, 1e-10, 1e6])
def test_factors_that_are_taken(factor: float) -> None:
    kept = regularizers.L2(factor).l2
    assert kept == factor
    assert isinstance(kept, float)
