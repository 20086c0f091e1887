"""The error function and similar functions, which array modules do not have."""

from __future__ import annotations

import math
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.numeric.normal import LONG, SHORT, SQUEEZE
from gpunn.ops.elementwise import of_floats
from gpunn.ops.primitive import Primitive, broadcast_shape

NEAR = 0.75
# erf(x) = x (s0 + s1 x^2 + s2 x^4 ...): these terms give all digits of float64 up to NEAR.
SERIES = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(16)]
# The constant a of Winitzki's formula, which gives the first three digits of the inverse.
GUESS = 0.147


def _polynomial(xp: Any, x: Array, coefficients: Any) -> Array:
    total = xp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _erfc(xp: Any, z: Array) -> Array:
    """Compute erfc for z >= 0."""
    t = 1 / (1 + SQUEEZE * z)
    p = _polynomial(xp, 2 * t - 1, SHORT if z.dtype == "float32" else LONG)
    return t * xp.exp(p - z * z)


def _erf(xp: Any, x: Array) -> Array:
    near = xp.clip(x, -NEAR, NEAR)
    far = xp.copysign(1 - _erfc(xp, xp.abs(x)), x)
    return xp.where(xp.abs(x) < NEAR, near * _polynomial(xp, near * near, SERIES), far)


def _write_erf(xp: Any, x: Array, out: Array) -> None:
    xp.copyto(out, _erf(xp, x))


def _write_erfinv(xp: Any, x: Array, out: Array) -> None:
    a = xp.clip(xp.abs(x), 0, 1 - (1e-7 if x.dtype == "float32" else 1e-15))
    tail = xp.log1p(-a * a)
    middle = 2 / (math.pi * GUESS) + tail / 2
    y = xp.sqrt(xp.maximum(xp.sqrt(middle * middle - tail / GUESS) - middle, 0))
    for _ in range(4):  # Newton's method
        missing = xp.where(a < 0.5, a - _erf(xp, y), _erfc(xp, y) - (1 - a))
        y = y + missing * (math.sqrt(math.pi) / 2) * xp.exp(y * y)
    y = xp.where(xp.abs(x) < 1, y, xp.where(xp.abs(x) == 1, math.inf, math.nan))
    xp.copyto(out, xp.copysign(y, x))


def _special(name: str, write: Any) -> Primitive:
    def compute(backend: Backend, out: Array, x: Array) -> None:
        backend.apply(write, x, out)

    return Primitive(name, compute, broadcast_shape, gradient=name)


erf = of_floats(
    _special("erf", _write_erf),
    "the error function: 2 / sqrt(pi) times the integral of ``exp(-t^2)`` from 0 to x",
    "It is the probability that a normal variable of variance 1/2 lies between -x and x. The\n"
    "    derivative is ``2 / sqrt(pi) exp(-x^2)``. Source: DLMF 7.2.1.",
    "1.0", "0.8427",
)
erfc = of_floats(
    "erfc", "the complementary error function, precisely also for large x: ``y = 1 - erf(x)``",
    "Source: DLMF 7.2.2.", "[0.0, 1.0]", "[1.     0.1573]",
)
erfinv = of_floats(
    _special("erfinv", _write_erfinv),
    "the inverse of the error function for each element: ``erf(y) = x``",
    "It is infinite at -1 and 1, and NaN beyond. Source: DLMF 7.17.", "[0.0, 0.5]",
    "[0.     0.4769]",
)
