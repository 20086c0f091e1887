"""Element-wise operations on two tensors, with broadcasting, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conversion import convert, promoted
from .dtypes import floating, is_float
from .elementwise import counting, elementwise, of_floats, square, where
from .tensor import Tensor, operation

_multiply, _divide, _power = elementwise("multiply"), elementwise("divide"), elementwise("power")
_remainder = elementwise("mod")


def _numbers(x1: Any, x2: Any) -> list[Tensor]:
    return [counting(t) for t in promoted(x1, x2)]


def float_pair(x1: Any, x2: Any) -> list[Tensor]:
    return promoted(x1, x2, at_least="float")


def of_pairs(
    name: str, converted: Callable[[Any, Any], list[Tensor]], meaning: str, more: str,
    example: str, printed: str,
) -> Callable[[Any, Any], Tensor]:
    """Return an operation on pairs of elements, which ``converted`` makes tensors of one dtype.

    Args:
        name: of a function of elements.
        meaning: what it returns.
        more: its derivative, and other notes.
        example, printed: the arguments of its example, and what that prints.
    """

    compute = elementwise(name)

    def function(x1: Any, x2: Any) -> Tensor:
        return compute(*converted(x1, x2))

    kinds = {promoted: "", _numbers: ", bool to int32", float_pair: " of floats"}
    one = f"; promoted to one\n            dtype{kinds[converted]}" if converted in kinds else ""
    function.__name__ = name
    function.__doc__ = f"""Return {meaning}.

    {more}

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result{one}.

    Raises:
        ValueError: if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.{name}({example}).tolist()
    {printed}
    """
    return operation(function)


add = of_pairs(
    "add", _numbers, "the sum of each pair of elements: ``y = x1 + x2``",
    "Both get the gradient of the result.", "[1, 2], [[10], [20]]", "[[11, 12], [21, 22]]",
)
subtract = of_pairs(
    "subtract", _numbers, "the difference of each pair of elements: ``y = x1 - x2``",
    "x2 gets the gradient with the opposite sign.", "[1.5, 2.0], 1", "[0.5, 1.0]",
)


@operation
def multiply(x1: Any, x2: Any) -> Tensor:
    """Multiply two tensors element-wise: ``y = x1 * x2``; for booleans, the logical AND.

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result; promoted to one
            dtype.

    Raises:
        ValueError: if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.multiply([1, 2, 3], [2, 0, -1]).tolist()
    [2, 0, -3]
    """
    a, b = promoted(x1, x2)
    if a.dtype == "bool":
        return logical_and(a, b)
    return _multiply(a, b)


@operation
def divide(x1: Any, x2: Any) -> Tensor:
    """Divide x1 by x2 element-wise: ``y = x1 / x2``.

    A division by 0 gives infinity, or NaN for ``0 / 0``; see `divide_no_nan`.

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result; promoted to one
            dtype; integers and booleans become floatx.

    Raises:
        ValueError: if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.divide([1, 6], [4, 3]).tolist()
    [0.25, 2.0]
    """
    a, b = promoted(x1, x2)
    dtype = floating(a.dtype)
    return _divide(convert(a, dtype), convert(b, dtype))


true_divide = operation(divide, "true_divide")


@operation
def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """Divide x1 by x2 element-wise, with 0 where x2 is 0: ``y = x1 / x2 if x2 != 0 else 0``.

    Where x2 is 0, both gradients are 0 too.

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result; promoted to one
            dtype of floats.

    Raises:
        ValueError: if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.divide_no_nan([1.0, 2.0], [0.0, 4.0]).tolist()
    [0.0, 0.5]
    """
    a, b = float_pair(x1, x2)
    return where(b == 0, 0.0, a / where(b == 0, 1.0, b))


floor_divide = of_pairs(
    "floor_divide", _numbers,
    "the quotient of each pair of elements, rounded down: ``y = floor(x1 / x2)``",
    "An integer divided by 0 gives 0, as in NumPy. The gradients are 0.", "[7, -7], 2", "[3, -4]",
)


@operation
def mod(x1: Any, x2: Any) -> Tensor:
    """Compute the remainder of a division, element-wise: ``y = x1 - x2 floor(x1 / x2)``.

    It has the sign of x2; `fmod` has the sign of x1. An integer modulo 0 is 0. The derivatives are
    1 with respect to x1 and ``-floor(x1 / x2)`` with respect to x2.

    Arguments and errors: as for `add`.

    >>> from gpunn import ops
    >>> ops.mod([7, -7], 3).tolist(), ops.mod(7.5, -2.0).item()
    ([1, 2], -0.5)
    """
    a, b = _numbers(x1, x2)
    rest = _remainder(a, b)
    divides = is_float(a.dtype) or (b.is_constant and b.numpy().all())
    return rest if divides else where(b == 0, 0, rest)  # some devices return x1


@operation
def power(x1: Any, x2: Any) -> Tensor:
    """Raise x1 to the power of x2, element-wise: ``y = x1^x2``.

    Integers to negative powers are truncated, as in Keras: to 0, except for 1 and -1. The
    derivative with respect to x2 is ``y log(x1)``, and 0 where x1 is not positive.

    Args:
        x1, x2: tensors or array-likes that broadcast to the shape of the result; promoted to one
            dtype, bool to int32.

    Raises:
        ValueError: if the shapes do not broadcast together, and for integers to the power of a
            negative Python integer.

    >>> from gpunn import ops
    >>> ops.power([1.0, 4.0], 0.5).tolist(), ops.power([2, -1], [3, -1]).tolist()
    ([1.0, 2.0], [8, -1])
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


maximum = of_pairs(
    "maximum", promoted, "the larger of two elements: ``y = max(x1, x2)``; NaN if one of them is",
    "Where they are equal, x1 gets the gradient.", "[1, 5], 3", "[3, 5]",
)
minimum = of_pairs(
    "minimum", promoted, "the smaller of two elements: ``y = min(x1, x2)``; NaN if one of them is",
    "Where they are equal, x1 gets the gradient.", "[1, 5], 3", "[1, 3]",
)
arctan2 = of_pairs(
    "arctan2", float_pair, "the angle of the point (x2, x1) in radians, from -pi to pi",
    "For positive x2 it is ``y = arctan(x1 / x2)``. At (0, 0), where it has no derivative, the\n"
    "    gradients are 0.",
    "[0.0, 1.0], [1.0, 0.0]", "[0.0, 1.5707963705062866]",
)
logaddexp = of_pairs(
    "logaddexp", float_pair,
    "the logarithm of a sum of exponentials: ``y = log(exp(x1) + exp(x2))``",
    "It is computed without overflow. The derivatives are ``sigmoid(x1 - x2)`` and\n"
    "    ``sigmoid(x2 - x1)``.",
    "[0.0, 200.0], 0.0", "[0.6931471824645996, 200.0]",
)


def _comparison(name: str, sign: str, of_2: str) -> Any:
    notes = f"Comparisons with NaN are {name == 'not_equal'}. The result is boolean."
    meaning = f"for each pair of elements whether ``x1 {sign} x2``"
    return of_pairs(name, promoted, meaning, notes, "[1, 2, 3], 2", of_2)


equal = _comparison("equal", "==", "[False, True, False]")
not_equal = _comparison("not_equal", "!=", "[True, False, True]")
less = _comparison("less", "<", "[True, False, False]")
less_equal = _comparison("less_equal", "<=", "[True, True, False]")
greater = _comparison("greater", ">", "[False, False, True]")
greater_equal = _comparison("greater_equal", ">=", "[False, True, True]")


def _logical(name: str, meaning: str, example: str) -> Any:
    return of_pairs(
        name, lambda x1, x2: [convert(x1, "bool"), convert(x2, "bool")],
        f"for each pair of elements whether {meaning} of x1 and x2 is true",
        "Nonzero values and NaN count as true. The result is boolean.",
        "[False, False, True], [False, True, True]", example,
    )


logical_and = _logical("logical_and", "each", "[False, False, True]")
logical_or = _logical("logical_or", "at least one", "[False, True, True]")
logical_xor = _logical("logical_xor", "exactly one", "[False, True, False]")


@operation
def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """Limit each element to an interval: ``y = min(max(x, x_min), x_max)``.

    The derivative with respect to x is 1 inside the interval and at its ends, and 0 outside.

    Args:
        x, x_min, x_max: tensors or array-likes that broadcast to the shape of the result; promoted
            to one dtype.

    Raises:
        ValueError: if the shapes do not broadcast together.

    >>> from gpunn import ops
    >>> ops.clip([-1.0, 0.5, 2.0], 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return minimum(maximum(x, x_min), x_max)


softplus = of_floats(
    lambda x: logaddexp(x, 0.0), "the softplus of each element: ``y = log(1 + exp(x))``",
    "It is computed without overflow. The derivative is the `sigmoid` of x. Source: Dugas et al.,\n"
    "    Incorporating second-order functional knowledge for better option pricing, 2000.",
    "[0.0, 1.0, 200.0]", "[  0.6931   1.3133 200.    ]", "softplus",
)
