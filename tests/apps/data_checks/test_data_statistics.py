"""The statistics behind the checks of data, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from gpunn.apps.data_checks import statistics as own


@settings(max_examples=60)
@given(x=st.floats(0, 500), freedom=st.integers(1, 200))
def test_chi_squared_is_scipys(x, freedom):
    expected = stats.chi2.sf(x, freedom)
    assert own.chi2_sf(x, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(t=st.floats(0, 5))
def test_kolmogorovs_distribution_is_scipys(t):
    assert own.kolmogorov_sf(t) == pytest.approx(special.kolmogorov(t), abs=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), a=st.integers(3, 50), b=st.integers(3, 50), ties=st.booleans())
def test_the_distance_of_two_samples_is_scipys(seed, a, b, ties):
    random = np.random.default_rng(seed)
    one, two = (random.standard_normal(n).round(0 if ties else 9) for n in (a, b))
    expected = stats.ks_2samp(one, two, method="asymp").statistic
    assert own.ks_statistic(one, two)[0] == pytest.approx(expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 6), columns=st.integers(2, 6))
def test_the_g_test_is_scipys(seed, rows, columns):
    table = np.random.default_rng(seed).integers(1, 40, (rows, columns))
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    g, p = own.g_test(table)
    assert g == pytest.approx(expected.statistic, abs=1e-9)
    assert p == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-12)
    padded = np.pad(table, 1)  # empty rows and columns change nothing
    assert own.g_test(padded) == pytest.approx((g, p))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["uint8", "int64", "float32", "float64", "bool"]),
    columns=st.integers(1, 20),
)
def test_equal_rows_are_those_that_numpy_finds(seed, dtype, columns):
    random = np.random.default_rng(seed)
    x = random.integers(0, 2, (60, columns)).astype(dtype)
    among = random.integers(0, 2, (40, columns)).astype(dtype)
    equal = (x[:, None] == among).all(axis=2)
    expected = np.where(equal.any(axis=1), equal.argmax(axis=1), -1)
    np.testing.assert_array_equal(own.equal_rows(x, among), expected)
    itself = (x[:, None] == x).all(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(own.equal_rows(x, x), itself)


def test_rows_whose_hashes_agree_by_chance_are_distinguished(monkeypatch):
    monkeypatch.setattr(own, "row_hashes", lambda x: np.zeros(len(x), np.uint64))
    x = np.array([[1, 2], [3, 4], [1, 2]])
    assert own.equal_rows(x, x).tolist() == [0, -1, 0]


def test_bins_are_equally_full_and_keep_ties_together():
    values = np.random.default_rng(0).standard_normal(1000)
    assert np.ptp(np.bincount(own.binned(values))) <= 1
    rare = np.zeros(1000)
    rare[:60] = np.linspace(1, 2, 60)
    bins = own.binned(rare)
    assert len(np.unique(bins)) == 2 and len(np.unique(bins[60:])) == 1
