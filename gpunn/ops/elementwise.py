"""Operations on each element, with broadcasting, and their derivatives."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend

from .conversion import convert, promoted
from .dtypes import floating, standard
from .primitive import Gradients, Primitive, broadcast_shape
from .table import operation, operation_named, ops
from .tensor import Tensor


def _function(name: str) -> Any:
    def compute(backend: Backend, out: Array, *arrays: Array) -> None:
        getattr(backend.xp, name)(*arrays, out=out)

    return compute


def _same_dtype(*dtypes: str, **attributes: Any) -> str:
    return dtypes[0]


def _truth(*dtypes: str, **attributes: Any) -> str:
    return "bool"


def _elementwise(name: str, gradient: Any = None, function: str = "", dtype: Any = None) -> Any:
    """A primitive that one array function computes, of the same name unless another is given."""
    compute = _function(function or name)
    return Primitive(name, compute, broadcast_shape, dtype or _same_dtype, gradient)


# -- of one tensor; floats are computed in floatx where integers come

_negative = _elementwise("negative", lambda dy, y, x: (-dy,))
_absolute = _elementwise("abs", lambda dy, y, x: (dy * ops.sign(x),), "absolute")
_sign = _elementwise("sign")
_exp = _elementwise("exp", lambda dy, y, x: (dy * y,))
_expm1 = _elementwise("expm1", lambda dy, y, x: (dy * (y + 1),))
_log = _elementwise("log", lambda dy, y, x: (dy / x,))
_log1p = _elementwise("log1p", lambda dy, y, x: (dy / (x + 1),))
_sqrt = _elementwise("sqrt", lambda dy, y, x: (dy * 0.5 / y,))
_square = _elementwise("square", lambda dy, y, x: (dy * 2 * x,))
_reciprocal = _elementwise("reciprocal", lambda dy, y, x: (-dy * y * y,))
_sin = _elementwise("sin", lambda dy, y, x: (dy * ops.cos(x),))
_cos = _elementwise("cos", lambda dy, y, x: (-dy * ops.sin(x),))
_tan = _elementwise("tan", lambda dy, y, x: (dy * (1 + y * y),))
_arcsin = _elementwise("arcsin", lambda dy, y, x: (dy / ops.sqrt(1 - x * x),))
_arccos = _elementwise("arccos", lambda dy, y, x: (-dy / ops.sqrt(1 - x * x),))
_arctan = _elementwise("arctan", lambda dy, y, x: (dy / (1 + x * x),))
_sinh = _elementwise("sinh", lambda dy, y, x: (dy * ops.cosh(x),))
_cosh = _elementwise("cosh", lambda dy, y, x: (dy * ops.sinh(x),))
_tanh = _elementwise("tanh", lambda dy, y, x: (dy * (1 - y * y),))
_arcsinh = _elementwise("arcsinh", lambda dy, y, x: (dy / ops.sqrt(x * x + 1),))
_arccosh = _elementwise("arccosh", lambda dy, y, x: (dy / ops.sqrt(x * x - 1),))
_arctanh = _elementwise("arctanh", lambda dy, y, x: (dy / (1 - x * x),))
_floor, _ceil = _elementwise("floor"), _elementwise("ceil")
_rint = _elementwise("round", function="rint")
_isnan, _isinf = _elementwise("isnan", dtype=_truth), _elementwise("isinf", dtype=_truth)
_isfinite = _elementwise("isfinite", dtype=_truth)
_logical_not = _elementwise("logical_not", dtype=_truth)


def _compute_sigmoid(backend: Backend, out: Array, x: Array) -> None:
    xp = backend.xp
    xp.negative(x, out=out)
    xp.exp(out, out=out)  # where this is infinite, the result is 0
    xp.add(out, 1.0, out=out)
    xp.divide(1.0, out, out=out)


_sigmoid = Primitive(
    "sigmoid", _compute_sigmoid, broadcast_shape, gradient=lambda dy, y, x: (dy * y * (1 - y),)
)
_relu = Primitive(
    "relu",
    lambda backend, out, x: backend.xp.maximum(x, 0, out=out),
    broadcast_shape,
    gradient=lambda dy, y, x: (dy * (x > 0),),
)

_FLOATS_ONLY = {
    "exp": _exp, "expm1": _expm1, "log": _log, "log1p": _log1p, "sqrt": _sqrt,
    "reciprocal": _reciprocal, "sin": _sin, "cos": _cos, "tan": _tan, "arcsin": _arcsin,
    "arccos": _arccos, "arctan": _arctan, "sinh": _sinh, "cosh": _cosh, "tanh": _tanh,
    "arcsinh": _arcsinh, "arccosh": _arccosh, "arctanh": _arctanh, "sigmoid": _sigmoid,
    "floor": _floor, "ceil": _ceil,
}  # fmt: skip


def _of_floats(name: str, primitive: Primitive) -> Any:
    def function(x: Any) -> Tensor:
        x = convert(x)
        return primitive(convert(x, floating(x.dtype)))

    function.__name__ = name
    function.__doc__ = f"{name} of each element, in floatx for tensors of integers."
    return operation(function)


exp, expm1, log, log1p, sqrt = (
    _of_floats(name, _FLOATS_ONLY[name]) for name in ("exp", "expm1", "log", "log1p", "sqrt")
)
sin, cos, tan = (_of_floats(name, _FLOATS_ONLY[name]) for name in ("sin", "cos", "tan"))
sinh, cosh, tanh = (_of_floats(name, _FLOATS_ONLY[name]) for name in ("sinh", "cosh", "tanh"))
reciprocal, sigmoid = (_of_floats(name, _FLOATS_ONLY[name]) for name in ("reciprocal", "sigmoid"))
arcsin, arccos, arctan, arcsinh, arccosh, arctanh, floor, ceil = (
    _of_floats(name, _FLOATS_ONLY[name])
    for name in (
        "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "floor", "ceil",
    )
)  # fmt: skip


@operation
def negative(x: Any) -> Tensor:
    """-x."""
    return _negative(_counting(x))


@operation_named("abs")
def abs_(x: Any) -> Tensor:
    """|x|. Its derivative at 0 is 0."""
    return _absolute(_counting(x))


absolute = operation(abs_, "absolute")


@operation
def sign(x: Any) -> Tensor:
    """-1, 0 or 1."""
    return _sign(_counting(x))


@operation
def square(x: Any) -> Tensor:
    """x * x."""
    return _square(_counting(x))


@operation
def relu(x: Any) -> Tensor:
    """max(x, 0). Its derivative at 0 is 0."""
    return _relu(_counting(x))


@operation_named("round")
def round_(x: Any, decimals: int = 0) -> Tensor:
    """The nearest whole number, the even one of two; with ``decimals`` digits behind the point."""
    x = convert(x)
    if not decimals:
        return x if x.dtype == "int32" else _rint(convert(x, floating(x.dtype)))
    factor = 10.0**decimals
    return _rint(x * factor) / factor


@operation
def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x)."""
    return 1.0 / sqrt(x)


@operation
def isnan(x: Any) -> Tensor:
    """Where x is not a number."""
    return _isnan(_floats(x))


@operation
def isinf(x: Any) -> Tensor:
    """Where x is infinite."""
    return _isinf(_floats(x))


@operation
def isfinite(x: Any) -> Tensor:
    """Where x is neither infinite nor not a number."""
    return _isfinite(_floats(x))


@operation
def logical_not(x: Any) -> Tensor:
    """Where x is 0."""
    return _logical_not(convert(x, "bool"))


def _counting(x: Any) -> Tensor:
    """As a tensor that can be calculated with: truth values as 0 and 1."""
    x = convert(x)
    return convert(x, "int32") if x.dtype == "bool" else x


def _floats(x: Any) -> Tensor:
    x = convert(x)
    return convert(x, floating(x.dtype))


# -- of two tensors

_add = _elementwise("add", lambda dy, y, a, b: (dy, dy))
_subtract = _elementwise("subtract", lambda dy, y, a, b: (dy, -dy))
_multiply = _elementwise("multiply", lambda dy, y, a, b: (dy * b, dy * a))
_divide = _elementwise("divide", lambda dy, y, a, b: (dy / b, -dy * y / b))
_maximum = _elementwise(
    "maximum", lambda dy, y, a, b: (dy * (a >= b), dy * (a < b)),
)  # fmt: skip
_minimum = _elementwise(
    "minimum", lambda dy, y, a, b: (dy * (a <= b), dy * (a > b)),
)  # fmt: skip
_floor_divide = _elementwise("floor_divide")
_remainder = _elementwise("mod", lambda dy, y, a, b: (dy, -dy * ops.floor(a / b)), "remainder")
_arctan2 = _elementwise(
    "arctan2", lambda dy, y, a, b: (dy * b / (a * a + b * b), -dy * a / (a * a + b * b))
)
_logaddexp = _elementwise(
    "logaddexp", lambda dy, y, a, b: (dy * ops.sigmoid(a - b), dy * ops.sigmoid(b - a))
)


def _power_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    of_a = dy * b * _power(a, ops.where(b == 0, 1.0, b - 1))
    if b.value is not None:
        return of_a, None
    return of_a, dy * ops.where(a > 0, y * log(ops.where(a > 0, a, 1.0)), 0.0)


_power = _elementwise("power", _power_gradient)


@operation
def add(x1: Any, x2: Any) -> Tensor:
    """x1 + x2."""
    return _add(*_numbers(x1, x2))


@operation
def subtract(x1: Any, x2: Any) -> Tensor:
    """x1 - x2."""
    return _subtract(*_numbers(x1, x2))


@operation
def multiply(x1: Any, x2: Any) -> Tensor:
    """x1 * x2."""
    a, b = promoted(x1, x2)
    if a.dtype == "bool":
        return logical_and(a, b)
    return _multiply(a, b)


@operation
def divide(x1: Any, x2: Any) -> Tensor:
    """x1 / x2; of integers in floatx."""
    a, b = promoted(x1, x2)
    dtype = floating(a.dtype)
    return _divide(convert(a, dtype), convert(b, dtype))


true_divide = operation(divide, "true_divide")


@operation
def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, 0 where x2 is 0."""
    a, b = promoted(x1, x2, at_least="float32")
    return where(b == 0, 0.0, a / where(b == 0, 1.0, b))


@operation
def floor_divide(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, down to a whole number."""
    return _floor_divide(*_numbers(x1, x2))


@operation
def mod(x1: Any, x2: Any) -> Tensor:
    """What is left of x1 after x2 was taken away whole times; it has the sign of x2."""
    return _remainder(*_numbers(x1, x2))


@operation
def power(x1: Any, x2: Any) -> Tensor:
    """x1 to the power of x2."""
    if isinstance(x2, (int, float)) and x2 == 2 and not isinstance(x2, bool):
        return square(x1)
    return _power(*_numbers(x1, x2))


@operation
def maximum(x1: Any, x2: Any) -> Tensor:
    """The larger of both. Where they are equal, the gradient is that of x1."""
    return _maximum(*promoted(x1, x2))


@operation
def minimum(x1: Any, x2: Any) -> Tensor:
    """The smaller of both. Where they are equal, the gradient is that of x1."""
    return _minimum(*promoted(x1, x2))


@operation
def arctan2(x1: Any, x2: Any) -> Tensor:
    """The angle of the point (x2, x1), from -pi to pi."""
    return _arctan2(*promoted(x1, x2, at_least="float32"))


@operation
def logaddexp(x1: Any, x2: Any) -> Tensor:
    """log(exp(x1) + exp(x2)), without overflow."""
    return _logaddexp(*promoted(x1, x2, at_least="float32"))


def _numbers(x1: Any, x2: Any) -> list[Tensor]:
    return [_counting(t) for t in promoted(x1, x2)]


def _comparison(name: str, sign: str) -> Any:
    primitive = _elementwise(name, dtype=_truth)

    def function(x1: Any, x2: Any) -> Tensor:
        return primitive(*promoted(x1, x2))

    function.__name__ = name
    function.__doc__ = f"Where x1 {sign} x2."
    return operation(function)


equal, not_equal = _comparison("equal", "=="), _comparison("not_equal", "!=")
less, less_equal = _comparison("less", "<"), _comparison("less_equal", "<=")
greater, greater_equal = _comparison("greater", ">"), _comparison("greater_equal", ">=")


def _logical(name: str) -> Any:
    primitive = _elementwise(name, dtype=_truth)

    def function(x1: Any, x2: Any) -> Tensor:
        return primitive(convert(x1, "bool"), convert(x2, "bool"))

    function.__name__ = name
    function.__doc__ = f"{name.replace('_', ' ').capitalize()} of x1 and x2, element by element."
    return operation(function)


logical_and, logical_or = _logical("logical_and"), _logical("logical_or")
logical_xor = _logical("logical_xor")


# -- choice and types


def _choose(backend: Backend, out: Array, condition: Array, a: Array, b: Array) -> None:
    backend.xp.copyto(out, b)
    backend.xp.copyto(out, a, where=condition)


_where = Primitive(
    "where",
    _choose,
    broadcast_shape,
    lambda condition, a, b: a,
    lambda dy, y, condition, a, b: (
        None,
        ops.where(condition, dy, 0.0),
        ops.where(condition, 0.0, dy),
    ),
)


@operation
def where(condition: Any, x1: Any, x2: Any) -> Tensor:
    """x1 where the condition holds, else x2.

    >>> from gpunn import ops
    >>> ops.where([True, False], [1.0, 2.0], 0.0).tolist()
    [1.0, 0.0]
    """
    return _where(convert(condition, "bool"), *promoted(x1, x2))


def _convert(backend: Backend, out: Array, x: Array, dtype: str) -> None:
    backend.xp.copyto(out, x, casting="unsafe")


def _cast_gradient(dy: Tensor, y: Tensor, x: Tensor, dtype: str) -> Gradients:
    return (cast(dy, x.dtype) if x.dtype.startswith("float") else None,)


_cast = Primitive(
    "cast",
    _convert,
    lambda shape, dtype: shape,
    lambda given, dtype: dtype,
    _cast_gradient,
)


@operation
def cast(x: Any, dtype: Any) -> Tensor:
    """x as another dtype: floats lose what is behind the point, truth values become 0 and 1."""
    x, dtype = convert(x), standard(dtype)
    return x if x.dtype == dtype else _cast(x, dtype=dtype)


def _copy(backend: Backend, out: Array, x: Array) -> None:
    backend.xp.copyto(out, x)


_stop_gradient = Primitive("stop_gradient", _copy, broadcast_shape)


@operation
def stop_gradient(x: Any) -> Tensor:
    """x, as a constant to derivatives."""
    x = convert(x)
    return x if x.value is not None else _stop_gradient(x)


@operation
def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """x, but no less than x_min and no more than x_max."""
    return minimum(maximum(x, x_min), x_max)


@operation
def softplus(x: Any) -> Tensor:
    """log(1 + exp(x))."""
    return logaddexp(x, 0.0)
