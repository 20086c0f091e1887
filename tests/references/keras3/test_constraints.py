"""Results that Keras 3 asserts in its unit tests of constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpunn import constraints

EXAMPLE = np.random.default_rng(3537).random((100, 100)) * 100.0 - 50.0
EXAMPLE[0, 0] = 0.0


def test_max_norm() -> None:
    x = np.array([[0, 0, 0], [1.0, 0, 0], [3, 0, 0], [3, 3, 3]]).T
    third = 2.0 / np.sqrt(3)
    target = np.array([[0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [third] * 3]).T
    assert_allclose(constraints.MaxNorm(2.0)(x), target, atol=1e-6)


def test_non_neg() -> None:
    assert constraints.NonNeg()(EXAMPLE).min() == 0.0
    assert_allclose(constraints.NonNeg()(np.full((5, 5), -3.0)), np.zeros((5, 5)))
    assert_allclose(constraints.NonNeg()(np.full((5, 5), 3.0)), np.full((5, 5), 3.0))
    assert_allclose(constraints.NonNeg()(np.zeros((5, 5))), np.zeros((5, 5)))


def test_unit_norm() -> None:
    assert_allclose(np.linalg.norm(constraints.UnitNorm()(EXAMPLE), axis=0), 1.0, rtol=1e-6)


def test_min_max_norm() -> None:
    norms = np.linalg.norm(constraints.MinMaxNorm(min_value=0.2, max_value=0.5)(EXAMPLE), axis=0)
    assert np.all(norms >= 0.2)
    assert np.all(norms <= 0.5 + 1e-6)


def test_the_base_class_changes_nothing() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert_allclose(constraints.Constraint()(x), x)
    assert constraints.Constraint().get_config() == {}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("MaxNorm", {"max_value": 3.0, "axis": 1}),
        ("UnitNorm", {"axis": 1}),
        ("MinMaxNorm", {"min_value": 0.5, "max_value": 2.0, "rate": 0.7, "axis": 1}),
        ("NonNeg", {}),
    ],
)
def test_configurations(name: str, config: dict[str, Any]) -> None:
    cls = getattr(constraints, name)
    constraint = cls(*config.values())  # in the order of the arguments
    assert constraint.get_config() == config
    again = cls.from_config(config)
    assert_allclose(again(EXAMPLE), constraint(EXAMPLE))


@pytest.mark.parametrize(
    ("name", "cls", "config"),
    [
        ("max_norm", "MaxNorm", {"max_value": 2, "axis": 0}),
        ("unit_norm", "UnitNorm", {"axis": 0}),
        ("min_max_norm", "MinMaxNorm",
         {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0}),
        ("non_neg", "NonNeg", {}),
    ],
)  # fmt: skip
def test_get(name: str, cls: str, config: dict[str, Any]) -> None:
    found = constraints.get(name)
    assert type(found) is getattr(constraints, cls)
    assert found.get_config() == config


def test_get_nothing_and_nonsense() -> None:
    assert constraints.get(None) is None
    with pytest.raises(ValueError, match="typo"):
        constraints.get("typo")
