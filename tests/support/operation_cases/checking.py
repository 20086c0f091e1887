"""Comparison of an operation with its oracle."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunn.backends.contract.backend import Backend

from .case import ORACLES, Arrays, Call, Oracle
from .computed import Result, by_torch, eagerly, fused, in_steps
from .edges import at_edge
from .libraries import KERAS, NUMPY, OURS, keras_with_float64

REFUSALS = ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError
WAYS = "eager", "traced", "fused"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings of references, for instance about overflow."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Expected:
    """The results of an operation's references for some arrays.

    Attributes:
        values: the results; None if the reference raises an error.
        error: the message of that error.
    """

    def __init__(self, oracle: Oracle, call: Call, arrays: Arrays) -> None:
        self.arrays, self.function = arrays, oracle.function(call)
        self.values: Arrays | None = None
        self.error: Exception | None = None
        library = call.values or oracle.values
        if library == "numpy":
            try:
                self.values = self.by_numpy(arrays)
            except AttributeError:  # NumPy lacks this function
                library = "keras"
            except Exception as error:
                self.error = error
        if library == "keras" and self.by_keras is not None:
            self.values = self.by_keras.values

    def by_numpy(self, arrays: Arrays) -> Arrays:
        with quiet():
            found = flat(self.function(NUMPY, *(a.copy() for a in arrays)))
        halves = any(values.dtype == np.float16 for values in found)  # as for booleans
        if halves and any(a.dtype == bool for a in arrays):
            return self.by_numpy([a.astype(np.int32) if a.dtype == bool else a for a in arrays])
        return found

    @functools.cached_property
    def by_keras(self) -> Result | None:
        """Keras's results and gradients on PyTorch, without second derivatives."""
        return self._by_keras(False)

    @functools.cached_property
    def by_keras_twice(self) -> Result | None:
        """Keras's results and gradients on PyTorch, with second derivatives."""
        return self._by_keras(True)

    def _by_keras(self, twice: bool) -> Result | None:
        # With floats, if it does not support integers.
        floats = [a if a.dtype.kind == "f" else a.astype(np.float32) for a in self.arrays]
        for arrays in (self.arrays, floats):
            try:
                with keras_with_float64(), quiet():
                    return by_torch(lambda *xs: self.function(KERAS, *xs), arrays, twice)
            except Exception as error:
                self.error = error
                if "not implemented" not in str(error) and "not support" not in str(error):
                    break
        return None


def flat(results: Any) -> Arrays:
    """Return results as arrays: there may be several, or sizes."""
    several = isinstance(results, (list, tuple)) and not all(type(r) is int for r in results)
    return [np.asarray(r) for r in (results if several else [results])]


@functools.cache
def expected(oracle: Oracle, call: Call, edge: str, dtype: str) -> Expected | None:
    """Return None if the arrays have no values of this kind."""
    given = call.given(dtype)
    arrays = at_edge(edge, given) if edge else given
    if edge and all(a is b for a, b in zip(arrays, given, strict=True)):
        return None
    return Expected(oracle, call, arrays)


def cases(
    name: str, dtype: str, edge: str = "", calls: slice = slice(None)
) -> Iterator[tuple[Call, Expected, str]]:
    """Some calls of an operation, with their expected results and their names."""
    oracle = ORACLES[name]
    for number in range(len(oracle.calls))[calls]:
        call = oracle.calls[number]
        exact = expected(oracle, call, edge, dtype)
        if exact is not None:
            shapes = " ".join(f"{a.dtype.name}{list(a.shape)}" for a in exact.arrays)
            yield call, exact, f"{name}, call {number} of {shapes} {call.options or ''} {edge}"


def computed(
    exact: Expected, way: str, backend: str | Backend = "numpy", twice: bool = False
) -> Result:
    """Return gpunn's results: "eager", "traced" or "fused"."""

    def ours(*xs: Any) -> Any:
        return exact.function(OURS, *xs)

    if way == "eager":
        return Result(eagerly(ours, exact.arrays), [], [])
    return in_steps(fused(ours) if way == "fused" else ours, exact.arrays, backend, twice)


def check(
    name: str, way: str, dtype: str, backend: str | Backend = "numpy", edge: str = "",
    calls: slice = slice(None), twice: bool = False,
) -> None:  # fmt: skip
    """Compare an operation with its oracle for some of its calls.

    Args:
        way: as for `computed`.
        edge: the kind of edge values to put into the arrays of each call.
        twice: whether second derivatives are compared too.
    """
    oracle = ORACLES[name]
    for call, exact, what in cases(name, dtype, edge, calls):
        what = f"{what}, {way} on {backend}"
        asks = call.eager_only and way != "eager"
        if exact.values is None or call.refused or asks:
            if not (call.unseen and way != "eager"):
                _check_refusal(exact, what, way, backend)
            continue
        try:
            result = computed(exact, way, backend, twice and not call.once)
        except REFUSALS as error:
            raise AssertionError(f"{what}: it is refused") from error
        compare(result.values, exact.values, oracle, "value", exact.arrays, what)
        if oracle.smooth and call.smooth and way != "eager":
            _check_gradients(result, oracle, exact, what, twice and not call.once)


def _check_refusal(exact: Expected, what: str, way: str, backend: str | Backend) -> None:
    with contextlib.suppress(*REFUSALS):
        computed(exact, way, backend)
        pytest.fail(f"{what}: it is not refused; the reference says {exact.error!r}")


def _check_gradients(
    result: Result, oracle: Oracle, exact: Expected, what: str, twice: bool
) -> None:
    theirs = exact.by_keras
    if theirs is None or len(theirs.first) != len(result.first):  # of floats, instead of integers
        return
    compare(result.first, theirs.first, oracle, "gradient", exact.arrays, what)
    usual = all(a.size and np.isfinite(a).all() and abs(a).max() < 1e6 for a in exact.arrays)
    again = exact.by_keras_twice if twice and usual else None
    # Keras may give other shapes (`keepdims`) or dtypes, and the results are weighted.
    forms = [[(y.shape, y.dtype.kind) for y in by.values] for by in (result, again or result)]
    if again is not None and forms[0] == forms[1]:
        compare(result.second, again.second, oracle, "second gradient", exact.arrays, what)


def compare(
    found: Arrays, exact: Arrays, oracle: Oracle, of: str, arrays: Arrays, what: str
) -> None:
    """Assert that results are as expected, except for declared differences."""
    assert len(found) == len(exact), f"{what}: {len(found)} results, expected {len(exact)}"
    for number, (one, other) in enumerate(zip(found, exact, strict=True)):
        at = f"{what}, {of} {number}"
        assert one.shape == other.shape, f"{at}: shape {one.shape}, expected {other.shape}"
        with quiet():
            wrong = ~_same(one, other, oracle, of)
            for difference in oracle.differs:
                if wrong.any() and difference.of in ("result", of.removeprefix("second ")):
                    wrong &= ~fitted(difference.where(*arrays), one.shape)
        places = [tuple(map(int, place)) for place in np.argwhere(wrong)]
        numbers = "; ".join(f"{one[k]} at {k}, expected {other[k]}" for k in places[:3])
        assert not places, f"{at}: {numbers} ({len(places)} of {one.size})"


def _same(one: np.ndarray, other: np.ndarray, oracle: Oracle, of: str) -> np.ndarray:
    """Return where values are as expected, within the units that the oracle allows."""
    dtype = np.promote_types(one.dtype, np.float32) if one.dtype.kind == "f" else np.float64
    one, other = one.astype(dtype), other.astype(dtype)
    size = np.abs(other)
    ulps = oracle.ulps if of == "value" else 16 * max(oracle.ulps, 1)
    if oracle.scale == "largest" or of == "second gradient":
        size = np.maximum(size, size[np.isfinite(size)].max(initial=1.0))
    elif oracle.scale == "one" or of == "gradient":
        size = np.maximum(size, 1.0)
    # Machines may flush subnormal values to 0.
    unit = np.where(np.isfinite(size), np.spacing(size), 0)
    near = np.abs(one - other) <= ulps * unit + np.finfo(dtype).tiny
    return (one == other) | (np.isnan(one) & np.isnan(other)) | near


def fitted(there: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Map booleans for an array's elements to those of a result, to which the array was broadcast,
    or which is a part of the array."""
    there = np.asarray(there)
    try:
        return np.broadcast_to(there, shape)
    except ValueError:
        there = there.any(tuple(range(max(0, there.ndim - len(shape)))))
    if there.ndim != len(shape):
        return np.broadcast_to(there.any(), shape)
    summed = [a for a, (n, m) in enumerate(zip(there.shape, shape, strict=True)) if n != m]
    there = there.any(tuple(summed), keepdims=True)
    fits = all(n in (1, m) for n, m in zip(there.shape, shape, strict=True))
    return np.broadcast_to(there if fits else there.any(), shape)
