"""Further functions of each element, and comparisons with a tolerance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.arithmetic import clip, divide_no_nan, equal, logaddexp, maximum, minimum
from gpunn.ops.conversion import convert, floats, promoted
from gpunn.ops.dtypes import is_float, largest, named, standard
from gpunn.ops.elementwise import abs_, cast, counting, elementwise, isinf, isnan, sin, where
from gpunn.ops.narrow import WRAPPED, held_bounds
from gpunn.ops.primitive import Gradients
from gpunn.ops.reductions import all_
from gpunn.ops.table import operation, ops
from gpunn.ops.tensor import Tensor

LN2, LN10 = math.log(2), math.log(10)

_log2 = elementwise("log2", lambda dy, y, x: (dy / (x * LN2),))
_log10 = elementwise("log10", lambda dy, y, x: (dy / (x * LN10),))
_exp2 = elementwise("exp2", lambda dy, y, x: (dy * (y * LN2),))
_cbrt = elementwise("cbrt", lambda dy, y, x: (dy / (3.0 * y * y),))
_trunc = elementwise("trunc")
_signbit = elementwise("signbit", dtype=lambda *dtypes, **attributes: "bool")


def _hypot_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    dy = where(equal(y, 0.0), 0.0, dy)  # at (0, 0) there is none: 0
    return dy * divide_no_nan(a, y), dy * divide_no_nan(b, y)


_hypot = elementwise("hypot", _hypot_gradient)
# (a - y) / b is whole but for rounding; a / b may be rounded up to the next whole number.
_fmod = elementwise("fmod", lambda dy, y, a, b: (dy, -dy * ops.round((a - y) / b)))


@operation
def log2(x: Any) -> Tensor:
    """The logarithm to the base 2."""
    return _log2(floats(x))


@operation
def log10(x: Any) -> Tensor:
    """The logarithm to the base 10."""
    return _log10(floats(x))


@operation
def exp2(x: Any) -> Tensor:
    """2 to the power of x."""
    return _exp2(floats(x))


@operation
def cbrt(x: Any) -> Tensor:
    """The cube root."""
    return _cbrt(floats(x))


@operation
def trunc(x: Any) -> Tensor:
    """The next whole number towards 0."""
    x = convert(x)
    return _trunc(x) if is_float(x.dtype) else x


@operation
def fabs(x: Any) -> Tensor:
    """|x|, in floatx for integers."""
    return abs_(floats(x))


@operation
def signbit(x: Any) -> Tensor:
    """Where the sign is that of a negative number; -0.0 has it too."""
    return _signbit(floats(x))


@operation
def hypot(x1: Any, x2: Any) -> Tensor:
    """sqrt(x1^2 + x2^2), without overflow."""
    return _hypot(*promoted(x1, x2, at_least="float32"))


@operation
def fmod(x1: Any, x2: Any) -> Tensor:
    """What is left of x1 after x2 was taken away whole times; it has the sign of x1."""
    a, b = (counting(t) for t in promoted(x1, x2))
    if is_float(a.dtype):
        return _fmod(a, b)
    rest = ops.mod(a, b)  # of the sign of b
    return where((rest != 0) & ((a < 0) != (b < 0)), rest - b, rest)


@operation
def fmax(x1: Any, x2: Any) -> Tensor:
    """The larger of both; the other one where one is not a number."""
    a, b = promoted(x1, x2)
    return where(isnan(a), b, where(isnan(b), a, maximum(a, b)))


@operation
def fmin(x1: Any, x2: Any) -> Tensor:
    """The smaller of both; the other one where one is not a number."""
    a, b = promoted(x1, x2)
    return where(isnan(a), b, where(isnan(b), a, minimum(a, b)))


@operation
def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """log2(2^x1 + 2^x2), without overflow."""
    a, b = promoted(x1, x2, at_least="float32")
    return logaddexp(a * LN2, b * LN2) / LN2


@operation
def deg2rad(x: Any) -> Tensor:
    """Degrees as radians."""
    return floats(x) * (math.pi / 180)


@operation
def rad2deg(x: Any) -> Tensor:
    """Radians as degrees."""
    return floats(x) * (180 / math.pi)


@operation
def heaviside(x1: Any, x2: Any) -> Tensor:
    """0 where x1 is below 0, 1 where it is above, and x2 where it is 0."""
    a, b = promoted(x1, x2, at_least="float32")
    return where(equal(a, 0), b, where(a > 0, 1.0, where(a < 0, 0.0, a)))


# sin(x) / x = 1 - x^2 / 3! + x^4 / 5! ...: so many terms give all digits of float64 up to NEAR.
NEAR = 0.5
SERIES = [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)]


@operation
def sinc(x: Any) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    x = floats(x) * math.pi
    near = abs_(x) < NEAR  # there a series: the derivative of the quotient would lose its digits
    squares, y = where(near, x, 0.0) * x, SERIES[-1]
    for coefficient in reversed(SERIES[:-1]):
        y = y * squares + coefficient
    return where(near, y, sin(x) / where(near, 1.0, x))


@operation
def isposinf(x: Any) -> Tensor:
    """Where x is infinite and above 0."""
    return equal(floats(x), math.inf)


@operation
def isneginf(x: Any) -> Tensor:
    """Where x is infinite and below 0."""
    return equal(floats(x), -math.inf)


@operation
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with a number where there is none, and finite ones where it is infinite."""
    x = convert(x)
    if not is_float(x.dtype):
        return x
    ends = np.finfo(x.dtype)
    above = float(ends.max) if posinf is None else posinf
    below = float(ends.min) if neginf is None else neginf
    x = where(isnan(x), nan, x)
    return where(equal(x, math.inf), above, where(equal(x, -math.inf), below, x))


@operation
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Where x1 and x2 differ by no more than atol + rtol |x2|."""
    a, b = promoted(x1, x2)
    if not is_float(a.dtype):  # all of whose differences float64 has
        a, b = convert(a, "float64"), convert(b, "float64")
    ended = ops.logical_or(isinf(a), isinf(b))
    close = where(ended, equal(a, b), abs_(a - b) <= atol + rtol * abs_(b))
    return ops.logical_or(close, isnan(a) & isnan(b)) if equal_nan else close


@operation
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether x1 and x2 are close everywhere; see `isclose`."""
    return all_(isclose(x1, x2, rtol, atol, equal_nan))


@operation
def saturate_cast(x: Any, dtype: Any) -> Tensor:
    """x as another dtype, with the nearest number it has for what is outside; see `cast`.

    >>> from gpunn import ops
    >>> ops.saturate_cast([300.0, -1.0], "uint8").tolist()
    [255, 0]
    """
    x, name = convert(x), named(dtype)
    if name == "bool":
        return cast(clip(x, 0, 1), name)
    if is_float(standard(name)):
        most = largest(name)
        x = cast(x, "float64") if most > largest("float32") else floats(x)
        return cast(clip(x, -most, most), name)
    low, high = held_bounds(name)
    if name in WRAPPED:
        return clip(cast(x, "int32"), low, high)
    x = maximum(x, 0) if low == 0 else x
    return cast(x, name) if is_float(x.dtype) else cast(x, "int32")


def _of_bits(name: str, meaning: str) -> Any:
    primitive = elementwise(name)

    def function(x: Any, y: Any) -> Tensor:
        a, b = promoted(x, y)
        if is_float(a.dtype):
            raise TypeError(f"{name}: integers are expected; got {a.dtype}.")
        return primitive(a, b)

    function.__name__ = name
    function.__doc__ = meaning
    return operation(function)


_invert = elementwise("bitwise_not", function="invert")


@operation
def bitwise_not(x: Any) -> Tensor:
    """The bits that x has not, of integers: -x - 1. Of truth values the other ones."""
    x = convert(x)
    if is_float(x.dtype):
        raise TypeError(f"bitwise_not: integers are expected; got {x.dtype}.")
    return ops.logical_not(x) if x.dtype == "bool" else _invert(x)


@operation
def bitwise_invert(x: Any) -> Tensor:
    """`bitwise_not`."""
    return bitwise_not(x)


def _shift(name: str, other: str, meaning: str) -> Any:
    primitive = elementwise(name)

    def function(x: Any, y: Any) -> Tensor:
        a, b = promoted(x, y)
        if is_float(a.dtype):
            raise TypeError(f"{name}: integers are expected; got {a.dtype}.")
        return primitive(counting(a), counting(b))

    function.__name__, function.__doc__ = name, meaning
    return operation(function), operation(function, other)


left_shift, bitwise_left_shift = _shift(
    "left_shift", "bitwise_left_shift",
    "x times 2 to the power of y, of the 32 bits of integers; by 32 places or more 0.",
)  # fmt: skip
right_shift, bitwise_right_shift = _shift(
    "right_shift", "bitwise_right_shift",
    "x over 2 to the power of y, down to an integer; by 32 places or more 0 or -1.",
)  # fmt: skip
bitwise_and = _of_bits("bitwise_and", "The bits that both have, of integers.")
bitwise_or = _of_bits("bitwise_or", "The bits that one of both has, of integers.")
bitwise_xor = _of_bits("bitwise_xor", "The bits that just one of both has, of integers.")
