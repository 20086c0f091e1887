"""Functions of elements that array libraries compute, and the parts of complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebinterpolate

from gpunn.backends.contract.backend import Array
from gpunn.ops.conversion import convert, floats, promoted
from gpunn.ops.dtypes import named, standard
from gpunn.ops.elementwise import of_floats
from gpunn.ops.primitive import Gradients, Primitive, broadcast_shape
from gpunn.ops.tensor import Tensor, operation, operation_named, ops


def _call(name: str, xp: Any, *arrays: Array) -> None:
    *given, out = arrays
    getattr(xp, name)(*given, out=out)


def _ufunc(name: str, gradient: Callable[..., Gradients] | None = None) -> Primitive:
    """Return the primitive of a function that NumPy and CuPy have."""

    def compute(backend: Any, out: Array, *arrays: Array) -> None:
        backend.apply(partial(_call, name), *arrays, out)

    return Primitive(name, compute, broadcast_shape, gradient=gradient)


_gcd, _lcm, _nextafter = map(_ufunc, ("gcd", "lcm", "nextafter"))
_ldexp: Primitive = _ufunc("ldexp", lambda dy, y, x1, x2: (_ldexp(dy, x2), None))


def _integers(**given: Any) -> list[Tensor]:
    for name, x in given.items():
        dtype = convert(x).dtype
        if dtype != "int32":
            raise TypeError(f"{name} must be integers; got {dtype}.")
    return promoted(*given.values())


@operation
def gcd(x1: Any, x2: Any) -> Tensor:
    """Return the greatest common divisor of two integers, which is not negative.

    Args:
        x1, x2: integers that broadcast to the shape of the result, which is int32. The divisor of
            0 and a number is that number.

    Raises:
        TypeError: for floats and booleans.
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> ops.gcd([12, 7], 18).tolist()
    [6, 1]
    """
    return _gcd(*_integers(x1=x1, x2=x2))


@operation
def lcm(x1: Any, x2: Any) -> Tensor:
    """Return the least common multiple of two integers, 0 if one is 0.

    Arguments and errors: as for `gcd`. Multiples beyond int32 wrap around.

    >>> from gpunn import ops
    >>> ops.lcm([4, 7], 6).tolist()
    [12, 42]
    """
    return _lcm(*_integers(x1=x1, x2=x2))


@operation
def ldexp(x1: Any, x2: Any) -> Tensor:
    """Multiply by a power of 2, without a power that overflows: ``y = x1 2^x2``.

    Args:
        x1: a tensor or array-like; integers become floats (floatx).
        x2: integers. Both broadcast to the shape of the result, which has the dtype of x1.

    Raises:
        TypeError: if x2 are no integers.
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> ops.ldexp([0.5, 3.0], [3, -1]).tolist()
    [4.0, 1.5]
    """
    (x2,) = _integers(x2=x2)
    return _ldexp(floats(x1), x2)


@operation
def nextafter(x1: Any, x2: Any) -> Tensor:
    """Return the number of the dtype that is next to x1, in the direction of x2; without gradient.

    Args:
        x1, x2: tensors or array-likes that broadcast, promoted to one dtype of floats.

    Raises:
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> (ops.nextafter(1.0, 2.0) - 1.0).item() == 2.0**-23
    True
    """
    return _nextafter(*promoted(x1, x2, at_least="float"))


def _write_view(xp: Any, x: Array, out: Array) -> None:
    xp.copyto(out, xp.ascontiguousarray(x).view(out.dtype).reshape(out.shape))


_viewed = Primitive(
    "view", lambda backend, out, x, **how: backend.apply(_write_view, x, out),
    lambda given, dtype, shape: shape, lambda given, dtype, shape: dtype,
)  # fmt: skip


@operation
def view(x: Any, dtype: Any = None) -> Tensor:
    """Return the bits of numbers as numbers of another dtype; without gradient.

    Args:
        x: a tensor or array-like of int32, float32 or float64. The last axis becomes twice as long,
            or half as long, where a number of the dtype has half as many bits, or twice as many.
        dtype: "int32", "float32" or "float64"; by default that of x.

    Raises:
        ValueError: for another dtype, which tensors do not hold, or if the last axis does not fit.

    >>> from gpunn import ops
    >>> ops.view([1.0, -2.0], "int32").tolist()
    [1065353216, -1073741824]
    """
    x = convert(x)
    name = x.dtype if dtype is None else named(dtype)
    if "bool" in (x.dtype, name) or standard(name) != name:
        raise ValueError(
            f"dtype must be one of int32, float32, float64, and so must that of x; got {dtype!r} "
            f"and {x.dtype}."
        )
    one, other = np.dtype(x.dtype).itemsize, np.dtype(name).itemsize
    if one != other and (not x.ndim or x.shape[-1] * one % other):
        raise ValueError(f"the last axis of x {x.shape} of {x.dtype} is no row of {name}.")
    shape = (*x.shape[:-1], x.shape[-1] * one // other) if x.ndim else ()
    return _viewed(x, dtype=name, shape=shape)


# -- parts of complex numbers, which real numbers have too


@operation
def real(x: Any) -> Tensor:
    """Return the real part: x itself, as tensors hold real numbers.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype.

    >>> from gpunn import ops
    >>> ops.real([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """
    return convert(x)


conj, conjugate = operation_named("conj")(real), operation_named("conjugate")(real)


@operation
def imag(x: Any) -> Tensor:
    """Return the imaginary part: 0, as tensors hold real numbers.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype.

    >>> from gpunn import ops
    >>> ops.imag([1.0, -2.0]).tolist()
    [0.0, 0.0]
    """
    return ops.zeros_like(x)


@operation
def isreal(x: Any) -> Tensor:
    """Return whether numbers are real: True, as tensors hold no others.

    ``x`` (...) -> (...): a tensor or array-like; the result is boolean.

    >>> from gpunn import ops
    >>> ops.isreal([1.0, -2.0]).tolist()
    [True, True]
    """
    return ops.ones_like(x, "bool")


angle = of_floats(
    lambda x: ops.stop_gradient(ops.arctan2(ops.zeros_like(x), x)),
    "the angle of each number in the complex plane: 0, or pi for numbers below 0 and for -0.0",
    "NaN stays NaN. The gradient is 0.", "[1.0, -2.0]", "[0.     3.1416]", "angle",
)


# -- Bessel function


@cache
def _beyond_8() -> list[float]:
    """Return Chebyshev coefficients of ``exp(-x) sqrt(x) I0(x)`` over 8 / x."""

    def scaled(t: Any) -> Any:
        x = 16 / (t + 1 + 1e-300)
        near, term = np.minimum(x, 200.0), 1 / np.sqrt(2 * np.pi)
        total = 0 * x
        for k in range(1, 10):  # DLMF 10.40.1
            total, term = total + term, term * (2 * k - 1) ** 2 / (8 * k * x)
        return np.where(x < 200, np.i0(near) * np.exp(-near) * np.sqrt(near), total)

    return chebinterpolate(scaled, 20).tolist()


def _i0(x: Tensor) -> Tensor:
    size = ops.abs(x)
    far = size > 8.0
    square = ops.square(ops.where(far, 0.0, x)) / 4.0
    near = ops.ones_like(x)
    for k in range(28, 0, -1):  # the sum of square^k / (k!)^2
        near = near * (square / float(k * k)) + 1.0
    away = ops.where(far, size, 8.0)
    t, last = 16.0 / away - 1.0, ops.zeros_like(x)
    before, (first, *others) = last, _beyond_8()
    for coefficient in reversed(others):  # Clenshaw's recurrence
        last, before = 2.0 * t * last - before + coefficient, last
    half = ops.exp(away / 2.0)  # the whole might overflow
    return ops.where(far, half * ((t * last - before + first) / ops.sqrt(away) * half), near)


i0 = of_floats(
    _i0, "the modified Bessel function of the first kind and order 0 of each element",
    "It is the mean of ``exp(x cos t)`` for t from 0 to pi. The derivative is that of order 1.\n"
    "    Source: DLMF 10.32.1. It is computed by its series, and one of Chebyshev beyond 8.",
    "[0.0, 1.0]", "[1.     1.2661]", "i0",
)
