"""Integers in operations: exact, as in NumPy and in Keras for int32, or rejected."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from operation_cases.computed import eagerly, in_steps

import gpunn
from gpunn import ops

LEAST, MOST = -(2**31), 2**31 - 1
ODD = 2**24 + 1  # not representable in float32
BEYOND: dict[str, Any] = {
    "an integer": 2**32,
    "one of 70 bits": -(2**70),
    "int64": np.int64(2**40),
    "uint64": np.uint64(2**63),
    "an array of int64": np.array([2**31, 0]),
    "an array of uint32": np.array([2**32 - 1, 0], np.uint32),
    "an array of uint64": np.array([2**63, 0], np.uint64),
    "a list": [0, -(2**31) - 1],
    "a list of large ones": [2**70, 1],
    "a list that NumPy makes floats of": [2**63, -1],
}
OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: y - x, "multiply": lambda x, y: x * y,
    "floor_divide": lambda x, y: x // y, "mod": lambda x, y: x % y, "power": lambda x, y: y**x,
    "equal": lambda x, y: x == y, "not_equal": lambda x, y: x != y, "less": lambda x, y: x < y,
    "greater_equal": lambda x, y: x >= y, "maximum": ops.maximum, "minimum": ops.minimum,
    "where": lambda x, y: ops.where([True, False], x, y), "bitwise_and": lambda x, y: x & y,
    "clip": lambda x, y: ops.clip(x, 0, y), "concatenate": lambda x, y: ops.append(x, y),
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_numbers_beyond_int32_are_refused_beside_integers_and_by_themselves(name: str) -> None:
    number, x = BEYOND[name], ops.convert_to_tensor([0, 1])
    for what, function in OF_TWO.items():
        with pytest.raises(OverflowError, match=r"beyond int32"):
            function(x, number)
        with pytest.raises(OverflowError, match=r"beyond int32"):
            in_steps(lambda x, f=function: f(x, number), [np.array([0, 1], np.int32)])
        assert what
    for make in (
        ops.convert_to_tensor, ops.negative, ops.abs, ops.sum, lambda x: ops.one_hot(x, 3),
        lambda x: ops.convert_to_tensor(x, "int32"), lambda x: ops.cast(x, "uint8"),
        lambda x: gpunn.Variable(x, dtype="int32"),
        lambda x: gpunn.Variable([0], dtype="int64").assign(x),
    ):  # fmt: skip
        with pytest.raises(OverflowError, match=r"beyond int"):
            make(number)


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beside_floats_they_are_the_nearest_floats(name: str, dtype: str) -> None:
    number = BEYOND[name]
    expected = np.asarray(number, object).astype(dtype)
    x = ops.convert_to_tensor([0.0, 0.0], dtype)
    assert_array_equal((x + number).numpy(), expected + np.zeros(2, dtype))
    assert (x + number).dtype == dtype
    assert_array_equal(ops.maximum(x, number).numpy(), np.maximum(np.zeros(2, dtype), expected))


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    assert (ops.convert_to_tensor([1.0], "float64") * 2**200).tolist() == [2.0**200]
    for dtype, number in (("float32", 2**200), ("float64", 10**400), ("float32", [10**400])):
        with pytest.raises(OverflowError, match=f"too large for a number of {dtype}"):
            ops.convert_to_tensor([1.0], dtype) * number


@pytest.mark.parametrize(
    "make",
    [
        lambda: ops.full((2,), 2**40, "int32"), lambda: ops.full((2,), 3e9, "int32"),
        lambda: ops.full_like(ops.ones(2, "int32"), 2**31), lambda: ops.arange(MOST, MOST + 3),
        lambda: ops.linspace(0, 2**33, 3, dtype="int32"), lambda: ops.arange(-1, 3, dtype="uint8"),
        lambda: ops.pad(ops.ones(2, "int32"), 1, constant_values=2**31),
        lambda: ops.convert_to_tensor(300, "uint8"), lambda: ops.convert_to_tensor([-1], "uint64"),
        lambda: ops.convert_to_tensor([128.0], "int8"), lambda: ops.full((1,), -129, "int8"),
        lambda: ops.convert_to_tensor(np.inf, "int32"), lambda: ops.diag([2**31]),
    ],
)  # fmt: skip
def test_what_is_made_holds_what_was_asked_or_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(OverflowError, match=r"beyond u?int"):
        make()


def test_nan_is_no_integer() -> None:
    for make in (
        lambda: ops.convert_to_tensor([1.0, np.nan], "int32"),
        lambda: gpunn.Variable(np.nan, dtype="int32"),
        lambda: ops.pad(ops.ones(2, "int32"), 1, constant_values=np.nan),
    ):
        with pytest.raises(ValueError, match="NaN cannot be converted to int32"):
            make()


@pytest.mark.parametrize("number", [Decimal(1), Fraction(1, 2), 1j, "1", object()])
def test_what_is_no_number_is_refused_in_words(number: Any) -> None:
    for name, function in OF_TWO.items():
        if name == "power" and isinstance(number, Fraction):
            continue  # it converts itself to a float
        if type(number) is object and name in ("equal", "not_equal"):
            continue  # as in Python, they are different
        with pytest.raises(TypeError, match="numbers are expected"):
            function(ops.convert_to_tensor([0, 1]), number)


def test_random_integers_are_of_the_range_that_was_asked_for() -> None:
    numbers = gpunn.random.randint((2000,), LEAST, MOST + 1, seed=1).numpy().astype(float)
    assert numbers.min() < 0.99 * LEAST
    assert numbers.max() > 0.99 * MOST
    assert set(gpunn.random.randint((200,), 254, 256, "uint8").tolist()) == {254, 255}
    for low, high, dtype in (
        (0, 257, "uint8"),
        (-1, 5, "uint32"),
        (0, 2**31 + 1, "int64"),
        (0, 2.5, "int32"),
    ):
        with pytest.raises(ValueError, match="integers in the range"):
            gpunn.random.randint((2,), low, high, dtype)


# -- in all ways of computing

numbers = st.one_of(
    st.integers(LEAST, MOST), st.integers(-3, 3), st.sampled_from([LEAST, MOST, ODD, -ODD, 2**16])
)


def everywhere(function: Callable[..., Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the results computed at once, in steps on each backend, and in eager steps."""
    found = [eagerly(function, arrays)]
    for backend in ("numpy", "compiled", "emulated"):
        found.append(in_steps(function, arrays, backend, False).values)
    gpunn.config.run_eagerly(True)
    try:
        found.append(in_steps(function, arrays, "numpy", False).values)
    finally:
        gpunn.config.run_eagerly(False)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.dtype == b.dtype
            assert_array_equal(a, b)
    return found[0]


OF_INTEGERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (lambda a, b: a + b, np.add), "subtract": (lambda a, b: a - b, np.subtract),
    "multiply": (lambda a, b: a * b, np.multiply),
    "floor_divide": (lambda a, b: a // b, np.floor_divide),
    "mod": (lambda a, b: a % b, np.remainder), "fmod": (ops.fmod, np.fmod),
    "maximum": (ops.maximum, np.maximum), "minimum": (ops.minimum, np.minimum),
    "equal": (lambda a, b: a == b, np.equal), "less": (lambda a, b: a < b, np.less),
    "greater_equal": (lambda a, b: a >= b, np.greater_equal),
    "negative": (lambda a, b: -a, lambda a, b: -a),
    "abs": (lambda a, b: abs(a), lambda a, b: np.abs(a)),
    "square": (lambda a, b: a**2, lambda a, b: a * a),
    "sign": (lambda a, b: ops.sign(a), lambda a, b: np.sign(a)),
    "and": (lambda a, b: a & b, np.bitwise_and), "or": (lambda a, b: a | b, np.bitwise_or),
    "xor": (lambda a, b: a ^ b, np.bitwise_xor), "not": (lambda a, b: ~a, lambda a, b: ~a),
    "left shift": (lambda a, b: a << b, np.left_shift),
    "right shift": (lambda a, b: a >> b, np.right_shift),
    "relu": (lambda a, b: ops.relu(a), lambda a, b: np.maximum(a, 0)),
    "sum": (lambda a, b: ops.sum(a), lambda a, b: np.sum(a, dtype=np.int32)),
    "prod": (lambda a, b: ops.prod(a), lambda a, b: np.prod(a, dtype=np.int32)),
    "cumsum": (lambda a, b: ops.cumsum(a), lambda a, b: np.cumsum(a, dtype=np.int32)),
    "max": (lambda a, b: ops.max(a), lambda a, b: np.max(a)),
    "clip": (lambda a, b: ops.clip(a, -ODD, ODD), lambda a, b: np.clip(a, -ODD, ODD)),
    "one hot": (
        lambda a, b: ops.one_hot(a, 3, dtype="int32"),
        lambda a, b: np.equal.outer(a, [0, 1, 2]).astype(np.int32),
    ),
    "to float and back": (lambda a, b: ops.cast(ops.cast(a, "float64"), "int32"), lambda a, b: a),
    "truth": (lambda a, b: ops.logical_not(a), lambda a, b: a == 0),
    "matmul": (lambda a, b: ops.matmul(a, b), lambda a, b: (a * b).sum(dtype=np.int32)),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_INTEGERS)
@settings(max_examples=6, derandomize=True)
@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=4))
def test_operations_of_integers_are_numpys_of_int32(
    name: str, pairs: list[tuple[int, int]]
) -> None:
    ours, theirs = OF_INTEGERS[name]
    a, b = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
    a[0], b[0] = LEAST, -1
    b[1] = 0
    with np.errstate(all="ignore"):
        expected = np.asarray(theirs(a, b))
    (found,) = everywhere(ours, [a, b])
    assert found.dtype == expected.dtype
    assert_array_equal(found, expected)


def test_integers_beside_floats_in_one_loop_stay_exact() -> None:
    """Integer comparisons and counts are not part of a loop over floats."""
    a = np.array([ODD, ODD - 1, -ODD, MOST], np.int32)
    x = np.array([0.5, -0.5, 2.0, 3.0], np.float32)

    def function(a: Any, x: Any) -> Any:
        same = a == ODD
        return (
            ops.where(same, ops.exp(x), x * 2),
            ops.cast(a - (ODD - 1), "float32") * x,
            same & (x > 0),
        )

    chosen, scaled, both = everywhere(function, [a, x])
    np.testing.assert_allclose(chosen, np.where(a == ODD, np.exp(x), x * 2), 1e-6)
    np.testing.assert_allclose(scaled, (a - np.int32(ODD - 1)).astype(np.float32) * x, 1e-6)
    assert both.tolist() == [True, False, False, False]


@pytest.mark.parametrize("one_hot_rows", [(0, 1, 2), (1, 0, 2), (0, 1, 3), (ODD, ODD + 1, 2)])
def test_integers_beside_a_row_of_constants(one_hot_rows: tuple[int, ...]) -> None:
    a = np.array([[0, 1, 2], [ODD, ODD + 1, ODD + 2], [1, 1, 3]], np.int32)
    row = np.array(one_hot_rows, np.int32)
    for given_ in (a, a[:, :1]):
        (found,) = everywhere(lambda a: ops.cast(a == row, "float32") * 2.0, [given_])
        assert_array_equal(found, 2.0 * (given_ == row))


def test_powers_of_integers() -> None:
    a, b = map(np.array, zip(*itertools.product((2, 1, -1, 0, -3), (-2, -1, 0, 1, 3)), strict=True))
    a, b = a.astype(np.int32), b.astype(np.int32)
    (found,) = everywhere(lambda a, b: a**b, [a, b])
    assert_array_equal(found, torch.pow(torch.tensor(a), torch.tensor(b)).numpy())
    with pytest.raises(ValueError, match="integers to the power of -1 are fractions"):
        in_steps(lambda a: a**-1, [a])


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_means_and_variances_of_integers_have_all_digits(backend: str) -> None:
    a = np.array([[ODD, -ODD + 1, 2], [ODD, ODD + 2, MOST]], np.int32)
    pairs: list[tuple[Any, Any]] = [
        (lambda a: ops.mean(a, 1), lambda a: a.mean(1)),
        (lambda a: ops.var(a, 0), lambda a: a.var(0)),
        (lambda a: ops.std(a), lambda a: a.std()),
        (lambda a: ops.moments(a, [1])[0], lambda a: a.mean(1)),
        (lambda a: ops.average(a, 1, [1, 1, 0]), lambda a: np.average(a, 1, [1, 1, 0])),
        (lambda a: ops.average(a[:, :2]), lambda a: a[:, :2].mean()),
    ]  # fmt: skip
    for ours, theirs in pairs:
        (found,) = in_steps(ours, [a], backend, False).values
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, theirs(a.astype(np.float64)), 1e-7)


def test_integers_are_close_as_numpy_says() -> None:
    a, b = np.array([ODD, ODD, MOST], np.int32), np.array([ODD - 1, ODD, LEAST], np.int32)
    for options in ({"rtol": 0, "atol": 0}, {"rtol": 0, "atol": 1}, {}):
        (found,) = everywhere(lambda a, b, o=options: ops.isclose(a, b, **o), [a, b])
        assert_array_equal(found, np.isclose(a, b, **options))


def test_a_float64_array_beside_a_float64_tensor_is_not_rounded() -> None:
    x = ops.convert_to_tensor([1.0], "float64")
    assert (x * np.array([0.1])).tolist() == [0.1]
    assert (ops.convert_to_tensor([1.0]) * np.array([0.1])).dtype == "float32"


def test_integers_are_rounded_and_counted_as_integers() -> None:
    a = np.array([ODD, 25, 35, -25, -35, 4, MOST - 50], np.int32)
    for decimals in (2, 0, -1, -2, -9, -12):
        (found,) = everywhere(lambda a, d=decimals: ops.round(a, d), [a])
        assert found.dtype == np.int32
        assert_array_equal(found, np.round(a, decimals))
    places, weights = np.array([1, 1, 0], np.int32), np.array([ODD, 2, -ODD], np.int32)
    (found,) = everywhere(lambda a, b: ops.bincount(a, b, 3), [places, weights])
    assert found.tolist() == [-ODD, ODD + 2, 0]
    (found,) = everywhere(ops.trapezoid, [np.array([MOST, MOST], np.int32)])
    assert found == np.float32(2**31)


def test_a_loss_of_integers_is_a_sum_of_floats() -> None:
    class Adding(gpunn.layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.sum(x, 1))
            return ops.cast(x, "float32")

    model = gpunn.Sequential([gpunn.Input((1,), dtype="int32"), Adding()])
    model.compile("sgd", "mse")
    x = np.full((2, 1), 2**30)
    assert model.evaluate(x, x, verbose=0) == 2.0**31
