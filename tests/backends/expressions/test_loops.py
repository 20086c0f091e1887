"""Expressions compiled ahead of time give the results of their single steps, and of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scripts import tool

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled.loops import Loop
from gpunn.backends.contract.expression import Expression, ExpressionOutput

SIZES = {"one": (1, 1), "small": (3, 5), "odd": (7, 67), "long": (300, 70), "shared": (1100, 1000)}


@pytest.fixture(scope="module")
def expressions() -> list[Expression]:
    """The expressions that layers use, once for each loop."""
    loops = tool("loops")
    found = {
        loop.key: loop.expression
        for layer in (*loops["BINARY"], *loops["UNARY"]) for loop in loops["_expressions"](layer)
    }  # fmt: skip
    return list(found.values())


def without_loops() -> Any:
    """The compiled backend with the step-by-step evaluation of expressions only."""
    backend: Any = get_backend("compiled").isolated()
    operations = backend.compiled_operations.items()
    backend.compiled_operations = {key: made for key, made in operations if key[0] != "loop"}
    return backend


def test_each_loop_is_that_of_an_expression(expressions: list[Expression]) -> None:
    asked = {Loop.of(expression).key for expression in expressions}  # type: ignore[union-attr]
    backend: Any = get_backend("compiled")
    operations = backend.compiled_operations
    assert {key[2] for key in operations if key[0] == "loop"} == asked


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("accumulate", [False, True])
def test_a_loop_gives_the_bits_of_the_steps(
    accumulate: bool, size: str, dtype: str, expressions: list[Expression]
) -> None:
    random, (rows, columns) = np.random.default_rng(0), SIZES[size]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)
    for like in expressions:
        outputs = tuple(ExpressionOutput(output.value, accumulate) for output in like.outputs)
        expression = Expression(dtype, like.inputs, like.instructions, outputs)
        inputs = [
            random.normal(size=axes.shape(rows, columns)).astype(dtype) for axes in like.inputs
        ]
        for x in inputs:
            some = random.random(x.shape) < 0.2
            x[some] = random.choice(special, some.sum())
        start = [random.normal(size=(rows, columns)).astype(dtype) for _ in outputs]
        results = []
        for backend in (get_backend("compiled"), without_loops(), get_backend("numpy")):
            written = [array.copy() for array in start]
            with np.errstate(all="ignore"):
                backend.expression(expression, rows, columns, inputs, written)
            results.append(written)
        for ours, steps, numpy in zip(*results, strict=True):
            assert_array_equal(ours, steps)
            assert_allclose(ours, numpy, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_columns_behind_a_loop(dtype: str) -> None:
    """PReLU's backward pass: dx, and the gradient of its slopes, which may be accumulated."""
    found: dict[str, list[np.ndarray]] = {}
    x, y = np.random.default_rng(1).normal(size=(2, 33, 6)).astype(dtype)
    for name in ("compiled", "numpy"):
        gpunn.utils.set_random_seed(1)
        shared, given = layers.PReLU(alpha_initializer="ones"), layers.Input((6,))
        made = shared(layers.Dense(6)(shared(layers.Dense(6)(given))))
        model = gpunn.Model(given, made, dtype=dtype, backend=name)
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        model.fit(x, y, batch_size=33, epochs=2, verbose=0)
        found[name] = model.get_weights()
    for ours, numpy in zip(*found.values(), strict=True):
        assert_allclose(ours, numpy, 2e-5 if dtype == "float32" else 1e-12)
