"""Derivatives of functions whose results are any tensors, as in JAX: `gpunn.vjp`, `gpunn.jvp`,
`gpunn.jacobian` and `gpunn.hessian`. Where the result is one number, see `gpunn.grad`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from gpunn.common.nested import found_in, replaced
from gpunn.core.operators import Operators
from gpunn.core.recording import recorded
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.gradients import argument, gradients
from gpunn.ops.library.derivatives import (
    InTrace,
    at_once,
    data_as_tensors,
    is_number,
    mapped,
    numbered,
    or_zeros,
)
from gpunn.ops.making import zeros
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import current, tracing

from .tape import GradientTape, jacobian_of

__all__ = ["hessian", "jacobian", "jvp", "vjp"]


@recorded
def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return the value of a function, and a function of products with its transposed Jacobian.

    For y = f(x) with the Jacobian ``J[i, j] = dy[i] / dx[j]``, the second maps a cotangent u of y
    to ``J^T u``, in a tuple with one entry for each argument. It may be called several times; f is
    called once, and what it computes is kept as by `gpunn.GradientTape`, which has the same limits.

    Args:
        function: returns a tensor of floats, or a list, tuple or dictionary of them.
        primals: its arguments, each with numbers, as in `gpunn.grad`: tensors, arrays,
            numbers, weights, and structures of them.

    Returns:
        the value, and a function whose argument has the structure and the shapes of the value. An
        entry of its result has the structure and the shapes of an argument.

    Raises:
        TypeError: for arguments without floats, and for a function whose result is no tensor of
            floats.
        ValueError: from the second function, for a cotangent of another structure or shape.

    >>> import gpunn
    >>> value, pulled = gpunn.vjp(lambda a, x: a * x, 3.0, [1.0, 2.0])
    >>> da, dx = pulled([1.0, 10.0])
    >>> value.tolist(), da.item(), dx.tolist()
    ([3.0, 6.0], 21.0, [3.0, 30.0])
    """
    _require_function("vjp", function)
    with GradientTape(persistent=True) as tape:
        trace = tracing()
        by, result = _applied("vjp", InTrace(trace), function, primals, {}, range(len(primals)))
    ys = [*found_in(result, Tensor)]
    outside = current() is None
    value = _with(result, (constant(y.numpy(), y.dtype) for y in ys) if outside else ys)

    def pulled(cotangents: Any) -> tuple[Any, ...]:
        given = _matched("vjp: the cotangent", result, cotangents, _is_tensor)
        found = iter(tape.gradient(ys, by.arguments, given, "zero"))
        return tuple(_with(x, found, is_number) for x in primals)

    return value, pulled


@recorded
def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, Any]:
    """Return the value of a function, and the product of its Jacobian with a vector.

    For y = f(x) with the Jacobian ``J[i, j] = dy[i] / dx[j]``, it is ``J v``: the derivative of f
    in the direction v. It is computed as the derivative of ``J^T u`` with respect to u, which is
    linear in u. This costs a few calls of f for any number of elements, and takes second
    derivatives of its operations. An infinite slope times a tangent of 0 is NaN, as in JAX.

    Args:
        function: returns a tensor of floats, or a list, tuple or dictionary of them.
        primals: a tuple or list of its arguments, each with numbers, as in `gpunn.grad`.
        tangents: the direction v: as many entries, of the structure and the shapes of the primals.

    Returns:
        the value, and J v in its structure.

    Raises:
        TypeError: for arguments without floats, and for a function whose result is no tensor of
            floats.
        ValueError: for tangents of another number, structure or shape than the primals, and for
            operations without second derivatives, as layers that define passes on arrays.

    >>> import gpunn
    >>> value, tangent = gpunn.jvp(lambda a, x: a * x, (3.0, [1.0, 2.0]), (1.0, [0.0, 10.0]))
    >>> value.tolist(), tangent.tolist()
    ([3.0, 6.0], [1.0, 32.0])
    """
    _require_function("jvp", function)
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (list, tuple)):
            raise TypeError(
                f"jvp: {name} must be a tuple or list with an entry for each argument of the "
                f"function; got a {type(given).__name__}. For one argument write (x,)."
            )
    if len(primals) != len(tangents):
        raise ValueError(
            f"jvp: there must be a tangent for each of {len(primals)} primals; got "
            f"{len(tangents)}. Where an argument does not change, give zeros."
        )
    pairs = enumerate(zip(primals, tangents, strict=True))
    direction = [
        t for k, (x, v) in pairs for t in _matched(f"jvp: tangent {k}", x, v, is_number)
    ]

    def called() -> tuple[Any, Any]:
        trace = tracing()
        by, result = _applied("jvp", InTrace(trace), function, primals, {}, range(len(primals)))
        ys = [*found_in(result, Tensor)]
        us = [argument(y) for y in ys]  # any values do: what follows depends on none of them
        slopes = zip(by.gradients(ys, us), direction, strict=True)
        known = [(g, convert(v, g.dtype)) for g, v in slopes if g is not None]
        try:
            with trace.without_training():
                found = gradients([g for g, _ in known], us, [v for _, v in known])
        except ValueError as error:
            raise ValueError(
                f"jvp: {error} A product with the Jacobian takes second derivatives; that with its "
                f"transpose, by gpunn.vjp, takes first ones."
            ) from None
        return result, _with(result, or_zeros(found, ys))

    return at_once(called) if current() is None else called()


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Return a function that computes the Jacobian of a function, as ``jax.jacrev``.

    The Jacobian ``J[i, j] = dy[i] / dx[j]`` of ``y (*m)`` by ``x (*n)`` has the shape ``(*m, *n)``.
    It takes one reverse pass for each element of y: for large results, see `vjp` and `jvp`.

    Outside a call, it is computed immediately. Inside a call or a tape, it is part of the
    computation, and can be differentiated again.

    Args:
        function: returns a tensor of floats, or a list, tuple or dictionary of them.
        argnums: the index of the argument to differentiate by, or several for a tuple.

    Returns:
        a function of the same arguments, as in `gpunn.grad`. Its result has the structure of
        the function's result, and in place of each tensor the structure of the argument.

    Errors: as for `gpunn.grad`, but the result may be any tensors of floats.

    >>> import gpunn
    >>> from gpunn import ops
    >>> gpunn.jacobian(lambda x: ops.stack([x[0] * x[1], x[1] ** 2, x[0]]))([2.0, 3.0]).tolist()
    [[3.0, 2.0], [0.0, 6.0], [1.0, 0.0]]
    """
    return _jacobian("jacobian", function, argnums)


def hessian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Return a function that computes the second derivatives of a function, as ``jax.hessian``.

    ``H[j, k] = d^2 y / (dx[j] dx[k])`` of a number y with respect to ``x (*n)`` has the shape
    ``(*n, *n)``. For ``y (*m)`` it has the shape ``(*m, *n, *n)``. It takes a reverse pass for each
    element of x. Its product with a vector v takes a few: ``gpunn.jvp(gpunn.grad(function), (x,),
    (v,))[1]``.

    Args:
        function, argnums: as in `jacobian`.

    Returns:
        a function of the same arguments. It returns the `jacobian` of the Jacobian, in its
        structure. By several arguments a, b of a number y it is the tuple of tuples
        ((aa, ab), (ba, bb)).

    Raises:
        TypeError, ValueError: as in `jacobian`.

    >>> import gpunn
    >>> gpunn.hessian(lambda x: x[0] ** 2 * x[1])([2.0, 3.0]).tolist()
    [[6.0, 4.0], [4.0, 0.0]]
    """
    return _jacobian("hessian", _jacobian("hessian", function, argnums), argnums)


def _jacobian(
    what: str, function: Callable[..., Any], argnums: int | Sequence[int]
) -> Callable[..., Any]:
    _require_function(what, function)

    @recorded
    @wraps(function)
    def derived(*args: Any, **kwargs: Any) -> Any:
        numbers = numbered(argnums, len(args))

        def by_each(by: InTrace, y: Tensor) -> Any:
            """Return the Jacobian of one tensor, in the structure of the arguments."""
            columns = jacobian_of(y, lambda dy: by.gradients([y], [dy]))
            pairs = zip(columns, by.arguments, strict=True)
            found = iter([
                zeros((*y.shape, *x.shape), x.dtype) if g is None else g for g, x in pairs
            ])
            parts = tuple(_with(args[k], found, is_number) for k in numbers)
            return parts if isinstance(argnums, Sequence) else parts[0]

        def called() -> Any:
            trace = tracing()
            by, result = _applied(what, InTrace(trace), function, args, kwargs, numbers)
            return replaced(lambda y: by_each(by, y), result)

        return at_once(called) if current() is None else called()

    return derived


def _applied(
    what: str,
    by: InTrace,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    numbers: Iterable[int],
) -> tuple[InTrace, Any]:
    """Call a function with the arguments of these numbers to differentiate by. Return its result as
    tensors; these and the arguments must be floats."""
    given, named = [data_as_tensors(x) for x in args], data_as_tensors(kwargs)
    for k in numbers:
        before = len(by.arguments)
        try:
            given[k] = mapped(by.argument, args[k], is_number)
        except TypeError as error:
            raise TypeError(f"{what}: argument {k}: {error}") from None
        if len(by.arguments) == before:
            raise TypeError(
                f"{what}: argument {k} must be or contain a tensor, an array, a number or a weight "
                f"to differentiate by; got a {type(args[k]).__name__}. Pass what is no number by a "
                f"lambda, or choose other arguments with argnums."
            )
    with by.differentiating():
        result = function(*given, **named)
        return by, replaced(lambda y: _float_tensor(what, y), result)


def _float_tensor(what: str, y: Any) -> Tensor:
    """Convert a result of a function to differentiate, a tensor of floats."""
    if not isinstance(y, Operators):
        raise TypeError(
            f"{what}: the function must return a tensor of floats, or a list, tuple or dictionary "
            f"of them; got a {type(y).__name__}, which has no derivative. Compute with gpunn.ops "
            f"instead of NumPy."
        )
    y = convert(y)
    if not is_float(y.dtype):
        raise TypeError(
            f"{what}: the function must return floats; got a tensor of {y.dtype}, which has no "
            f"derivative. Leave it out of the result, or convert it with ops.cast."
        )
    return y


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def _with(like: Any, tensors: Iterable[Any], fits: Callable[[Any], bool] = _is_tensor) -> Any:
    """Return the structure of ``like`` with other tensors in place of the entries that fit."""
    found = iter(tensors)
    return mapped(lambda entry: next(found), like, fits)


def _matched(what: str, like: Any, given: Any, fits: Callable[[Any], bool]) -> list[Tensor]:
    """Return the entries of ``given`` as tensors, in the places of the entries of ``like`` that
    fit; its structure and shapes must be the same."""
    if fits(like):
        shape = tuple(like.shape if hasattr(like, "shape") else np.shape(like))
        try:
            t = convert(given, like.dtype if _is_tensor(like) else None)
        except TypeError as error:
            raise TypeError(f"{what}: {error}") from None
        if t.shape != shape:
            raise ValueError(f"{what} must have the shape {shape}; got {t.shape}.")
        return [t]
    if isinstance(like, Mapping):
        if not isinstance(given, Mapping) or {*given} != {*like}:
            got = f"the keys {[*given]}" if isinstance(given, Mapping) else _kind(given)
            raise ValueError(f"{what} must be a dictionary with the keys {[*like]}; got {got}.")
        entries = [(f"{what}[{key!r}]", x, given[key]) for key, x in like.items()]
        return [t for entry in entries for t in _matched(*entry, fits)]
    if isinstance(like, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(like):
            got = f"{len(given)} entries" if isinstance(given, (list, tuple)) else _kind(given)
            raise ValueError(f"{what} must be a list or tuple of {len(like)} entries; got {got}.")
        entries = [(f"{what}[{k}]", x, given[k]) for k, x in enumerate(like)]
        return [t for entry in entries for t in _matched(*entry, fits)]
    return []


def _require_function(what: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(
            f"{what}: the first argument must be the function to differentiate; got "
            f"{_kind(function)}."
        )


def _kind(x: Any) -> str:
    return f"a {type(x).__name__}"
