"""Operations on the bits of integers."""

from __future__ import annotations

from typing import Any

from gpunn.ops.conversion import promoted
from gpunn.ops.dtypes import is_float
from gpunn.ops.elementwise import counting, elementwise
from gpunn.ops.tensor import Tensor, operation, ops


def _integers(name: str, *given: Any) -> list[Tensor]:
    """Convert arguments to one dtype of integers or booleans; floats are refused."""
    tensors = promoted(*given)
    if is_float(tensors[0].dtype):
        raise TypeError(f"{name}: integers are expected; got {tensors[0].dtype}.")
    return tensors


def _of_bits(name: str, meaning: str, example: str, counts: bool = False) -> Any:
    """Return an operation on pairs of integers; ``counts``: whether booleans become int32."""
    primitive = elementwise(name)

    def function(x: Any, y: Any) -> Tensor:
        a, b = _integers(name, x, y)
        return primitive(counting(a), counting(b)) if counts else primitive(a, b)

    function.__name__ = name
    function.__doc__ = f"""{meaning}

    Args:
        x, y: integers or booleans that broadcast to the shape of the result, which is
            int32{"" if counts else ", or boolean if both are"}.

    Raises:
        TypeError: for floats.
        ValueError: if the shapes do not broadcast.

    >>> from gpunn import ops
    >>> {example}
    """
    return operation(function)


_invert = elementwise("invert")


@operation
def bitwise_not(x: Any) -> Tensor:
    """Invert each bit of integers: ``y = -x - 1``; for booleans, the logical NOT.

    ``x`` (...) -> (...): integers or booleans; the result has their dtype.

    Raises:
        TypeError: for floats.

    >>> from gpunn import ops
    >>> ops.bitwise_not([0, 5, -1]).tolist(), ops.bitwise_not([True, False]).tolist()
    ([-1, -6, 0], [False, True])
    """
    (x,) = _integers("bitwise_not", x)
    return ops.logical_not(x) if x.dtype == "bool" else _invert(x)


bitwise_invert = operation(bitwise_not, "bitwise_invert")


left_shift = _of_bits(
    "left_shift",
    "Shift the bits of x to the left by y: ``x 2^y`` in 32-bit integers, 0 for y >= 32.",
    "ops.left_shift([1, 2], 3).tolist()\n    [8, 16]", counts=True,
)
right_shift = _of_bits(
    "right_shift",
    "Shift the bits of x to the right by y: ``floor(x / 2^y)``, 0 or -1 for y >= 32.",
    "ops.right_shift([-8, 8], 1).tolist()\n    [-4, 4]", counts=True,
)
bitwise_left_shift = operation(left_shift, "bitwise_left_shift")
bitwise_right_shift = operation(right_shift, "bitwise_right_shift")
bitwise_and = _of_bits(
    "bitwise_and", "Compute the AND of each bit of two integers: 1 where both bits are 1.",
    "ops.bitwise_and(12, 10).item()\n    8",
)
bitwise_or = _of_bits(
    "bitwise_or", "Compute the OR of each bit of two integers: 1 where at least one bit is 1.",
    "ops.bitwise_or(12, 10).item()\n    14",
)
bitwise_xor = _of_bits(
    "bitwise_xor", "Compute the XOR of each bit of two integers: 1 where exactly one bit is 1.",
    "ops.bitwise_xor(12, 10).item()\n    6",
)
