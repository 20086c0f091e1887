"""Element-wise operations on one tensor, choices between two, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.expression import OPERANDS, TRUTHS
from gpunn.backends.shared.functions import write

from .conversion import convert, floats, promoted
from .dtypes import (
    COMPUTED,
    HALVED,
    LEAST,
    MOST,
    WRAPPED,
    floating,
    from_host,
    int32_bounds,
    named,
    standard,
    write_rounded,
    write_wrapped,
)
from .fusion.storing import by_operations, is_exact, stored, write_elements
from .gather_scatter.checks import checked
from .primitive import Primitive, broadcast_shape
from .shapes import compute_broadcast, whole
from .tensor import Tensor, operation, operation_named, ops


def truth(*dtypes: str, **attributes: Any) -> str:
    return "bool"


def _mixed(arrays: Sequence[Any], out: Array) -> bool:
    """Return whether floats of several shapes meet, in whole arrays."""
    plain = out.dtype.kind == "f" and all(
        hasattr(x, "flags") and x.dtype == out.dtype and x.flags.c_contiguous
        for x in (*arrays, out)
    )
    return plain and any(x.shape != out.shape for x in arrays)


def _repeated(backend: Backend, x: Array, out: Array, number: int) -> Array:
    """Return an operand, repeated to the result's shape."""
    if x.shape == out.shape:
        return x
    whole = backend.scratch(out.shape, out.dtype, f"operand {number}")
    compute_broadcast(backend, whole, x, out.shape)
    return whole


def elementwise(name: str, gradient: Any = None, dtype: Any = None) -> Any:
    """Return the primitive of a function of elements: one of `FUNCTIONS`, which expressions compute
    too, or else an array function of this name. Its gradient is the rule of this name."""
    if name in TRUTHS:
        dtype = truth

    def compute(backend: Backend, out: Array, *arrays: Array) -> None:
        by_parts = name in OPERANDS and by_operations(backend, out.size)
        if by_parts and _mixed(arrays, out):
            whole = [_repeated(backend, x, out, number) for number, x in enumerate(arrays)]
            write_elements(backend, name, whole, out)
        elif by_parts and name in TRUTHS and is_exact(arrays, out):
            write_elements(backend, name, arrays, out)
        else:
            write(backend, name, out, *arrays)

    return Primitive(name, compute, broadcast_shape, dtype, gradient or name, lowering=name)


# -- of one tensor; functions of floats convert integers to floatx

_negative = elementwise("negative")
_absolute = elementwise("abs")
_sign = elementwise("sign")


root = elementwise("sqrt", "root")
_square = elementwise("square")
_rint = elementwise("round")
_logical_not = elementwise("logical_not")


_relu = elementwise("relu")


def of_floats(
    compute: str | Callable[[Tensor], Tensor], meaning: str, more: str, given: str, printed: str,
    name: str = "", example: str = "print(ops.{name}({given}).numpy().round(4))",
) -> Callable[[Any], Tensor]:
    """Return an operation on the elements of one tensor of floats; integers become floatx.

    Args:
        compute: a function of elements, by its name; or a function of tensors, with the ``name``
            of the operation.
        meaning: what it returns.
        more: its derivative, or its source.
        given, printed: the argument of its ``example``, and what that prints.
    """

    applied: Any = elementwise(compute) if isinstance(compute, str) else compute

    def function(x: Any) -> Tensor:
        return applied(floats(x))

    function.__name__ = name = name or applied.name
    function.__doc__ = f"""Return {meaning}.

    ``x`` (...) -> (...): a tensor or array-like; integers and booleans become floats (floatx).
    {more}

    >>> from gpunn import ops
    >>> {example.format(name=name, given=given)}
    {printed}
    """
    return operation(function)


whether = partial(of_floats, example="ops.{name}({given}).tolist()")
"""Make an operation that tells for each element whether something holds."""


exp = of_floats(
    "exp", "the exponential of each element: ``y = exp(x)``", "The derivative is ``exp(x)``.",
    "[-1.0, 0.0, 1.0]", "[0.3679 1.     2.7183]",
)
expm1 = of_floats(
    "expm1", "``y = exp(x) - 1`` for each element, precisely also near 0",
    "The derivative is ``exp(x)``.", "[0.0, 1.0]", "[0.     1.7183]",
)
log = of_floats(
    "log", "the natural logarithm of each element: ``y = log(x)``, NaN below 0",
    "The derivative is ``1 / x``.", "[1.0, 10.0]", "[0.     2.3026]",
)
log1p = of_floats(
    "log1p", "``y = log(1 + x)`` for each element, precisely also near 0",
    "The derivative is ``1 / (1 + x)``.", "[0.0, 1.0]", "[0.     0.6931]",
)
sqrt = of_floats(
    "sqrt", "the square root of each element: ``y = sqrt(x)``, NaN below 0",
    "The derivative is ``1 / (2 sqrt(x))``, infinite at 0.", "[4.0, 2.0]", "[2.     1.4142]",
)
reciprocal = of_floats(
    "reciprocal", "the reciprocal of each element: ``y = 1 / x``, infinite at 0",
    "The derivative is ``-1 / x^2``.", "[2.0, -4.0]", "[ 0.5  -0.25]",
)
sin = of_floats(
    "sin", "the sine of each element, an angle in radians: ``y = sin(x)``",
    "The derivative is ``cos(x)``.", "[0.0, 0.5]", "[0.     0.4794]",
)
cos = of_floats(
    "cos", "the cosine of each element, an angle in radians: ``y = cos(x)``",
    "The derivative is ``-sin(x)``.", "[0.0, 0.5]", "[1.     0.8776]",
)
tan = of_floats(
    "tan", "the tangent of each element, an angle in radians: ``y = sin(x) / cos(x)``",
    "The derivative is ``1 + tan(x)^2``.", "[0.0, 0.5]", "[0.     0.5463]",
)
arcsin = of_floats(
    "arcsin", "the angle from -pi / 2 to pi / 2 whose sine is x: ``sin(y) = x``",
    "The derivative is ``1 / sqrt(1 - x^2)``.", "[0.0, 1.0]", "[0.     1.5708]",
)
arccos = of_floats(
    "arccos", "the angle from 0 to pi whose cosine is x: ``cos(y) = x``",
    "The derivative is ``-1 / sqrt(1 - x^2)``.", "[0.0, 1.0]", "[1.5708 0.    ]",
)
arctan = of_floats(
    "arctan", "the angle from -pi / 2 to pi / 2 whose tangent is x: ``tan(y) = x``",
    "The derivative is ``1 / (1 + x^2)``.", "[0.0, 1.0]", "[0.     0.7854]",
)
sinh = of_floats(
    "sinh", "the hyperbolic sine of each element: ``y = (exp(x) - exp(-x)) / 2``",
    "The derivative is ``cosh(x)``.", "[0.0, 1.0]", "[0.     1.1752]",
)
cosh = of_floats(
    "cosh", "the hyperbolic cosine of each element: ``y = (exp(x) + exp(-x)) / 2``",
    "The derivative is ``sinh(x)``.", "[0.0, 1.0]", "[1.     1.5431]",
)
tanh = of_floats(
    "tanh", "the hyperbolic tangent of each element: ``y = sinh(x) / cosh(x)``",
    "The derivative is ``1 - tanh(x)^2``.", "[0.0, 1.0]", "[0.     0.7616]",
)
arcsinh = of_floats(
    "arcsinh", "the inverse of sinh for each element: ``y = log(x + sqrt(x^2 + 1))``",
    "The derivative is ``1 / sqrt(x^2 + 1)``.", "[0.0, 1.0]", "[0.     0.8814]",
)
arccosh = of_floats(
    "arccosh", "the inverse of cosh for each element: ``y = log(x + sqrt(x^2 - 1))``",
    "The derivative is ``1 / sqrt(x^2 - 1)``.", "[1.0, 2.0]", "[0.    1.317]",
)
arctanh = of_floats(
    "arctanh", "the inverse of tanh for each element: ``y = log((1 + x) / (1 - x)) / 2``",
    "The derivative is ``1 / (1 - x^2)``.", "[0.0, 0.5]", "[0.     0.5493]",
)
sigmoid = of_floats(
    "sigmoid", "the logistic function of each element: ``y = 1 / (1 + exp(-x))``",
    "The derivative is ``y (1 - y)``.", "[-2.0, 0.0, 2.0]", "[0.1192 0.5    0.8808]",
)
floor = of_floats(
    "floor", "the largest integer that is at most x, for each element",
    "The derivative is 0, also at its jumps.", "[-1.5, 1.5]", "[-2.  1.]",
)
ceil = of_floats(
    "ceil", "the smallest integer that is at least x, for each element",
    "The derivative is 0, also at its jumps.", "[-1.5, 1.5]", "[-1.  2.]",
)


@operation
def negative(x: Any) -> Tensor:
    """Return each element with the opposite sign: ``y = -x``.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype, int32 for booleans.

    >>> from gpunn import ops
    >>> ops.negative([1, -2]).tolist()
    [-1, 2]
    """
    return _negative(counting(x))


@operation_named("abs")
def abs_(x: Any) -> Tensor:
    """Return the absolute value of each element: ``y = |x|``.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype. Its derivative is the
    `sign` of x, and 0 at 0.

    >>> from gpunn import ops
    >>> ops.abs([-1.5, 0.0, 2.0]).tolist()
    [1.5, 0.0, 2.0]
    """
    x = convert(x)
    return x if x.dtype == "bool" else _absolute(x)


absolute = operation(abs_, "absolute")


@operation
def sign(x: Any) -> Tensor:
    """Return the sign of each element: -1, 0 or 1, and NaN for NaN.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype. Its gradient is 0
    everywhere.

    >>> from gpunn import ops
    >>> ops.sign([-2.5, 0.0, 3.0]).tolist()
    [-1.0, 0.0, 1.0]
    """
    x = convert(x)
    return x if x.dtype == "bool" else _sign(x)


@operation
def square(x: Any) -> Tensor:
    """Return the square of each element: ``y = x * x``.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype, int32 for booleans.

    >>> from gpunn import ops
    >>> ops.square([-3, 2]).tolist()
    [9, 4]
    """
    return _square(counting(x))


@operation
def relu(x: Any) -> Tensor:
    """Apply the rectified linear unit: ``y = max(x, 0)`` for each element.

    ``x`` (...) -> (...): a tensor or array-like; the result has its dtype, int32 for booleans. The
    derivative is 1 above 0, else 0: also at 0. Source: Nair and Hinton, Rectified linear units
    improve restricted Boltzmann machines, 2010.

    >>> from gpunn import ops
    >>> ops.relu([-2.0, 0.0, 3.0]).tolist()
    [0.0, 0.0, 3.0]
    """
    return _relu(counting(x))


@operation_named("round")
def round_(x: Any, decimals: int = 0) -> Tensor:
    """Round each element to a number of decimals; halves go to the nearest even value.

    Its gradient is 0, as the function is constant between jumps. With ``decimals=d``:
    ``y = round(x 10^d) / 10^d``.

    Args:
        x: a tensor or array-like (...). The result has its shape and dtype, floatx for booleans.
        decimals: an integer; a negative one rounds to multiples of a power of 10.

    Raises:
        IntegerError: a TypeError and ValueError, if ``decimals`` is not an integer.

    >>> from gpunn import ops
    >>> ops.round([0.5, 1.5, -1.7]).tolist(), ops.round([14, 15, 26], -1).tolist()
    ([0.0, 2.0, -2.0], [10, 20, 30])
    """
    x, decimals = convert(x), whole(decimals, "decimals")
    if x.dtype == "int32":
        return x if decimals >= 0 else _to_tens(x, 10**-decimals)
    if not decimals:
        return _rint(convert(x, floating(x.dtype)))
    factor = 10.0**decimals
    return _rint(x * factor) / factor


def _to_tens(x: Tensor, unit: int) -> Tensor:
    """Round integers to multiples of a power of 10; halves round to the even multiple."""
    if unit > MOST:
        return ops.zeros_like(x)
    whole = x // unit
    rest = x - whole * unit
    up = (rest > unit // 2) | ((rest == unit // 2) & (whole % 2 == 1))
    return (whole + cast(up, "int32")) * unit


rsqrt = of_floats(
    lambda x: 1.0 / sqrt(x),
    "the reciprocal of the square root: ``y = 1 / sqrt(x)``, infinite at 0, NaN below",
    "The derivative is ``-y^3 / 2``.", "[1.0, 4.0]", "[1.  0.5]", "rsqrt",
)
isnan = whether(
    "isnan", "for each element whether it is NaN, which is no number",
    "The result is boolean: False for integers and booleans.",
    '[1.0, float("nan")]', "[False, True]",
)
isinf = whether(
    "isinf", "for each element whether it is infinite, of either sign",
    "The result is boolean: False for NaN, and for integers and booleans.",
    '[1.0, float("-inf"), float("nan")]', "[False, True, False]",
)
isfinite = whether(
    "isfinite", "for each element whether it is finite: neither infinite nor NaN",
    "The result is boolean: True for integers and booleans.", '[1.0, float("inf"), float("nan")]',
    "[True, False, False]",
)


@operation
def logical_not(x: Any) -> Tensor:
    """Return the logical NOT of each element: True where ``x == 0``.

    ``x`` (...) -> (...): a tensor or array-like; the result is boolean. Nonzero values, NaN
    included, count as True and give False.

    >>> from gpunn import ops
    >>> ops.logical_not([True, False]).tolist(), ops.logical_not([0, 2]).tolist()
    ([False, True], [True, False])
    """
    return _logical_not(convert(x, "bool"))


def counting(x: Any) -> Tensor:
    """Convert x to a tensor for arithmetic: booleans become int32."""
    x = convert(x)
    return convert(x, "int32") if x.dtype == "bool" else x


# -- choice and types


def _choose(backend: Backend, out: Array, condition: Array, a: Array, b: Array) -> None:
    backend.xp.copyto(out, b)
    backend.xp.copyto(out, a, where=condition)


_where = Primitive(
    "where", _choose, broadcast_shape, lambda condition, a, b: a, gradient="where",
    lowering="where",
)


@operation
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Choose each element from x1 where the condition is true, else from x2.

    The gradient flows to the chosen element only: the other one gets exactly 0. With a condition
    alone, the result is `nonzero` of it.

    Args:
        condition: a tensor or array-like; nonzero values are true. It broadcasts with x1 and x2.
        x1, x2: tensors or array-likes, promoted to one dtype; both or none.

    Returns:
        a tensor of the broadcast shape and the promoted dtype.

    Raises:
        ValueError: if one of x1 and x2 is missing, or if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.where([True, False], [1.0, 2.0], 0.0).tolist()
    [1.0, 0.0]
    """
    if x1 is None and x2 is None:
        return ops.nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("where: x1 and x2 must both be given, or none of them.")
    return _where(convert(condition, "bool"), *promoted(x1, x2))


def _convert(backend: Backend, out: Array, x: Array, dtype: str) -> None:
    if dtype == "int32" or (dtype.startswith("float") and x.dtype.kind in "biu"):
        # An operation, so that a step can be traced; of a float it would lose the sign of zero.
        if not x.flags.c_contiguous:
            given, x = x, backend.scratch(x.shape, x.dtype, "cast")
            backend.xp.copyto(x, given)
        backend.affine(x, 1.0, 0.0, out)
    elif out.dtype.kind == x.dtype.kind == "f" and by_operations(backend, out.size):
        stored(backend, x, out)()
    else:
        backend.xp.copyto(out, x, casting="unsafe")


_cast = Primitive(
    "cast", _convert, lambda shape, dtype: shape, lambda given, dtype: dtype, gradient="cast",
    lowering="cast",
)
_wrap = Primitive("wrap", write_wrapped, lambda shape, dtype: shape)


def _compute_rounded(backend: Backend, out: Array, x: Array, dtype: str) -> None:
    backend.apply(write_rounded, x, out, dtype)


_round_to = Primitive("rounding", _compute_rounded, lambda shape, dtype: shape, gradient="rounding")


@operation
def cast(x: Any, dtype: Any) -> Tensor:
    """Convert the elements of x to another dtype.

    Casting floats to integers truncates them; floats outside int32 become its smallest or largest
    value, and NaN becomes 0, as in JAX. Integers wrap around: 300 is 44 in ``"uint8"``. Booleans
    become 0 and 1. Dtypes without arithmetic of their own are held in int32 or float32; a value
    that int32 cannot hold raises an error.

    Gradients pass through casts between floats as if nothing were rounded. Casts to integers or
    booleans have no gradient.

    Args:
        x: a tensor or array-like (...); the result has its shape.
        dtype: a name, such as ``"float16"``, a NumPy dtype or a Python type; None means floatx.

    Raises:
        OverflowError: for ``"int64"``, if int32 cannot hold a value; for ``"uint32"`` and
            ``"uint64"``, also if it is negative. In a trace, the step raises it.
        ValueError: if ``dtype`` is not a dtype of real numbers.

    >>> from gpunn import ops
    >>> ops.cast([300, -1], "uint8").tolist(), ops.cast([1.001, 70000.0], "float16").tolist()
    ([44, 255], [1.0009765625, inf])
    """
    x, name = convert(x), named(dtype)
    if x.dtype == name:
        return x
    if name in WRAPPED:
        return _wrap(cast(x, "int32"), dtype=name)
    if name in HALVED:
        wide = x if x.dtype.startswith("float") else _cast(x, dtype="float64")
        return cast(_round_to(wide, dtype=name), "float32")
    if name not in COMPUTED:
        x = _within_int32(x, name)
    stored = standard(name)
    return x if x.dtype == stored else _cast(x, dtype=stored)


def _within_int32(x: Tensor, name: str) -> Tensor:
    """Return x for a dtype of integers that int32 holds in part; the values are checked in each
    step."""
    low, high = int32_bounds(name)
    if x.dtype == "bool" or (x.dtype == "int32" and low == LEAST):
        return x
    if x.value is not None:
        from_host(x.value, name)
        return x
    most = float(high)
    if x.dtype == "float32":
        most = float(np.nextafter(np.float32(2.0**31), np.float32(0)))
    x = x if x.dtype == "int32" else ops.trunc(x)
    return checked(x, low, most, f"cast to {name!r}: values, held as int32,", OverflowError)


def copy(backend: Backend, out: Array, x: Array) -> None:
    """Compute the identity: copy x to out."""
    backend.xp.copyto(out, x)


_stop_gradient = Primitive("stop_gradient", copy, broadcast_shape, lowering="same")


@operation
def stop_gradient(variable: Any) -> Tensor:
    """Return the variable unchanged, but treat it as a constant in derivatives.

    ``variable`` (...) -> (...): a tensor or array-like; the result has its dtype. Gradients that
    reach it from the result are 0.

    >>> from gpunn import grad, ops
    >>> grad(lambda x: ops.sum(x * ops.stop_gradient(x)))([3.0]).tolist()  # not 2 x
    [3.0]
    """
    x = convert(variable)
    return x if x.is_constant else _stop_gradient(x)
