"""The linear models of a table, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from gpunn.apps.tables import linear
from gpunn.apps.tables.linear import OF_RIDGE, PENALTIES, logistic, ridge


def test_ridge_is_scikit_learns() -> None:
    x, y = datasets.load_diabetes(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    for penalty, (kernel, bias) in zip(OF_RIDGE, ridge(x, y), strict=True):
        expected = Ridge(penalty).fit(x, y)
        assert_allclose(kernel[:, 0], expected.coef_, 1e-9)
        assert_allclose(bias, expected.intercept_, 1e-9)


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_logistic_regression_is_scikit_learns(name: str) -> None:
    """With two classes scikit-learn has one column of weights: half of our penalty counts."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    classes = int(y.max()) + 1
    for penalty, (kernel, bias) in zip(PENALTIES, logistic(x, y, classes), strict=True):
        inverse = (2 if classes == 2 else 1) / penalty
        expected = LogisticRegression(C=inverse, tol=1e-8, max_iter=10_000).fit(x, y)
        logits = x @ kernel + bias
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
        assert_allclose(found, expected.predict_proba(x), atol=5e-3)


def test_a_column_that_does_not_vary_has_no_weight() -> None:
    x = np.ones((20, 2))
    x[:, 1] = np.arange(20)
    for kernel, _ in ridge(x, x[:, 1] * 3.0):
        assert kernel[0, 0] == pytest.approx(0, abs=1e-12)
    for kernel, bias in logistic(x, (np.arange(20) > 9).astype(int), 2):
        assert np.isfinite(kernel).all() and np.isfinite(bias).all()


@pytest.mark.parametrize("block", [7, 60, 1000])
def test_rows_may_be_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    x, y = datasets.load_wine(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    expected = [[*ridge(x, x[:, 0] * y)], [*logistic(x, y, 3)]]
    monkeypatch.setattr(linear, "BLOCK", block)
    for found, whole in zip(
        [[*ridge(x, x[:, 0] * y)], [*logistic(x, y, 3)]], expected, strict=True
    ):
        for (kernel, bias), (kernel_, bias_) in zip(found, whole, strict=True):
            assert_allclose(kernel, kernel_, 1e-4, 1e-4)
            assert_allclose(bias, bias_, 1e-4, 1e-4)
