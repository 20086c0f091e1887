"""Choices and loops: by Python where the numbers are there, else of both results, and unrolled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gpunn.common.nested import replaced
from gpunn.common.signatures import signature
from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import where
from gpunn.ops.gradients import with_gradient
from gpunn.ops.joining import stack, unstack
from gpunn.ops.shapes import reshape
from gpunn.ops.table import operation, operation_named
from gpunn.ops.tensor import Tensor


@operation
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What the first function gives if the condition holds, else what the second gives.

    Where the condition is of each step, both are computed: then it is `where` of their results.
    """
    condition = convert(pred, "bool")
    if condition.size != 1:
        raise ValueError(
            f"cond: pred must be one truth value; got shape {condition.shape}. To choose for each "
            f"element, use ops.where."
        )
    if condition.value is not None:
        return true_fn() if condition.value else false_fn()
    return _chosen(reshape(condition, ()), true_fn(), false_fn())


def _chosen(condition: Tensor, a: Any, b: Any) -> Any:
    several = isinstance(a, (list, tuple, dict))
    alike = type(b) is type(a) and len(b) == len(a) if several else (a is None) == (b is None)
    if not alike:
        raise ValueError(f"cond: both functions must give results alike; got {a!r} and {b!r}.")
    if isinstance(a, dict):
        return {key: _chosen(condition, a[key], b[key]) for key in a}
    if several:
        return type(a)(_chosen(condition, x, y) for x, y in zip(a, b, strict=True))
    if a is None:
        return None
    one, other = convert(a), convert(b)
    if one.shape != other.shape:
        raise ValueError(
            f"cond: both functions must give results of one shape; got {one.shape} and "
            f"{other.shape}."
        )
    return where(condition, a, b)


@operation_named("map")
def map_(f: Callable[[Any], Any], xs: Any) -> Any:
    """A function of each entry along the first axis, side by side.

    Args:
        f: of an entry, which has the form of ``xs``.
        xs: a tensor, or a list, tuple or dictionary of some.

    Raises:
        ValueError: for tensors of different lengths, or of none, as nothing says then what the
            function would give.
    """
    columns = list[list[Tensor]]()

    def taken_apart(x: Any) -> int:
        columns.append(unstack(x))
        return len(columns) - 1

    form = replaced(taken_apart, xs)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"map: entries along the first axis are expected, as many of each tensor; got "
            f"{sorted(lengths)}."
        )
    rows = zip(*columns, strict=True)
    return _stacked([f(replaced(row.__getitem__, form)) for row in rows])


@operation
def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """A function of each entry along the first axis, side by side."""
    return map_(function, elements)


def _stacked(results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, dict):
        return {key: _stacked([result[key] for result in results]) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_stacked(list(column)) for column in zip(*results, strict=True))
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
        found = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        if len(found) != len(values):
            raise ValueError(
                f"while_loop: body must give {len(values)} values, as loop_vars has; got "
                f"{len(found)}."
            )
        values = found
        rounds += 1
    return values if several else values[0]


@operation
def custom_gradient(f: Callable[..., Any]) -> Callable[..., Tensor]:
    """A function with the gradient that it states itself, as in Keras.

    Args:
        f: of tensors; it gives the result, and ``gradient(upstream)`` or
            ``gradient(*args, upstream)``, where ``upstream`` is the gradient of that. This gives
            the gradient by each argument: one, or several, with None for none.

    >>> import gpunn
    >>> from gpunn import ops
    >>> @ops.custom_gradient
    ... def log1pexp(x):
    ...     e = ops.exp(x)
    ...     return ops.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))
    >>> gpunn.grad(log1pexp)(100.0).item()
    1.0
    """

    @wraps(f)
    def function(*args: Any) -> Tensor:
        given = [convert(x) for x in args]
        y, gradient = f(*given)
        parameters = signature(gradient).parameters.values()
        takes_args = any(p.kind is p.VAR_POSITIONAL for p in parameters)

        def each(dy: Tensor) -> list[Tensor | None]:
            found = gradient(*given, upstream=dy) if takes_args else gradient(dy)
            several = list(found) if isinstance(found, (list, tuple)) else [found]
            if len(several) != len(given):
                raise ValueError(
                    f"custom_gradient: the gradient of {f.__name__} must give one for each of "
                    f"{len(given)} arguments; got {len(several)}."
                )
            return [None if dx is None else convert(dx) for dx in several]

        return with_gradient(convert(y), given, each)

    return function
