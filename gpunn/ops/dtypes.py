"""The dtypes that operations compute in, type promotion, and the values of other dtypes.

Operations compute in four dtypes: bool, int32, float32, float64. Others, such as ``"uint8"`` or
``"bfloat16"``, are held in int32, or in a float dtype that represents all their values. Integers
wrap around, as NumPy's do; floats are rounded to the nearest, ties to even.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.config import epsilon, floatx

COMPUTED = ("bool", "int32", "float32", "float64")  # each promotes to those after it
LEAST, MOST = -(2**31), 2**31 - 1  # of int32
WRAPPED = ("int8", "int16", "uint8", "uint16")
"""Integer dtypes whose values int32 all holds."""
HALVED = ("float16", "bfloat16")
"""Float dtypes whose values float32 all holds."""
_COMPUTED_IN = {"b": "bool", "i": "int32", "u": "int32", "f": "float32"}


def named(dtype: Any) -> str:
    """Return the name of a dtype, whether computed in or not; None means floatx.

    Raises:
        ValueError: for anything but a dtype of real numbers.

    >>> named("uint8"), named(np.float16), named(bool), named("double"), named("bfloat16")
    ('uint8', 'float16', 'bool', 'float64', 'bfloat16')
    """
    if dtype is None:
        return floatx()
    if dtype.__class__ is str and dtype in COMPUTED:  # as in most calls
        return dtype
    name = {"float": "float32", float: floatx(), int: "int32"}.get(dtype)
    if name is not None:
        return name
    if str(dtype) == "bfloat16":  # unknown to NumPy itself
        return "bfloat16"
    try:
        given = np.dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype must name a type of numbers; got {dtype!r}.") from None
    return _of_dtype(given)


@cache
def _of_dtype(given: np.dtype) -> str:
    if given.kind not in _COMPUTED_IN:
        raise ValueError(f"dtype must be one of real numbers; got {given.name!r}.")
    return "float64" if given.kind == "f" and given.itemsize > 8 else given.name


def standard(dtype: Any) -> str:
    """Return the dtype that ``dtype`` is computed in: int32 for all integers, float32 for float16
    and bfloat16; None means floatx.

    Raises:
        ValueError: as in `named`.

    >>> standard("uint8"), standard("float16"), standard(bool), standard("double")
    ('int32', 'float32', 'bool', 'float64')
    """
    name = named(dtype)
    if name in COMPUTED:
        return name
    return "float32" if name == "bfloat16" else _COMPUTED_IN[np.dtype(name).kind]


def integers_of(dtype: Any) -> str | None:
    """Return the name of an integer dtype, or of bool; None for a float dtype.

    >>> integers_of("uint8"), integers_of(bool), integers_of("float64")
    ('uint8', 'bool', None)
    """
    return None if is_float(standard(dtype)) else named(dtype)


@cache
def bounds(name: str) -> tuple[int, int]:
    """Return the smallest and largest value of an integer dtype, or bool, by name.

    >>> bounds("int8"), bounds("bool")
    ((-128, 127), (0, 1))
    """
    if name == "bool":
        return 0, 1
    ends = np.iinfo(name)
    return int(ends.min), int(ends.max)


def largest(name: str) -> float:
    """Return the largest finite value of a float dtype, by name."""
    return (2 - 2**-7) * 2.0**127 if name == "bfloat16" else float(np.finfo(name).max)


def result_type(*dtypes: Any) -> str:
    """Return the promoted dtype of dtypes; ``int`` and ``float`` mean Python numbers.

    Python numbers are weakly typed: they take the dtype of the other operand, if it can hold them.

    >>> result_type("int32", "float32"), result_type("bool", int), result_type("float64", float)
    ('float32', 'int32', 'float64')
    >>> result_type("int32", float), result_type(int, float)
    ('float32', 'float32')
    """
    strong = [COMPUTED.index(standard(d)) for d in dtypes if d not in (int, float)]
    found = COMPUTED[max(strong)] if strong else None
    if float in dtypes and (found is None or not is_float(found)):
        return floatx()
    if int in dtypes and found in (None, "bool"):
        return "int32"
    return found or floatx()


def is_float(dtype: str) -> bool:
    return dtype.startswith("float")


def floating(dtype: str) -> str:
    """Return ``dtype`` if it is a float dtype, else floatx."""
    return dtype if is_float(dtype) else floatx()


# -- values of other dtypes: on the host


def from_host(array: np.ndarray, name: str) -> np.ndarray:
    """Convert an array of numbers, or of Python integers, to the values of a dtype, in the dtype
    that it is computed in. One that has it already is returned as it is.

    Raises:
        OverflowError: for an integer that the dtype, or int32, cannot hold, and for one that is
            too large for a float.
        ValueError: for NaN converted to integers.
    """
    if name == "bool":
        return array.astype(bool, copy=False)
    if is_float(standard(name)):
        return _floats(array, name)
    low, high = int32_bounds(name)
    if array.dtype.kind == "f":
        array = np.trunc(array)
    types = (np.int32, name) if array.dtype.kind in "biu" else ()
    fits = not array.size or (types and all(np.can_cast(array.dtype, t) for t in types))
    if not fits:
        ends = [array.min(), array.max()]  # NaN is both
        least, most = (end.item() if isinstance(end, np.generic) else end for end in ends)
        if not (low <= least and most <= high):
            _refuse(array, name, low, high)
    return array.astype(np.int32, copy=False)


def first_inexact(array: np.ndarray, name: str) -> tuple[int, ...] | None:
    """Return the index of the first integer of an array that a float dtype cannot hold exactly.

    >>> first_inexact(np.array([2**30, 2**24 + 1]), "float32")
    (1,)
    """
    digits = np.finfo(name).nmant + 1
    if array.dtype.kind not in "iu" or array.dtype.itemsize * 8 <= digits or not array.size:
        return None
    if -(2**digits) <= int(array.min()) and int(array.max()) <= 2**digits:
        return None
    size = array.astype(np.uint64) if array.dtype.kind == "u" else np.abs(array).astype(np.uint64)
    lowest = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))  # the lowest set bit
    wrong = np.argwhere(size // lowest >= np.uint64(1 << digits))
    return tuple(wrong[0].tolist()) if len(wrong) else None


def int32_bounds(name: str) -> tuple[int, int]:
    """Return the smallest and largest value of an integer dtype that int32 can hold."""
    low, high = bounds(name)
    return max(low, LEAST), min(high, MOST)


def _floats(array: np.ndarray, name: str) -> np.ndarray:
    stored = standard(name)
    with np.errstate(over="ignore"):
        try:
            found = array.astype(np.float64 if name in HALVED else stored, copy=False)
        except OverflowError:
            found = np.full(array.shape, np.inf)
        if array.dtype.kind == "O" and not np.isfinite(found).all():
            wrong = max(array.flat, key=abs)
            raise OverflowError(f"{_shown(wrong)} is too large for a number of {stored}.")
        if name not in HALVED:
            return found
        rounded = np.empty(found.shape, stored)
        write_rounded(np, found, rounded, name)
    return rounded


def _refuse(array: np.ndarray, name: str, low: int, high: int) -> None:
    wrong = next(x for x in array.ravel().tolist() if not low <= x <= high)
    if wrong != wrong:
        raise ValueError(
            f"NaN cannot be converted to {name}: replace it first, with ops.nan_to_num or "
            f"ops.where."
        )
    if name in WRAPPED:
        reason = f"{name}: it holds {low} to {high}. ops.cast wraps integers around"
    else:
        reason = (
            f"{name}: tensors hold its values from {low} to {high}, as int32. Use floats instead; "
            f"float64 holds integers up to 2**53"
        )
    raise OverflowError(f"{_shown(wrong)} is beyond {reason}.")


def _shown(number: Any) -> str:
    text = str(number)
    return text if len(text) < 40 else f"{text[:20]}... ({len(text)} characters)"


# -- and in steps


def write_wrapped(backend: Backend, out: Array, x: Array, dtype: str) -> None:
    """out = the values of an int32 array modulo the range of one of `WRAPPED`."""
    xp, bits = backend.xp, np.dtype(dtype).itemsize * 8
    if dtype.startswith("u"):
        xp.bitwise_and(x, (1 << bits) - 1, out=out)
    else:  # shift to the top and back, to extend the sign bit
        xp.left_shift(x, 32 - bits, out=out)
        xp.right_shift(out, 32 - bits, out=out)


def write_rounded(xp: Any, x: Array, out: Array, name: str) -> None:
    """out = the values of an array of floats, rounded to one of `HALVED`."""
    if name == "float16":
        xp.copyto(out, x.astype("float16"))
        return
    x = xp.ascontiguousarray(x)
    unsigned, dropped = (np.uint32, 16) if x.dtype.itemsize == 4 else (np.uint64, 45)
    word = x.view(unsigned)
    odd = (word >> unsigned(dropped)) & unsigned(1)
    up = word + (unsigned((1 << (dropped - 1)) - 1) + odd)
    y = (up >> unsigned(dropped) << unsigned(dropped)).view(x.dtype)
    if x.dtype.itemsize == 8:  # float64 has smaller and larger values than bfloat16
        y = xp.where(xp.abs(x) < 2.0**-126, xp.rint(x * 2.0**133) * 2.0**-133, y)
        y = xp.where(xp.abs(y) > largest(name), xp.copysign(xp.inf, y), y)
    xp.copyto(out, xp.where(xp.isfinite(x), y, x).reshape(out.shape), casting="unsafe")


def probabilities_kept(dtype: Any) -> tuple[float, float]:
    """Return the bounds that probabilities are clipped to, in this dtype."""
    number = np.dtype(dtype).type
    return float(number(epsilon())), float(number(1.0 - epsilon()))
