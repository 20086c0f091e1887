"""Casts to dtypes used in computation, and to dtypes that only store values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from operation_cases.computed import eagerly, in_steps

import gpunn
from gpunn import layers, ops

LEAST, MOST = -(2**31), 2**31 - 1
WRAPPED = ("int8", "int16", "uint8", "uint16")
HALVED = ("float16", "bfloat16")
INTEGERS = np.array(
    [
        0,
        1,
        -1,
        127,
        128,
        255,
        256,
        300,
        -129,
        -32769,
        65535,
        65536,
        16777217,
        33554435,
        LEAST,
        MOST,
    ],
    np.int32,
)
FLOATS = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.0, 3.7, -3.7, 255.9, 256.0, -128.5, 1e-8, 6e-8, 65519.0, 65520.0, 1e6,
     1.0 + 2**-11, 1.0 + 3 * 2**-11, 1.0 + 2**-8, 1.0 + 3 * 2**-8, 1.0 + 2**-8 + 2**-20, 1e-40,
     9.2e-41, 16777217.0, 2**31 - 64.0, 2**31 + 0.0, 3e9, -3e9, 3.4e38, np.inf, -np.inf, np.nan],
)  # fmt: skip
WAYS = ("eager", "numpy", "compiled", "emulated", "eager steps")


def computed(way: str, function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Return the result of a function, computed in one of the possible ways."""
    if way == "eager":
        return eagerly(function, list(arrays))[0]
    gpunn.config.run_eagerly(way == "eager steps")
    try:
        backend = "numpy" if way == "eager steps" else way
        return in_steps(function, list(arrays), backend, False).values[0]
    finally:
        gpunn.config.run_eagerly(False)


def as_int32(x: np.ndarray) -> np.ndarray:
    """Convert floats to int32: truncate, saturate at the limits, and map NaN to 0."""
    whole = np.clip(np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0)), LEAST, MOST)
    return whole.astype(np.int64).astype(np.int32)


@pytest.mark.parametrize("way", WAYS)
def test_floats_that_become_integers_saturate_and_nan_is_0(way: str) -> None:
    """As on a GPU and in JAX; NumPy leaves it undefined."""
    for dtype in ("float32", "float64"):
        x = FLOATS.astype(dtype)
        found = computed(way, lambda x: ops.cast(x, "int32"), x)
        assert found.dtype == np.int32
        assert_array_equal(found, as_int32(x))
        # Together with other operations on the same values, and cast back.
        again = computed(way, lambda x: ops.cast(ops.cast(x * 1.0, "int32"), x.dtype) + 0.0, x)
        assert_array_equal(again, as_int32(x).astype(dtype))
        assert not np.signbit(again[again == 0]).any()
        held = computed(way, lambda x: ops.cast(ops.cast(x * 1.0, "int32"), "bool"), x)
        assert_array_equal(held, as_int32(x) != 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRAPPED)
def test_integers_wrap_around(way: str, name: str) -> None:
    found = computed(way, lambda x: ops.cast(x, name), INTEGERS)
    assert found.dtype == np.int32
    expected = torch.tensor(INTEGERS.astype(np.int64)).to(getattr(torch, name))
    assert_array_equal(found, expected.to(torch.int32).numpy())
    for dtype in ("float32", "float64"):
        x = FLOATS.astype(dtype)
        found = computed(way, lambda x: ops.cast(x, name), x)
        assert_array_equal(found, as_int32(x).astype(name))
    assert_array_equal(computed(way, lambda x: ops.cast(x, name), np.array([True, False])), [1, 0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HALVED)
def test_floats_are_rounded(way: str, name: str) -> None:
    kind = getattr(torch, name)
    random = (
        np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-44, 39).repeat(3)[:200]
    )
    for dtype in ("float32", "float64"):
        with np.errstate(over="ignore"):
            x = np.concatenate([FLOATS, random, -FLOATS]).astype(dtype)
        found = computed(way, lambda x: ops.cast(x, name), x)
        assert found.dtype == np.float32
        # PyTorch rounds float64 to float32 first.
        with np.errstate(over="ignore"):
            expected = torch.tensor(x.astype(np.float32)).to(kind).float().numpy()
        assert_array_equal(found, expected)
        known = ~np.isnan(found)
        assert_array_equal(np.signbit(found)[known], np.signbit(expected)[known])
    found = computed(way, lambda x: ops.cast(x, name), INTEGERS)
    assert_array_equal(found, torch.tensor(INTEGERS.astype(np.float64)).to(kind).float().numpy())


def test_float64_is_rounded_once() -> None:
    """Test values halfway between two float32 values, and slightly above in float64."""
    for name, near, step in (("float16", 1.0, 2.0**-10), ("bfloat16", 1.0, 2.0**-7)):
        x = np.array([near + step / 2 + 2.0**-40, near + step / 2, near + step / 2 - 2.0**-40])
        expected = [near + step, near, near]
        assert computed("eager", lambda x, n=name: ops.cast(x, n), x).tolist() == expected


@pytest.mark.parametrize("way", WAYS)
def test_saturating_casts_give_the_nearest_number(way: str) -> None:
    for name in (*WRAPPED, "int32"):
        low, high = np.iinfo(name).min, np.iinfo(name).max
        for x in (INTEGERS, FLOATS.astype(np.float32), FLOATS):
            found = computed(way, lambda x, n=name: ops.saturate_cast(x, n), x)
            expected = np.clip(as_int32(x) if x.dtype.kind == "f" else x, low, high)
            assert_array_equal(found, expected)
    for name, most in (
        ("float16", 65504.0),
        ("bfloat16", 2.0**128 - 2.0**120),
        ("float32", 2.0**128 - 2.0**104),
    ):
        for x in (FLOATS.astype(np.float32), np.array([1e300, -1e300, np.nan, 1.0])):
            found = computed(way, lambda x, n=name: ops.saturate_cast(x, n), x)
            kind = getattr(torch, name)
            clipped = np.clip(x.astype(np.float64), -most, most).astype(np.float32)
            assert_array_equal(found, torch.tensor(clipped).to(kind).float().numpy())
    found = computed(way, lambda x: ops.saturate_cast(x, "bool"), np.array([-1.0, 0.0, 0.3, 5.0]))
    assert_array_equal(found, [False, False, True, True])
    assert_array_equal(
        computed(way, lambda x: ops.saturate_cast(x, "uint32"), INTEGERS), np.maximum(INTEGERS, 0)
    )


@pytest.mark.more
@pytest.mark.filterwarnings("ignore:.*encountered in cast")
def test_saturating_casts_are_keras(keras: Any) -> None:
    x = np.array([300.0, -300.0, 3.7, -0.5, 70000.0, -70000.0], np.float32)
    for name in ("uint8", "int8", "int16", "float16", "bool"):
        for given in (x, x.astype(np.int32)):
            theirs = keras.ops.saturate_cast(keras.ops.convert_to_tensor(given), name)
            assert ops.saturate_cast(given, name).tolist() == theirs.tolist()


def test_gradients_go_through_casts_between_floats_alone() -> None:
    x = np.array([1.3, -2.7], np.float32)
    for name in (*HALVED, "float64"):
        gradient = gpunn.grad(lambda x, n=name: ops.sum(ops.cast(x, n) * [2.0, 3.0]))(x)
        assert gradient.tolist() == [2.0, 3.0]
    for name in (*WRAPPED, "int32", "bool", "int64"):
        gradient = gpunn.grad(lambda x, n=name: ops.sum(x * ops.cast(x, n)))(x)
        assert_array_equal(gradient, ops.cast(x, name).numpy().astype(np.float32))


def test_every_way_to_name_a_dtype_gives_its_numbers() -> None:
    for cast in (ops.cast, lambda x, n: ops.convert_to_tensor(x, "int32").astype(n)):
        assert cast([300, -1], "uint8").tolist() == cast([300, -1], np.uint8).tolist() == [44, 255]
    t = ops.convert_to_tensor([300, -1])
    assert ops.convert_to_tensor(t, "int8").tolist() == ops.array(t, "int8").tolist() == [44, -1]
    assert t.astype("uint8").dtype == ops.dtype(t.astype("uint8")) == "int32"
    assert ops.convert_to_tensor([1e6, 1.001], "float16").tolist() == [np.inf, 1.0009765625]
    assert ops.convert_to_tensor(1.01, "bfloat16").tolist() == 1.0078125
    assert ops.full((1,), 1.01, "bfloat16").tolist() == [1.0078125]
    assert ops.arange(0, 1, 0.1, "float16")[1].tolist() == float(np.float16(0.1))
    assert (
        ops.linspace(-1, 0, 3, dtype="int32").tolist() == np.linspace(-1, 0, 3, dtype="i").tolist()
    )
    assert ops.prod([20, 20], dtype="uint8").tolist() == 144
    assert ops.cumsum([200, 100], dtype="uint8").tolist() == [200, 44]
    assert ops.cumprod([200, 3], dtype="uint8").tolist() == [200, 88]
    v = gpunn.Variable(1.01, dtype="float16")
    assert float(v) == float(np.float16(1.01))
    v.assign(2.0**-30)
    assert float(v) == 0.0
    counts = gpunn.Variable([250], dtype="uint8")
    assert counts.assign(counts.as_tensor() + 10).tolist() == counts.numpy().tolist() == [4]
    noise = gpunn.random.normal((50,), dtype="bfloat16", seed=1).numpy()
    assert_array_equal(noise, torch.tensor(noise).bfloat16().float().numpy())
    for name in ("normal", "uniform", "truncated_normal"):
        with pytest.raises(ValueError, match="one of floats"):
            getattr(gpunn.random, name)((2,), dtype="int32")


def test_a_variable_of_a_narrow_dtype_holds_its_numbers_in_steps_too() -> None:
    counts = gpunn.Variable([250], dtype="uint8")

    def count(y_true: Any, y_pred: Any) -> Any:
        counts.assign(counts.as_tensor() + 10)
        return ops.square(y_true - y_pred)

    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    model.compile("sgd", count)
    model.fit([[1.0], [2.0]], [[1.0], [2.0]], batch_size=1, verbose=0)
    assert counts.numpy().tolist() == [14]


def test_what_int32_does_not_hold_is_refused() -> None:
    for name in ("uint32", "uint64"):
        assert ops.cast([5, MOST], name).tolist() == [5, MOST]
        with pytest.raises(OverflowError, match=f"-1 is beyond {name}"):
            ops.cast([5, -1], name)
    for name in ("uint32", "uint64", "int64"):
        assert ops.cast([5.7, 0.0], name).tolist() == [5, 0]
        with pytest.raises(OverflowError, match=f"beyond {name}"):
            ops.cast([3e9], name)
        with pytest.raises(ValueError, match=f"NaN cannot be converted to {name}"):
            ops.cast([np.nan], name)


def test_what_is_no_dtype_of_numbers_is_refused() -> None:
    for name in ("complex64", "string", "half a float", object):
        with pytest.raises(ValueError, match="dtype must"):
            ops.cast([1.0], name)


@pytest.mark.parametrize("way", ["numpy", "compiled", "emulated", "eager steps"])
def test_in_a_step_too_what_int32_does_not_hold_is_refused(way: str) -> None:
    whole, floats = np.array([5, MOST], np.int32), np.array([5.7, -0.5, 2.0**31 - 128], np.float32)
    for name in ("uint32", "uint64", "int64"):
        assert_array_equal(computed(way, lambda x, n=name: ops.cast(x, n), whole), whole)
        found = computed(way, lambda x, n=name: ops.cast(x, n) + 0, floats)
        assert_array_equal(found, np.trunc(floats).astype(np.int32))
        for x in (floats + 3e9, np.array([np.nan], np.float32), np.array([-3e9])):
            with pytest.raises((OverflowError, ValueError), match=name):
                computed(way, lambda x, n=name: ops.cast(x, n), x)
    for name in ("uint32", "uint64"):
        with pytest.raises(OverflowError, match=rf"(?=.*{name})(?=.*-7)"):
            computed(way, lambda x, n=name: ops.cast(x, n) * 2, np.array([3, -7], np.int32))
    assert_array_equal(computed(way, lambda x: ops.cast(x, "int64"), -whole), -whole)


def test_a_cast_in_training_is_looked_at(backend: str) -> None:
    model = gpunn.Sequential(
        [gpunn.Input((1,)), layers.Lambda(lambda x: ops.cast(ops.cast(x, "uint32"), "float32")),
         layers.Dense(1)],
        backend=backend,
    )  # fmt: skip
    model.compile("sgd", "mse")
    model.fit([[1.0], [2.0]], [[1.0], [2.0]], verbose=0)
    for road in (
        lambda: model.fit([[1.0], [-2.0]], [[1.0], [2.0]], verbose=0),
        lambda: model.predict([[1.0], [-2.0]], verbose=0),
    ):
        with pytest.raises(OverflowError, match=r"cast to 'uint32': values.*got -2"):
            road()
