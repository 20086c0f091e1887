"""Choices and loops: by Python where the numbers are there, else of both results, and unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import where
from gpunn.ops.joining import stack, unstack
from gpunn.ops.table import operation, operation_named


@operation
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What the first function gives if the condition holds, else what the second gives.

    Where the condition is of each step, both are computed: then it is `where` of their results.
    """
    condition = convert(pred, "bool")
    if condition.value is not None:
        return true_fn() if condition.value else false_fn()
    return _chosen(condition, true_fn(), false_fn())


def _chosen(condition: Any, a: Any, b: Any) -> Any:
    if isinstance(a, (list, tuple)):
        return type(a)(_chosen(condition, x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return {key: _chosen(condition, a[key], b[key]) for key in a}
    return None if a is None else where(condition, a, b)


@operation_named("map")
def map_(f: Callable[[Any], Any], xs: Any) -> Any:
    """A function of each entry along the first axis, side by side."""
    several = isinstance(xs, (list, tuple))
    parts = zip(*[unstack(x) for x in xs], strict=True) if several else unstack(xs)
    return _stacked([f(part) for part in parts])


@operation
def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """A function of each entry along the first axis, side by side."""
    return map_(function, elements)


def _stacked(results: list[Any]) -> Any:
    if isinstance(results[0], (list, tuple)):
        return type(results[0])(_stacked(list(column)) for column in zip(*results, strict=True))
    return stack(results)


@operation
def fori_loop(lower: int, upper: int, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``value = body_fun(i, value)`` for each whole number from ``lower`` up to ``upper``."""
    value = init_val
    for i in range(int(lower), int(upper)):
        value = body_fun(i, value)
    return value


@operation
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """``loop_vars = body(*loop_vars)`` as long as ``cond(*loop_vars)`` holds, which must not
    depend on numbers of each step."""
    several = isinstance(loop_vars, (list, tuple))
    values, rounds = tuple(loop_vars) if several else (loop_vars,), 0
    while (maximum_iterations is None or rounds < maximum_iterations) and cond(*values):
        found = body(*values)
        values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        rounds += 1
    return values if several else values[0]
