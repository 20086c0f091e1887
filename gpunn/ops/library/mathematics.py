"""More element-wise functions, and comparisons with a tolerance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.arithmetic import (
    clip,
    equal,
    float_pair,
    logaddexp,
    maximum,
    minimum,
    of_pairs,
)
from gpunn.ops.conversion import convert, floats, promoted
from gpunn.ops.dtypes import WRAPPED, int32_bounds, is_float, largest, named, standard
from gpunn.ops.elementwise import (
    abs_,
    cast,
    counting,
    elementwise,
    isinf,
    isnan,
    of_floats,
    sin,
    truth,
    where,
    whether,
)
from gpunn.ops.reductions import all_
from gpunn.ops.tensor import Tensor, operation, ops

LN2 = math.log(2)

_trunc, _fmod = elementwise("trunc"), elementwise("fmod")




log2 = of_floats(
    "log2", "the base-2 logarithm of each element: ``y = log(x) / log(2)``, NaN below 0",
    "The derivative is ``1 / (x log(2))``.", "[1.0, 8.0]", "[0. 3.]",
)
log10 = of_floats(
    "log10", "the base-10 logarithm of each element: ``y = log(x) / log(10)``, NaN below 0",
    "The derivative is ``1 / (x log(10))``.", "[1.0, 100.0]", "[0. 2.]",
)
exp2 = of_floats(
    "exp2", "2 to the power of each element: ``y = 2^x``", "The derivative is ``y log(2)``.",
    "[3.0, -1.0]", "[8.  0.5]",
)
cbrt = of_floats(
    "cbrt", "the cube root of each element, also of negative ones: ``y = x^(1 / 3)``",
    "The derivative is ``1 / (3 y^2)``, infinite at 0.", "[27.0, -8.0]", "[ 3. -2.]",
)


@operation
def trunc(x: Any) -> Tensor:
    """Round each element towards 0, to an integer: ``y = sign(x) floor(|x|)``.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans are returned unchanged. The
    gradient of floats is 0.

    >>> from gpunn import ops
    >>> ops.trunc([1.7, -1.7]).tolist()
    [1.0, -1.0]
    """
    x = convert(x)
    return _trunc(x) if is_float(x.dtype) else x


fabs = of_floats(
    abs_, "the absolute value of each element as a float: ``y = |x|``", "See also `abs`.",
    "[-1, 2]", "[1. 2.]", "fabs",
)
signbit = whether(
    elementwise("signbit", dtype=truth),
    "for each element whether its sign bit is set: ``x < 0``, or x is -0.0",
    "The result is boolean, without a gradient.", "[-1.0, -0.0, 2.0]", "[True, True, False]",
)
hypot = of_pairs(
    "hypot", float_pair, "the length of the hypotenuse without overflow: ``y = sqrt(x1^2 + x2^2)``",
    "At (0, 0), where it has no derivative, the gradients are 0.", "[3.0, 5.0], [4.0, 12.0]",
    "[5.0, 13.0]",
)


@operation
def fmod(x1: Any, x2: Any) -> Tensor:
    """Compute the remainder of a division, truncated: ``y = x1 - x2 trunc(x1 / x2)``.

    It has the sign of x1; `mod` has the sign of x2. For integers, a remainder by 0 is 0; for floats
    it is NaN.

    Arguments and errors: as for `add`.

    >>> from gpunn import ops
    >>> ops.fmod([5, -5], 3).tolist(), ops.fmod(-5.5, 2.0).item()
    ([2, -2], -1.5)
    """
    a, b = (counting(t) for t in promoted(x1, x2))
    if is_float(a.dtype):
        return _fmod(a, b)
    rest = ops.mod(a, b)  # has the sign of b
    return where((rest != 0) & ((a < 0) != (b < 0)), rest - b, rest)


@operation
def fmax(x1: Any, x2: Any) -> Tensor:
    """Return the larger of two elements, ignoring NaN where the other one is a number.

    Where they are equal, x1 gets the gradient. See `maximum`, which returns NaN.

    Arguments and errors: as for `maximum`.

    >>> from gpunn import ops
    >>> ops.fmax([1.0, float("nan")], [2.0, 3.0]).tolist()
    [2.0, 3.0]
    """
    a, b = promoted(x1, x2)
    return where(isnan(a), b, where(isnan(b), a, maximum(a, b)))


@operation
def fmin(x1: Any, x2: Any) -> Tensor:
    """Return the smaller of two elements, ignoring NaN where the other one is a number.

    Where they are equal, x1 gets the gradient. See `minimum`, which returns NaN.

    Arguments and errors: as for `maximum`.

    >>> from gpunn import ops
    >>> ops.fmin([1.0, float("nan")], [2.0, 3.0]).tolist()
    [1.0, 3.0]
    """
    a, b = promoted(x1, x2)
    return where(isnan(a), b, where(isnan(b), a, minimum(a, b)))


@operation
def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """Compute the base-2 logarithm of a sum of powers of 2: ``y = log2(2^x1 + 2^x2)``.

    It is computed without overflow; see `logaddexp`.

    Arguments and errors: as for `divide_no_nan`.

    >>> from gpunn import ops
    >>> round(ops.logaddexp2(1000.0, 1000.0).item(), 3)
    1001.0
    """
    a, b = float_pair(x1, x2)
    return logaddexp(a * LN2, b * LN2) / LN2


deg2rad = of_floats(
    lambda x: x * (math.pi / 180), "angles in degrees as radians: ``y = x pi / 180``",
    "The derivative is ``pi / 180``.", "[0.0, 180.0]", "[0.     3.1416]", "deg2rad",
)
rad2deg = of_floats(
    lambda x: x * (180 / math.pi), "angles in radians as degrees: ``y = x 180 / pi``",
    "The derivative is ``180 / pi``.", "[0.0, 3.14159265]", "[  0. 180.]", "rad2deg",
)


@operation
def heaviside(x1: Any, x2: Any) -> Tensor:
    """Apply the Heaviside step function: 0 where ``x1 < 0``, x2 where ``x1 = 0``, else 1.

    NaN in x1 stays NaN. The gradient of x1 is 0; x2 gets it where x1 is 0.

    Arguments and errors: as for `divide_no_nan`.

    >>> from gpunn import ops
    >>> ops.heaviside([-1.0, 0.0, 2.0], 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    a, b = float_pair(x1, x2)
    return where(equal(a, 0), b, where(a > 0, 1.0, where(a < 0, 0.0, a)))


# sin(x) / x = 1 - x^2 / 3! + x^4 / 5! ...: these terms give all digits of float64 up to NEAR.
NEAR = 0.5
SERIES = [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)]


@operation
def sinc(x: Any) -> Tensor:
    """Compute the normalized sinc function: ``y = sin(pi x) / (pi x)``, which is 1 at 0.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).

    >>> from gpunn import ops
    >>> ops.sinc([0.0, 0.5]).numpy().round(3)
    array([1.   , 0.637], dtype=float32)
    """
    x = floats(x) * math.pi
    near = abs_(x) < NEAR  # use a series there: the quotient's derivative would lose precision
    squares, y = where(near, x, 0.0) * x, SERIES[-1]
    for coefficient in reversed(SERIES[:-1]):
        y = y * squares + coefficient
    return where(near, y, sin(x) / where(near, 1.0, x))


isposinf = whether(
    lambda x: equal(x, math.inf), "for each element whether it is positive infinity",
    "The result is boolean: False for integers, NaN and -infinity.",
    '[float("inf"), -float("inf"), 1.0]', "[True, False, False]", "isposinf",
)
isneginf = whether(
    lambda x: equal(x, -math.inf), "for each element whether it is negative infinity",
    "The result is boolean: False for integers, NaN and infinity.",
    '[float("inf"), -float("inf"), 1.0]', "[False, True, False]", "isneginf",
)


@operation
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN with a number, and infinities with finite numbers, in each element.

    The gradient of replaced elements is 0.

    Args:
        x: a tensor or array-like (...); the result has its shape and dtype. Integers and booleans
            are returned unchanged.
        nan: what replaces NaN.
        posinf, neginf: what replaces infinity and -infinity; by default the largest and the
            smallest value of the dtype of x.

    >>> from gpunn import ops
    >>> ops.nan_to_num([float("nan"), float("inf"), 1.0], posinf=100.0).tolist()
    [0.0, 100.0, 1.0]
    """
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
    """Return for each pair of elements whether they are close: ``|x1 - x2| <= atol + rtol |x2|``.

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result, which is boolean.
        rtol, atol: the relative and the absolute tolerance.
        equal_nan: whether NaN is close to NaN. An infinity is close only to itself.

    Raises:
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> ops.isclose([1.0, 2.0], [1.0, 2.1], rtol=1e-3).tolist()
    [True, False]
    """
    a, b = promoted(x1, x2)
    if not is_float(a.dtype):  # float64 holds all of their differences
        a, b = convert(a, "float64"), convert(b, "float64")
    ended = ops.logical_or(isinf(a), isinf(b))
    close = where(ended, equal(a, b), abs_(a - b) <= atol + rtol * abs_(b))
    return ops.logical_or(close, isnan(a) & isnan(b)) if equal_nan else close


@operation
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return whether all elements of two tensors are close; see `isclose`.

    Args:
        x1, x2: tensors or array-likes that broadcast. The result is one boolean, of shape ().
        rtol, atol, equal_nan: as in `isclose`.

    Raises:
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> ops.allclose([1.0, 2.0], [1.0, 2.1], rtol=0.1).item()
    True
    """
    return all_(isclose(x1, x2, rtol, atol, equal_nan))


@operation
def saturate_cast(x: Any, dtype: Any) -> Tensor:
    """Convert x to another dtype; values out of its range become its nearest value.

    Floats are truncated towards 0, and NaN becomes 0 in integer dtypes. See `cast`.

    Args:
        x: a tensor or array-like (...); the result has its shape.
        dtype: a name, such as ``"uint8"``, a NumPy dtype or a Python type.

    Raises:
        ValueError: if the dtype is unknown.

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
    low, high = int32_bounds(name)
    if name in WRAPPED:
        return clip(cast(x, "int32"), low, high)
    x = maximum(x, 0) if low == 0 else x
    return cast(x, name) if is_float(x.dtype) else cast(x, "int32")


# Pickles of earlier versions find operations where they were defined.
__getattr__ = ops.__getattr__
