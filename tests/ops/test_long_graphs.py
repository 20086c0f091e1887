"""Long graphs: tracing takes time proportional to the length, not to its square."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

X = np.random.default_rng(0).uniform(-1, 1, (8, 4)).astype(np.float32)


def chain(x: Any, n: int) -> Any:
    for _ in range(n):
        x = ops.sin(x) * 1.01
    return x


def sum_of_many(x: Any, n: int) -> Any:
    return sum((ops.sin(x * float(k)) for k in range(n)), x)


def products(x: Any, n: int) -> Any:
    for _ in range(n):
        x = ops.matmul(x, np.eye(4, dtype=np.float32))
    return x


def other_shapes(x: Any, n: int) -> Any:
    for _ in range(n):
        x = ops.reshape(ops.exp(ops.reshape(x, (-1, 2))) * 0.1, (-1, 4))
    return x


def sums_of_rows_and_columns(x: Any, n: int) -> Any:
    for _ in range(n):
        x = (x - ops.mean(x, 0, keepdims=True)) * 0.5 + ops.sum(x, 1, keepdims=True) * 0.01
    return x


def one_read_by_many(x: Any, n: int) -> Any:
    y = ops.exp(x)
    return ops.concatenate([y[:, :1] * float(k) for k in range(n)], -1)[:, :4]


def whole_numbers(x: Any, n: int) -> Any:
    places = ops.cast(x, "int32")
    for k in range(n):
        places = (places + k) % 7
    return x + ops.cast(places, "float32")


GRAPHS = (chain, sum_of_many, products, other_shapes, sums_of_rows_and_columns, one_read_by_many,
          whole_numbers)  # fmt: skip


def calls_of(work: Callable[[], Any]) -> int:
    """Count the function calls."""
    calls = 0

    def count(*event: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def model_of(function: Callable[[Any, int], Any], n: int) -> Any:
    model = gpunn.Sequential(
        [gpunn.Input((4,)), layers.Dense(4), layers.Lambda(lambda x: function(x, n))],
        backend="numpy",
    )
    model.compile("sgd", "mse")
    return model


@pytest.mark.in_turn(2)
@pytest.mark.traced
@pytest.mark.parametrize("function", GRAPHS, ids=lambda f: f.__name__)
def test_a_graph_twice_as_long_takes_twice_the_calls(function: Callable[[Any, int], Any]) -> None:
    short, long = (
        calls_of(lambda n=n: model_of(function, n).fit(X, X, verbose=0)) for n in (75, 150)
    )
    assert long < 2.2 * short  # it would be four times if each part looked at all others


@pytest.mark.more
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_ten_thousand_operations_are_those_of_numpy(backend: str) -> None:
    model = gpunn.Sequential(
        [gpunn.Input((4,)), layers.Lambda(lambda x: chain(x, 5000))], backend=backend
    )
    expected = X
    for _ in range(5000):
        expected = np.sin(expected) * np.float32(1.01)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-3)
