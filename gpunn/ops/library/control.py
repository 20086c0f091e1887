"""Conditionals and loops: run by Python outside a trace; in a trace, both branches and, but for
`scan`, unrolled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gpunn.common.nested import found_in, replaced
from gpunn.common.signatures import signature
from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import where
from gpunn.ops.gradients import topological_sort, with_gradient
from gpunn.ops.joining import stack, unstack
from gpunn.ops.shapes import reshape, whole, whole_number
from gpunn.ops.tensor import NeedsValuesError, Tensor, operation, operation_named
from gpunn.ops.trace import Trace, current


@operation
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Return ``true_fn()`` if the condition is true, else ``false_fn()``.

    If the condition is known only in each step, both run, and `where` selects from their results.

    Args:
        pred: a single boolean, or a tensor of one element.
        true_fn, false_fn: functions without arguments, which return tensors in one structure.

    Raises:
        ValueError: if ``pred`` is not a single boolean, or, where both run, if their results differ
            in structure or shape.
        NeedsValuesError: a TypeError, where both run, if one assigns, adds a loss or updates.

    >>> from gpunn import ops
    >>> ops.cond(ops.sum([1, 2]) > 2, lambda: "large", lambda: "small")
    'large'
    """
    condition = convert(pred, "bool")
    if condition.size != 1:
        raise ValueError(
            f"cond: pred must be a single boolean; got shape {condition.shape}. To choose for each "
            f"element, use ops.where."
        )
    if condition.value is not None:
        return true_fn() if condition.value else false_fn()
    trace = current()
    before = _changes(trace)
    first = None if trace is None else trace.mark()
    a, b = true_fn(), false_fn()
    if first is not None and trace is not None and trace.mode.is_step:
        _refuse_checks(first, a, b)
    if _changes(trace) != before:
        raise NeedsValuesError(
            "cond: a function assigns to a variable, draws, adds a loss, or updates weights or a "
            "metric, and both run as the condition is known only in each step. Do it after cond: "
            "v.assign(ops.where(pred, a, b))."
        )
    return _chosen(reshape(condition, ()), a, b)


def _refuse_checks(first: int, *results: Any) -> None:
    """Refuse functions that check values, such as indices: only one of them may do so."""
    for t in topological_sort([*found_in(results, Tensor)]):
        if t.position > first and t.primitive is not None and t.primitive.does_work:
            raise NeedsValuesError("cond: a function checks values, and only one may run.")


def _changes(trace: Trace | None) -> Any:
    """Return what functions have done in a trace besides computing."""
    if trace is None:
        return None
    assigned = [(id(v.source), id(v.now)) for v in trace.variables.values() if v.is_assigned]
    draws = trace.draws if trace.mode.is_step else 0  # of which each step has its own
    return assigned, len(trace.losses), len(trace.effects), draws


def _chosen(condition: Tensor, a: Any, b: Any) -> Any:
    several = isinstance(a, (list, tuple, dict))
    alike = type(b) is type(a) and len(b) == len(a) if several else (a is None) == (b is None)
    if not alike:
        raise ValueError(f"cond: both functions must return one structure; got {a!r} and {b!r}.")
    if isinstance(a, dict):
        return {key: _chosen(condition, a[key], b[key]) for key in a}
    if several:
        return type(a)(_chosen(condition, x, y) for x, y in zip(a, b, strict=True))
    if a is None:
        return None
    one, other = convert(a), convert(b)
    if one.shape != other.shape:
        raise ValueError(
            f"cond: both functions must return results of the same shape; got {one.shape} and "
            f"{other.shape}."
        )
    return where(condition, a, b)


@operation_named("map")
def map_(f: Callable[[Any], Any], xs: Any) -> Any:
    """Apply a function to each entry along the first axis, and stack the results.

    ``y[i] = f(xs[i])``. In a trace the loop is unrolled: each entry has operations of its own.

    Args:
        f: a function of one entry, which has the structure of ``xs``.
        xs: a tensor, or a list, tuple or dictionary of tensors.

    Raises:
        ValueError: if the tensors differ in length, have no axes, or have length 0, when the form
            of the results is unknown.

    >>> from gpunn import ops
    >>> ops.map(ops.sum, ops.array([[1, 2], [3, 4]])).tolist()
    [3, 7]
    """
    columns = list[list[Tensor]]()

    def unpacked_leaf(x: Any) -> int:
        entry = convert(x)
        if not entry.ndim:
            raise ValueError(f"map: xs must be tensors (see ops.array) with axes; got {x!r}.")
        columns.append(unstack(entry))
        return len(columns) - 1

    form = replaced(unpacked_leaf, xs)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"map: expected tensors of the same length of 1 or more along the first axis; got "
            f"{sorted(lengths)}."
        )
    rows = zip(*columns, strict=True)
    return _stacked([f(replaced(row.__getitem__, form)) for row in rows])


@operation
def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """Apply a function to each entry along the first axis, and stack the results; see `map`.

    ``function``, ``elements``: the arguments f and xs of `map`, whose errors it raises.

    >>> from gpunn import ops
    >>> ops.vectorized_map(ops.max, ops.array([[1, 2], [5, 4]])).tolist()
    [2, 5]
    """
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
    """Run ``value = body_fun(i, value)`` for each integer i with ``lower <= i < upper``.

    In a trace the loop is unrolled.

    Args:
        lower, upper: Python integers, or tensors whose values are known.
        body_fun: a function of i and the value, which returns the next value.
        init_val: the first value, in any structure.

    Returns:
        the last value, which is ``init_val`` if there is no such integer.

    Raises:
        TypeError: if a bound is not an integer; in a trace, if it depends on values of the step.

    >>> from gpunn import ops
    >>> ops.fori_loop(1, 5, lambda i, value: value * i, 1)
    24
    """
    value = init_val
    first, end = whole_number(lower, "fori_loop: lower"), whole_number(upper, "fori_loop: upper")
    for i in range(first, end):
        value = body_fun(i, value)
    return value


@operation
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Run ``loop_vars = body(*loop_vars)`` while ``cond(*loop_vars)`` is true.

    In a trace the loop is unrolled, and the condition must not depend on values of the step.

    Args:
        cond, body: functions of the entries of ``loop_vars``.
        loop_vars: one value, or a list or tuple; the result is one value, or a tuple.
        maximum_iterations: the largest number of iterations; by default there is none.

    Raises:
        ValueError: if ``body`` returns another number of values, or ``maximum_iterations`` is
            negative or not an integer.
        TypeError: if the condition depends on values of the step.

    >>> from gpunn import ops
    >>> ops.while_loop(lambda i, total: i < 5, lambda i, total: (i + 1, total + i), (0, 0))
    (5, 10)
    """
    if maximum_iterations is not None:
        whole(maximum_iterations, "while_loop: maximum_iterations", 0)
    several = isinstance(loop_vars, (list, tuple))
    values, rounds = tuple(loop_vars) if several else (loop_vars,), 0
    while (maximum_iterations is None or rounds < maximum_iterations) and cond(*values):
        found = body(*values)
        found = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        if len(found) != len(values):
            raise ValueError(
                f"while_loop: body must return {len(values)} values, as loop_vars has; got "
                f"{len(found)}."
            )
        values = found
        rounds += 1
    return values if several else values[0]


@operation
def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Run ``carry, ys[t] = f(carry, xs[t])`` for each index t of the first axis, one by one.

    In a trace, ``f`` is called once for all steps, and so is its derivative. A product of a row
    with a weight is one product for all rows, as is the gradient of a weight: a recurrent layer's
    input costs what a `Dense` costs. Operations outside of ``f`` that it reads are computed once.

    Args:
        f: a function of the carry and of the rows ``xs[t]``. It returns the next carry, in the
            structure, shapes and dtypes of ``init``, and tensors in any structure, or None.
        init: the first carry: tensors in any structure. A Python number in it takes the dtype that
            ``f`` returns.
        xs: tensors of one length along the first axis, in any structure; or None.
        length: the number of steps, which is needed if ``xs`` is None.
        reverse: whether the last row comes first.
        unroll: if it is True, ``f`` is called for each step in a trace, too. Then it may draw
            random numbers, assign and add losses. Other values change nothing.

    Returns:
        the last carry, and the second results of ``f``, stacked along a new first axis: ``ys[t]``
        belongs to ``xs[t]``, also in reverse.

    Raises:
        TypeError: if ``f`` is no function, or returns no pair.
        ValueError: if neither ``xs`` nor ``length`` is given; for tensors without axes, or of other
            lengths; if the carry changes its structure, shapes or dtypes; if ``f``, unless
            unrolled, draws random numbers, assigns, or adds a loss.

    >>> from gpunn import ops
    >>> total, sums = ops.scan(lambda total, x: (total + x, total + x), 0, ops.array([1, 2, 3]))
    >>> total.item(), sums.tolist()
    (6, [1, 3, 6])
    """
    from gpunn.ops.loops.scan import scanned  # which `fit` does not need

    return scanned(f, init, xs, length, reverse, unroll)


@operation
def associative_scan(
    f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Combine the first k entries along an axis, for each k, by an associative function.

    ``y[0] = x[0]``, ``y[k] = f(y[k - 1], x[k])``. As f is associative, n entries take about
    ``2 log2(n)`` calls of f on many entries at once (Blelloch, Prefix sums and their applications,
    1990), where `scan` takes n steps. Its gradient is the gradient of these calls.

    Args:
        f: a function of two structures like ``elems``, of fewer entries along the axis, which
            combines them entry by entry: ``f(a, f(b, c)) == f(f(a, b), c)``.
        elems: tensors of one length along the axis, in any structure.
        reverse: whether it begins with the last entry; ``f`` gets the later entries first.
        axis: of the entries.

    Returns:
        tensors in the structure of ``elems``, of their shapes.

    Raises:
        TypeError: if ``f`` is no function.
        ValueError: for tensors of other lengths or without this axis; if ``f`` returns another
            structure or other shapes.

    >>> from gpunn import ops
    >>> ops.associative_scan(lambda a, b: a * b, ops.array([1, 2, 3, 4])).tolist()
    [1, 2, 6, 24]
    """
    from gpunn.ops.loops.scan import combined  # which `fit` does not need

    return combined(f, elems, reverse, axis)


@operation
def custom_gradient(f: Callable[..., Any]) -> Callable[..., Tensor]:
    """Decorate a function that defines its own gradient, as in Keras.

    Use it where the derived gradient would overflow or lose digits, or where another one is wanted.

    Args:
        f: a function of tensors that returns its result and a function ``gradient(upstream)`` or
            ``gradient(*args, upstream)``. ``upstream`` is the gradient of the result. It returns
            the gradient of each argument: one, or several, with None for none.

    Raises:
        ValueError: in the derivative, if ``gradient`` returns another number of gradients.

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
                    f"custom_gradient: the gradient of {f.__name__} must return one for each of "
                    f"{len(given)} arguments; got {len(several)}."
                )
            return [None if dx is None else convert(dx) for dx in several]

        return with_gradient(convert(y), given, each)

    return function
