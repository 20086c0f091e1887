"""Variables that are assigned in the functions of loops and conditions: alone, in a tape, in
`gpunn.grad` and in functions they are what Python's own loop makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.ops.tensor import NeedsValuesError

X = np.array([1.0, 2.0, 3.0], "float32")


def add(v: Any, amount: Any, result: Any) -> Any:
    v.assign(v + amount)
    return result() if callable(result) else result


LOOPS: dict[str, Callable[[Any, Any], Any]] = {
    "scan": lambda x, v: ops.scan(lambda c, r: (add(v, r, lambda: c + r * v), c), 0.0, x)[0],
    "scan, in reverse": lambda x, v: ops.scan(
        lambda c, r: (c + r, add(v, r, lambda: c * v)), 0.0, x, reverse=True)[1][1],
    "fori_loop": lambda x, v: ops.fori_loop(
        0, 3, lambda i, c: add(v, x[i], lambda: c + x[i] * v), 0.0),
    "while_loop": lambda x, v: ops.while_loop(
        lambda i, c: i < 3, lambda i, c: (i + 1, add(v, x[i], lambda: c + x[i] * v)), (0, 0.0))[1],
    "map": lambda x, v: ops.sum(ops.map(lambda r: add(v, r, lambda: r * v), x)),
    "vectorized_map": lambda x, v: ops.sum(
        ops.vectorized_map(lambda r: add(v, r, lambda: r * v), x)),
    "cond": lambda x, v: ops.cond(
        x[0] > 0.5, lambda: add(v, 1.0, lambda: x[0] * v), lambda: add(v, -1.0, x[0])),
    "cond, else": lambda x, v: ops.cond(x[0] > 1.5, lambda: add(v, 1.0, x[0]), lambda: x[1]),
}  # fmt: skip


def by_python(name: str, x: np.ndarray, v: float) -> tuple[float, float]:
    """Return the result, and the variable then."""
    carry = 0.0
    if name == "cond":
        return (float(x[0]) * (v + 1), v + 1) if x[0] > 0.5 else (float(x[0]), v - 1)
    if name == "cond, else":
        return (float(x[0]), v + 1) if x[0] > 1.5 else (float(x[1]), v)
    if name == "scan, in reverse":
        found = 0.0
        for t, r in [*enumerate(x.tolist())][::-1]:
            v += r
            found = carry * v if t == 1 else found
            carry += r
        return found, v
    for r in x.tolist():
        v += r
        carry += r * v
    return carry, v


WAYS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "alone": lambda f: lambda x: f(ops.convert_to_tensor(x)),
    "function": gpunn.function,
    "value_and_grad": lambda f: lambda x: gpunn.value_and_grad(f)(x)[0],
    "vjp": lambda f: lambda x: gpunn.vjp(f, x)[0],
}


def in_a_tape(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def taped(x: Any) -> Any:
        with gpunn.GradientTape():
            return f(ops.convert_to_tensor(x))

    return taped


WAYS["tape"] = in_a_tape
WAYS["function with a tape"] = lambda f: gpunn.function(in_a_tape(f))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_assigns_as_pythons(name: str, way: str, backend: str) -> None:
    gpunn.use_backend(backend)
    v, value = gpunn.Variable(1.0), 1.0
    run = WAYS[way](lambda x: LOOPS[name](x, v))
    for factor in (1.0, 2.0, 0.25, 1.0):
        expected, value = by_python(name, X * np.float32(factor), value)
        assert_allclose(float(run(X * np.float32(factor))), expected, rtol=1e-6)
        assert_allclose(float(v), value, rtol=1e-6)


@pytest.mark.traced
def test_a_call_that_assigns_in_a_condition_is_refused() -> None:
    """Both functions ran, and the variable had both changes."""

    class Counts(layers.Layer):
        def build(self, shape: Any) -> None:
            self.state = gpunn.Variable(0.0)

        def call(self, x: Any) -> Any:
            one = ops.sum(x) > 0
            return ops.cond(one, lambda: add(self.state, 1.0, x), lambda: add(self.state, -1.0, x))

    with pytest.raises(NeedsValuesError, match="both run"):
        gpunn.Sequential([layers.Input((2,)), Counts()]).predict(np.ones((3, 2)), verbose=0)


def test_a_function_updates_in_one_branch(backend: str) -> None:
    """A condition on values updates weights only where it is true."""
    gpunn.use_backend(backend)
    v, optimizer = gpunn.Variable(1.0), gpunn.optimizers.SGD(1.0)
    mean = gpunn.metrics.Mean()

    def update(x: Any) -> Any:
        optimizer.apply([x], [v])
        mean.update_state(x)
        return x

    step = gpunn.function(lambda x: ops.cond(x > 0, lambda: update(x), lambda: x * 1.0))
    for x in (1.0, -1.0, 2.0, -3.0):
        step(np.float32(x))
    assert (float(v), int(optimizer.iterations), float(mean.result())) == (-2.0, 2, 1.5)
