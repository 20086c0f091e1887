"""The functions of elements: what loops and kernels compute, and what NumPy is called with.

Each is stated once, here. `make formulas` writes the C++ of all of them for the loops of a CPU, the
kernels of a GPU and the browser. Its derivative is in `gpunn.ops.gradient_rules`, by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.numeric.normal import LONG, SHORT, SQUEEZE


class Function(NamedTuple):
    """A function of one element of each operand.

    Attributes:
        operands: the names of its operands, with a space between two.
        formula: its C++ of these, numbers of type T. It behaves as NumPy's, at NaN and infinity
            too. That of a truth value is a condition.
        calls: the array function that computes it, if that has another name; or
            ``calls(backend, out, *operands)``, by array functions with ``out=`` and work arrays of
            the backend. ``out`` may be an operand, which is not read after it is first written.
        is_truth: whether its result is a truth value, 1 or 0. As a condition, any number but 0 is
            true.
        has_loop: whether ``kernels/cpu/strips.hpp`` has a loop for it, with vectors of the CPU.
            Otherwise it is called for each element.
    """

    operands: str
    formula: str
    calls: str | Callable[..., None] = ""
    is_truth: bool = False
    has_loop: bool = False


def _relu(backend: Any, out: Any, x: Any) -> None:
    backend.xp.maximum(x, 0, out=out)


def _sigmoid(backend: Any, out: Any, x: Any) -> None:
    xp = backend.xp
    xp.negative(x, out=out)
    xp.exp(out, out=out)  # where this is infinite, the result is 0
    xp.add(out, 1.0, out=out)
    xp.divide(1.0, out, out=out)


def _erfc(backend: Any, out: Any, x: Any) -> None:
    """out = 1 - erf(x), accurate also where x is large, see `gpunn.common.numeric.normal`."""
    xp = backend.xp
    z = backend.scratch(x.shape, x.dtype, "z")
    t = backend.scratch(x.shape, x.dtype, "t")
    u = backend.scratch(x.shape, x.dtype, "u")
    below = backend.scratch(x.shape, bool, "below")
    xp.less(x, 0.0, out=below)
    xp.absolute(x, out=z)
    xp.multiply(z, SQUEEZE, out=t)
    xp.add(t, 1.0, out=t)
    xp.reciprocal(t, out=t)
    xp.multiply(z, z, out=z)
    xp.multiply(t, 2.0, out=u)
    xp.subtract(u, 1.0, out=u)
    *rest, last = SHORT if x.dtype.itemsize == 4 else LONG
    xp.multiply(u, last, out=out)
    for coefficient in reversed(rest[1:]):
        xp.add(out, coefficient, out=out)
        xp.multiply(out, u, out=out)
    xp.add(out, rest[0], out=out)
    xp.subtract(out, z, out=out)
    xp.exp(out, out=out)
    xp.multiply(out, t, out=out)  # erfc(|x|), subtracted from 2 below for negative x
    xp.multiply(below, 2.0, out=u, dtype=x.dtype)
    xp.subtract(u, out, out=out)
    xp.absolute(out, out=out)


_vector = partial(Function, has_loop=True)
_truth = partial(Function, has_loop=True, is_truth=True)
FUNCTIONS: dict[str, Function] = {
    "copy": _vector("x", "x"),
    "negative": _vector("x", "-x"),
    "abs": _vector("x", "math::magnitude(x)", "absolute"),
    # Of -0 it is 0; of NaN, NaN.
    "sign": _vector("x", "x > T(0) ? T(1) : (x < T(0) ? T(-1) : x + T(0))"),
    "square": _vector("x", "x * x"),
    "reciprocal": _vector("x", "T(1) / x"),
    "sqrt": _vector("x", "math::sqrt(x)"),
    "relu": _vector("x", "x <= T(0) ? T(0) : x", _relu),  # of -0 it is 0
    "sigmoid": _vector("x", "math::sigmoid(x)", _sigmoid),
    "exp": _vector("x", "math::exp(x)"),
    "expm1": _vector("x", "math::expm1(x)"),
    "log": _vector("x", "math::log(x)"),
    "log1p": _vector("x", "math::log1p(x)"),
    "sin": _vector("x", "math::sin(x)"),
    "cos": _vector("x", "math::cos(x)"),
    "tan": _vector("x", "math::tan(x)"),
    "arcsin": Function("x", "math::asin(x)"),
    "arccos": Function("x", "math::acos(x)"),
    "arctan": Function("x", "math::atan(x)"),
    "sinh": _vector("x", "math::sinh(x)"),
    "cosh": _vector("x", "math::cosh(x)"),
    "tanh": _vector("x", "math::tanh(x)"),
    "arcsinh": Function("x", "math::asinh(x)"),
    "arccosh": Function("x", "math::acosh(x)"),
    "arctanh": Function("x", "math::atanh(x)"),
    "erfc": _vector("x", "math::erfc(x)", _erfc),
    "floor": _vector("x", "math::floor(x)"),
    "ceil": _vector("x", "math::ceil(x)"),
    "round": _vector("x", "math::rint(x)", "rint"),
    "isnan": _truth("x", "x != x"),
    "isinf": _truth("x", "math::magnitude(x) == -math::minus_infinity<T>()"),
    "isfinite": _truth("x", "math::is_finite(x)"),
    "logical_not": _truth("x", "x == T(0)"),
    "add": _vector("a b", "a + b"),
    "subtract": _vector("a b", "a - b"),
    "multiply": _vector("a b", "a * b"),
    "divide": _vector("a b", "a / b"),
    "maximum": _vector("a b", "(a > b) | (a != a) ? a : b"),
    "minimum": _vector("a b", "(a < b) | (a != a) ? a : b"),
    "power": _vector("a b", "math::pow(a, b)"),
    "floor_divide": Function("a b", "math::floor_divide(a, b)"),
    "mod": Function("a b", "math::mod(a, b)", "remainder"),
    "arctan2": Function("a b", "math::atan2(a, b)"),
    "logaddexp": _vector("a b", "math::logaddexp(a, b)"),
    "equal": _truth("a b", "a == b"),
    "not_equal": _truth("a b", "a != b"),
    "less": _truth("a b", "a < b"),
    "less_equal": _truth("a b", "a <= b"),
    "greater": _truth("a b", "a > b"),
    "greater_equal": _truth("a b", "a >= b"),
    "logical_and": _truth("a b", "(a != T(0)) & (b != T(0))"),
    "logical_or": _truth("a b", "(a != T(0)) | (b != T(0))"),
    "logical_xor": _truth("a b", "(a != T(0)) != (b != T(0))"),
    "where": _vector("condition a b", "condition != T(0) ? a : b"),
}


def array_function(name: str) -> str:
    """Return the name of the array function that computes a function of elements; "" if several
    are needed."""
    known = FUNCTIONS.get(name)
    if known is None or known.calls == "":
        return name
    return known.calls if isinstance(known.calls, str) else ""


def write(backend: Any, name: str, out: Any, *operands: Any) -> None:
    """out = a function of the elements of arrays, by array functions."""
    known = FUNCTIONS.get(name)
    if known is not None and callable(known.calls):
        known.calls(backend, out, *operands)
    else:
        getattr(backend.xp, array_function(name))(*operands, out=out)


# -- selection by masks, since a product with 0 would turn infinity into NaN


def select(backend: Any, where: Any, x: Any, out: Any) -> None:
    """out = x where the mask is true, else 0, even for infinite x and NaN.

    Array modules copy by a mask element by element; bit operations on whole arrays are far faster.

    Args:
        where: truth values, contiguous.
        x: floats of the same shape; ``out`` may be ``x``.
    """
    xp = backend.xp
    signs = backend.scratch(where.shape, np.int8, "signs")
    mask = backend.scratch(where.shape, f"int{8 * x.dtype.itemsize}", "mask")
    xp.negative(where.view(np.int8), out=signs)
    xp.copyto(mask, signs)  # no bit is 1, or all are
    xp.bitwise_and(bits_of(x), bits_of(mask), out=bits_of(out))


def choose(backend: Any, where: Any, a: Any, b: Any, out: Any, over_b: bool = False) -> None:
    """out = a where the mask is true, else b, by bit operations on both: floats of the dtype of
    ``out``, or numbers. ``out`` may be a and, with ``over_b``, b."""
    xp, dtype = backend.xp, out.dtype
    first, second = _bits(a, dtype), _bits(b, dtype)
    signs = backend.scratch(where.shape, np.int8, "signs")
    mask = backend.scratch(where.shape, f"int{8 * dtype.itemsize}", "mask")
    if over_b or _is_zero(first):  # the second operand is read again at the end
        first, second = second, first
        xp.subtract(where.view(np.int8), 1, out=signs)
    else:
        xp.negative(where.view(np.int8), out=signs)
    xp.copyto(mask, signs)  # no bit is 1, or all are
    mask, out = bits_of(mask), bits_of(out)
    if isinstance(first, np.unsignedinteger) and isinstance(second, np.unsignedinteger):
        xp.bitwise_and(mask, first ^ second, out=out)
    elif _is_zero(second):
        xp.bitwise_and(mask, first, out=out)
    else:
        xp.bitwise_xor(first, second, out=out)
        xp.bitwise_and(out, mask, out=out)
    if not _is_zero(second):
        xp.bitwise_xor(out, second, out=out)


def _bits(x: Any, dtype: Any) -> Any:
    return bits_of(dtype.type(x) if isinstance(x, (int, float)) else x)


def _is_zero(bits: Any) -> bool:
    return isinstance(bits, np.unsignedinteger) and not bits


def bits_of(x: Any) -> Any:
    """Return a view of the same memory as unsigned integers."""
    return x.view(f"uint{8 * x.dtype.itemsize}")
