"""Operations that depend on order, at extremes: NaN, infinity, the least integer, zeros."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.computed import BACKENDS, by_torch, eagerly, in_steps

import gpunn
from gpunn import ops

INF, NAN = np.inf, np.nan
LEAST, MOST = -(2**31), 2**31 - 1
# Beyond 2^24 float32 has even values only.
INTEGERS = [
    [LEAST, 5, MOST, 0], [LEAST, LEAST + 1, MOST, MOST - 1], [16777217, 16777216, 16777218, -1],
    [-16777217, -16777216, LEAST, 16777217], [3, 3, 3, 1],
]  # fmt: skip
FLOATS = [
    [1, INF, 2, 3], [-INF, 1, 2, 0], [INF, -INF, 1, 2], [INF, INF, 1, 2], [INF, INF, INF, -1],
    [-INF, -INF, -INF, 1], [-INF, -INF, INF, INF], [NAN, 1, 2, 3], [3, NAN, INF, NAN], [NAN] * 4,
    [0.0, -0.0, 0.0, -0.0], [-0.0, 0.0, -1.0, 1.0], [3e38, -3e38, 3e38, 1], [2, 2, 1, 2],
]  # fmt: skip
ROWS = {"int32": np.array(INTEGERS, np.int32), "float32": np.array(FLOATS, np.float32)}
each_dtype = pytest.mark.parametrize("dtype", ROWS)


def check(backend: str, ours: Callable[..., Any], theirs: Callable[..., Any], *xs: Any) -> None:
    """Compare with NumPy, including the signs of zeros, eagerly and in steps."""
    with np.errstate(all="ignore"):
        expected = np.asarray(theirs(*xs))
    for found in (eagerly(ours, [*xs])[0], in_steps(ours, [*xs], backend, twice=False).values[0]):
        assert found.shape == expected.shape
        assert_array_equal(found, expected.astype(found.dtype))


@each_dtype
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_that_of_numpy(backend: str, dtype: str) -> None:
    x = ROWS[dtype]
    for axis in (0, 1, None):
        for name in ("argmax", "argmin", "max", "min"):
            ours, theirs = getattr(ops, name), getattr(np, name)
            check(backend, lambda x, f=ours, a=axis: f(x, axis=a),
                  lambda x, f=theirs, a=axis: f(x, axis=a), x)  # fmt: skip
        check(backend, lambda x, a=axis: ops.sort(x, a), lambda x, a=axis: np.sort(x, a), x)
        check(backend, lambda x, a=axis: ops.argsort(x, a),
              lambda x, a=axis: np.argsort(x, a, kind="stable"), x)  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_a_number_is_that_of_numpy(backend: str) -> None:
    x = ROWS["float32"][[0, 1, 3, 7, 8, 10]]
    for name in ("nanmax", "nanmin", "nansum", "nanmean", "nanprod"):
        theirs = getattr(np, name)
        check(backend, lambda x, n=name: getattr(ops, n)(x, axis=1),
              lambda x, f=theirs: f(x, axis=1), x)  # fmt: skip


@each_dtype
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_largest_are_the_last_in_order(backend: str, dtype: str) -> None:
    """Ties are taken in order; NaN is the largest, as in PyTorch and JAX."""
    x = ROWS[dtype]
    for k in (0, 1, 3, 4):
        places = len(x[0]) - 1 - np.argsort(x[:, ::-1], kind="stable")[:, ::-1][:, :k]
        check(backend, lambda x, k=k: ops.top_k(x, k)[1], lambda x, p=places: p, x)
        check(backend, lambda x, k=k: ops.top_k(x, k)[0],
              lambda x, p=places: np.take_along_axis(x, p, 1), x)  # fmt: skip
        largest = torch.topk(torch.tensor(x), k)[0].numpy()
        assert_array_equal(np.take_along_axis(x, places, 1), largest)


@pytest.mark.parametrize("backend", BACKENDS)
def test_medians_are_those_of_numpy(backend: str) -> None:
    for x, axis in itertools.product((ROWS["float32"][:12], ROWS["int32"]), (0, 1)):
        check(backend, lambda x, a=axis: ops.median(x, a), lambda x, a=axis: np.median(x, a), x)
        odd = x[:3, :3]
        check(backend, lambda x, a=axis: ops.median(x, a), lambda x, a=axis: np.median(x, a), odd)


METHODS = ("linear", "lower", "higher", "midpoint", "nearest")
SHARES = (0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_quantiles_are_those_of_numpy(backend: str) -> None:
    """Except where NumPy gives NaN beside infinite values; gpunn keeps the infinity."""
    for method in METHODS if backend == "numpy" else METHODS[:1]:
        for dtype, x in ROWS.items():
            with np.errstate(all="ignore"):
                wide = x.astype(np.float64)
                expected = np.quantile(wide, SHARES, axis=1, method=method)
            bounds = [np.quantile(wide, SHARES, axis=1, method=m) for m in ("lower", "higher")]
            infinite = np.isnan(expected) & ~np.isnan(wide).any(axis=1)
            ours = lambda x, m=method: ops.quantile(x, list(SHARES), 1, m)  # noqa: E731
            results = in_steps(ours, [x], backend, twice=False).values[0], eagerly(ours, [x])[0]
            for found in results:
                assert found.dtype == np.float32
                assert_allclose(
                    found[~infinite], expected[~infinite], 1e-6, err_msg=f"{dtype} {method}"
                )
                low, high = (b[infinite] for b in bounds)
                with np.errstate(all="ignore"):
                    between = np.where(low == high, low, low + high)
                assert_array_equal(found[infinite], between)
    for q in (-0.1, 1.1, NAN, [0.5, 2.0]):
        with pytest.raises(ValueError, match="q must be from 0 to 1; got"):
            ops.quantile([1.0, 2.0], q)
    with pytest.raises(ValueError, match="quantile: x must have elements"):
        ops.quantile(np.zeros((0, 3)), 0.5, axis=0)
    q = np.array([0.25, -0.5, 1.5], np.float32)  # known in a step only
    traced = in_steps(lambda x, q: ops.quantile(x, q), [ROWS["float32"][-1], q], backend, False)
    assert_array_equal(traced.values[0], [1.75, NAN, NAN])


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_are_not_rounded_on_the_way_to_a_quantile(backend: str) -> None:
    """The mean of 16,777,217 and 16,777,218 rounds up; in float32 it would be smaller."""
    x = np.array([16777217, 16777218, 0, MOST], np.int32)
    check(backend, ops.median, np.median, x)
    assert ops.median(x).tolist() == 16777218.0
    assert ops.percentile([1, 2, 3, 4, 5], 75).tolist() == 4.0


def test_gradients_of_quantiles_are_those_of_pytorch() -> None:
    x = np.random.default_rng(0).normal(size=(4, 7))
    for q in (0.0, 0.3, 0.5, 1.0):
        ours = in_steps(lambda x, q=q: ops.quantile(x, q, 1), [x], twice=False)
        theirs = by_torch(lambda x, q=q: torch.quantile(x, q, 1), [x], twice=False)
        assert_allclose(ours.values[0], theirs.values[0], 1e-12)
        assert_allclose(ours.first[0], theirs.first[0], 1e-12, 1e-13)


SEQUENCES: list[Any] = [
    [-INF, -1.0, 0.0, 0.0, 2.5, INF], [1.0, 2.0, NAN, NAN], [NAN], [LEAST, -1, 16777216, 16777217],
    [3, 3, 3],
]  # fmt: skip
SOUGHT: list[Any] = [
    [NAN, INF, -INF, 0.0, -0.0, 2.5, 3.0, 1e30], [LEAST, MOST, 16777217, 16777216, 3, -1],
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_places_in_a_sequence_are_those_of_numpy(backend: str, side: Any) -> None:
    for sequence, sought in itertools.product(SEQUENCES, SOUGHT):
        arrays = [
            np.array(a, np.int32 if isinstance(a[0], int) else np.float32)
            for a in (sequence, sought)
        ]
        check(backend, lambda a, v: ops.searchsorted(a, v, side),
              lambda a, v: np.searchsorted(a, v, side), *arrays)  # fmt: skip
    with pytest.raises(ValueError, match=r"must have one axis; got shape .2, 2."):
        ops.searchsorted([[1, 2], [3, 4]], 1)


def test_bins_rise_or_fall_as_in_numpy() -> None:
    x = np.array([NAN, -INF, 0, 1, 1.5, 2, 3, INF], np.float32)
    for bins in ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 1.0, 2.0], [2.0, 2.0], [1.0]):
        assert_array_equal(ops.digitize(x, bins).numpy(), np.digitize(x, bins))
    with pytest.raises(ValueError, match="increasing or decreasing"):
        ops.digitize(x, [1.0, 3.0, 2.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prediction_that_is_no_number_is_not_among_the_largest(backend: str) -> None:
    predictions = np.array([[NAN, 1, 2], [NAN, 1, 2], [3, 3, INF], [0, 1, 2]], np.float32)
    targets = np.array([0, 2, 0, 1], np.int32)
    for k, expected in ((1, [0, 0, 0, 0]), (2, [0, 1, 1, 1]), (3, [0, 1, 1, 1])):
        found = in_steps(
            lambda t, p, k=k: ops.in_top_k(t, p, k), [targets, predictions], backend, False
        )
        assert_array_equal(found.values[0], np.array(expected, bool))


@pytest.mark.parametrize("backend", BACKENDS)
def test_running_products_are_those_of_numpy(backend: str) -> None:
    """Multiplied one by one: another order may overflow, or give 0, where NumPy's does not."""
    x = np.array(
        [[1e-38, 1e-38, 1e38, 1e38], [1e-30, 1e-10, 1e30, 1e30], [2, 0, NAN, 1], [2, 0, -3, 1],
         [1e38, 1e38, 0, 1], [INF, 2, 0.5, 0]],
        np.float32,
    )  # fmt: skip
    for axis in (0, 1, None):
        check(backend, lambda x, a=axis: ops.cumprod(x, a), lambda x, a=axis: np.cumprod(x, a), x)
    zeros = np.array([[2.0, 0.0, 3.0, 0.0, 5.0], [0.0, 0.0, 1.0, 2.0, 3.0]])
    ours = in_steps(lambda x: ops.cumprod(x, 1), [zeros], backend)
    theirs = by_torch(lambda x: torch.cumprod(x, 1), [zeros])
    assert_allclose(ours.first[0], theirs.first[0], 1e-12)
    assert_allclose(ours.second[0], theirs.second[0], 1e-12)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_each_nan_is_a_value_of_its_own(keras: Any, shape: tuple[int, ...]) -> None:
    """As in all of Keras's backends; NumPy takes them for one."""
    x = np.array([1.0, np.nan, 2.0, np.nan, 1.0, 0.0], np.float32).reshape(shape)
    theirs, ours = (
        lib.ops.unique(x, return_inverse=True, return_counts=True) for lib in (keras, gpunn)
    )
    for a, b in zip(theirs, ours, strict=True):
        assert_array_equal(np.asarray(b), keras.ops.convert_to_numpy(a))
