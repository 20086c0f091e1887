"""Selection by masks, since a product with 0 would turn infinity into NaN."""

from __future__ import annotations

from typing import Any

import numpy as np


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
