"""Scaled, logarithmic and outlying targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import r2_score

from gpunn.apps.tables.learning import TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.targets import Outliers, TargetScale, is_skewed
from gpunn.layers import Input
from gpunn.models import Model


@pytest.mark.parametrize("logs", [False, True])
def test_the_layers_undo_the_scale(logs: bool) -> None:
    y = np.random.default_rng(0).lognormal(5, 2, 50)
    scale = TargetScale.of(y, logs)
    learned = scale.learned(y)
    assert_allclose([learned.mean(), learned.std()], [0, 1], atol=1e-12)
    assert_allclose(scale.undone(learned), y, 1e-9)
    wide = replace(scale, factor=1.5 if logs else 1.0)
    x = Input((1,))
    model = Model(x, wide.layers(x, str))
    found = model.predict(learned.astype(np.float32), verbose=0)[:, 0]
    assert_allclose(found, y * wide.factor, 1e-5, 1e-6 * y.max())
    if logs:  # of inputs far from all others
        far = model.predict([[50.0], [-50.0]], verbose=0)[:, 0]
        assert y.max() < far[0] < 10 * y.max() and 0 < far[1] < y.min()
        assert_allclose(far, wide.undone(np.array([[50.0], [-50.0]])), 1e-4)


def test_typing_errors_are_outliers_and_heavy_tails_are_not() -> None:
    random = np.random.default_rng(0)
    y = random.normal(100, 15, 1127)
    assert Outliers.of(y).count == 0
    y[[3, 500, 900]] = [1e5, -3e6, 1e7]
    found = Outliers.of(y)
    assert found.count == 3
    clipped = found.clip(y)
    others = np.delete(y, [3, 500, 900])
    assert clipped.min() == others.min() and clipped.max() == others.max()
    assert_allclose(np.delete(clipped, [3, 500, 900]), others)
    assert "3 of 1,127 targets lie far from all others" in found.note()
    for tail in (random.lognormal(10, 1.5, 1000), random.standard_t(3, 1000), np.arange(50.0),
                 np.array([0.0] * 90 + [1.0] * 10)):  # fmt: skip
        assert Outliers.of(tail).count == 0


@pytest.mark.usefixtures("numpy_is_asked_for", "no_backend_yet")
@pytest.mark.parametrize("wrong", [1e6, -1e6])
def test_one_absurd_number_among_many_zeros_does_not_spoil_the_others(wrong: float) -> None:
    random = np.random.default_rng(1)
    bought = np.where(random.random(400) < 0.7, 0.0, random.integers(1, 9, 400))
    size = bought + random.normal(0, 0.3, 400)
    spoilt = np.where(np.arange(400) == 7, wrong, bought)
    learn, test = np.arange(300), np.arange(300, 400)
    for x, y in ((size, spoilt), (np.where(bought == spoilt, bought, wrong), size)):
        cells = column_of("x", [f"{v:g}" for v in x])
        table = TableData([cells], {"x": x[:, None]}, y, 0)
        plan = planned(table, learn, {"hidden": (8,), "epochs": 2}, fast=True)
        linear = plan.learn(table, learn, linear=True)
        answer = linear.predict({"x": x[test][:, None]}, verbose=0)
        assert r2_score(y[test], answer) > 0.9
    rare = np.where(random.random(400) < 0.95, 0.0, random.lognormal(3, 2, 400))
    rare[rare.argmax()] *= 100
    assert Outliers.of(rare).count == 0  # the largest of few is not absurd, ...
    assert Outliers.of((np.arange(400) == 7) * 1.0).count == 0  # ... nor is the only one


def test_logarithms_are_for_long_tails_of_positive_numbers() -> None:
    random = np.random.default_rng(0)
    assert is_skewed(random.lognormal(0, 1, 500))
    assert not is_skewed(random.normal(100, 1, 500))
    assert not is_skewed(random.lognormal(0, 1, 500) - 0.5)
