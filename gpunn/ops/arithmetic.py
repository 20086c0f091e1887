"""Element-wise operations on two tensors, with broadcasting, and their derivatives."""

from __future__ import annotations

from typing import Any

from .conversion import convert, promoted
from .dtypes import floating, is_float
from .elementwise import counting, elementwise, log, square, truth, where
from .primitive import Gradients
from .table import operation, ops
from .tensor import Tensor

_add = elementwise("add", lambda dy, y, a, b: (dy, dy))
_subtract = elementwise("subtract", lambda dy, y, a, b: (dy, -dy))
_multiply = elementwise("multiply", lambda dy, y, a, b: (dy * b, dy * a))
_divide = elementwise("divide", lambda dy, y, a, b: (dy / b, -dy * (y / b)))
_maximum = elementwise(
    "maximum",
    lambda dy, y, a, b: (where(a < b, 0.0, dy), where(a >= b, 0.0, dy)),
)
_minimum = elementwise(
    "minimum",
    lambda dy, y, a, b: (where(a > b, 0.0, dy), where(a <= b, 0.0, dy)),
)
_floor_divide = elementwise("floor_divide")
_remainder = elementwise("mod", lambda dy, y, a, b: (dy, -dy * ops.floor_divide(a, b)), "remainder")


def _arctan2_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    squares = a * a + b * b
    slope = ops.divide_no_nan(1.0, squares)  # at (0, 0), where there is no gradient, use 0
    return dy * (b * slope), dy * (-a * slope)


_arctan2 = elementwise("arctan2", _arctan2_gradient)
_logaddexp = elementwise(
    "logaddexp", lambda dy, y, a, b: (dy * ops.sigmoid(a - b), dy * ops.sigmoid(b - a))
)


def _power_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    none = b == 0
    of_a = where(none, 0.0, dy) * (b * _power(a, where(none, 0.0, b - 1)))
    if b.is_constant:
        return of_a, None
    above = a > 0  # for other bases the gradient is 0
    return of_a, where(above, dy * (y * log(where(above, a, 1.0))), 0.0)


_power = elementwise("power", _power_gradient)


@operation
def add(x1: Any, x2: Any) -> Tensor:
    """Add x1 and x2, element-wise."""
    return _add(*_numbers(x1, x2))


@operation
def subtract(x1: Any, x2: Any) -> Tensor:
    """Subtract x2 from x1, element-wise."""
    return _subtract(*_numbers(x1, x2))


@operation
def multiply(x1: Any, x2: Any) -> Tensor:
    """Multiply x1 by x2, element-wise."""
    a, b = promoted(x1, x2)
    if a.dtype == "bool":
        return logical_and(a, b)
    return _multiply(a, b)


@operation
def divide(x1: Any, x2: Any) -> Tensor:
    """Divide x1 by x2, element-wise; integers give floatx."""
    a, b = promoted(x1, x2)
    dtype = floating(a.dtype)
    return _divide(convert(a, dtype), convert(b, dtype))


true_divide = operation(divide, "true_divide")


@operation
def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """Divide x1 by x2, element-wise; the result is 0 where x2 is 0."""
    a, b = promoted(x1, x2, at_least="float32")
    return where(b == 0, 0.0, a / where(b == 0, 1.0, b))


@operation
def floor_divide(x1: Any, x2: Any) -> Tensor:
    """Divide x1 by x2 and round down, element-wise; an integer divided by 0 gives 0."""
    return _floor_divide(*_numbers(x1, x2))


@operation
def mod(x1: Any, x2: Any) -> Tensor:
    """Compute the remainder of x1 / x2, element-wise, with the sign of x2; an integer modulo 0 is
    0."""
    a, b = _numbers(x1, x2)
    rest = _remainder(a, b)
    divides = is_float(a.dtype) or (b.is_constant and b.numpy().all())
    return rest if divides else where(b == 0, 0, rest)  # some devices return x1


@operation
def power(x1: Any, x2: Any) -> Tensor:
    """Raise x1 to the power of x2, element-wise. Integers to negative powers are truncated, as in
    Keras: to 0, except for 1 and -1.

    Raises:
        ValueError: for integers to the power of a negative Python integer.
    """
    if isinstance(x2, (int, float)) and x2 == 2 and not isinstance(x2, bool):
        return square(x1)
    a, b = _numbers(x1, x2)
    if is_float(a.dtype) or (b.is_constant and not (b.numpy() < 0).any()):
        return _power(a, b)
    if isinstance(x2, int):
        raise ValueError(
            f"power: integers to the power of {x2} are fractions: convert them to floats first, "
            f"with ops.cast(x, 'float32')."
        )
    size_one = where(a * a == 1, _power(a, b % 2), 0)
    return where(b < 0, size_one, _power(a, maximum(b, 0)))


@operation
def maximum(x1: Any, x2: Any) -> Tensor:
    """Compute the element-wise maximum of x1 and x2. Where they are equal, x1 gets the gradient."""
    return _maximum(*promoted(x1, x2))


@operation
def minimum(x1: Any, x2: Any) -> Tensor:
    """Compute the element-wise minimum of x1 and x2. Where they are equal, x1 gets the gradient."""
    return _minimum(*promoted(x1, x2))


@operation
def arctan2(x1: Any, x2: Any) -> Tensor:
    """Compute the angle of the point (x2, x1) in radians, from -pi to pi."""
    return _arctan2(*promoted(x1, x2, at_least="float32"))


@operation
def logaddexp(x1: Any, x2: Any) -> Tensor:
    """Compute log(exp(x1) + exp(x2)) without overflow, element-wise."""
    return _logaddexp(*promoted(x1, x2, at_least="float32"))


def _numbers(x1: Any, x2: Any) -> list[Tensor]:
    return [counting(t) for t in promoted(x1, x2)]


def _comparison(name: str, sign: str) -> Any:
    primitive = elementwise(name, dtype=truth)

    def function(x1: Any, x2: Any) -> Tensor:
        return primitive(*promoted(x1, x2))

    function.__name__ = name
    function.__doc__ = f"Return whether x1 {sign} x2, element-wise."
    return operation(function)


equal, not_equal = _comparison("equal", "=="), _comparison("not_equal", "!=")
less, less_equal = _comparison("less", "<"), _comparison("less_equal", "<=")
greater, greater_equal = _comparison("greater", ">"), _comparison("greater_equal", ">=")


def _logical(name: str) -> Any:
    primitive = elementwise(name, dtype=truth)

    def function(x1: Any, x2: Any) -> Tensor:
        return primitive(convert(x1, "bool"), convert(x2, "bool"))

    function.__name__ = name
    function.__doc__ = f"Compute the {name.replace('_', ' ')} of x1 and x2, element-wise."
    return operation(function)


logical_and, logical_or = _logical("logical_and"), _logical("logical_or")
logical_xor = _logical("logical_xor")


@operation
def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """Clip x to the interval from x_min to x_max.

    >>> from gpunn import ops
    >>> ops.clip([-1.0, 0.5, 2.0], 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return minimum(maximum(x, x_min), x_max)


@operation
def softplus(x: Any) -> Tensor:
    """Compute log(1 + exp(x)), element-wise."""
    return logaddexp(x, 0.0)
