"""The types of numbers that operations compute in, and which of them a result has.

Operations compute in four: bool, int32, float32, float64. Others can be named, as ``"uint8"`` or
``"bfloat16"``: their numbers are held in one of the four, rounded or wrapped as they would be.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpunn.common.config import floatx

COMPUTED = ("bool", "int32", "float32", "float64")  # each of them goes up to those behind it
LEAST, MOST = -(2**31), 2**31 - 1  # of int32
_COMPUTED_IN = {"b": "bool", "i": "int32", "u": "int32", "f": "float32"}


def named(dtype: Any) -> str:
    """The name of a dtype, also of one that is not computed in; None is floatx.

    Raises:
        ValueError: for what is no dtype, or one of complex numbers, text or objects.

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
    if str(dtype) == "bfloat16":  # which NumPy does not know by itself
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
    """The dtype that is computed in place of ``dtype``: int32 for all integers, float32 for
    float16 and bfloat16; None is floatx.

    Raises:
        ValueError: as of `named`.

    >>> standard("uint8"), standard("float16"), standard(bool), standard("double")
    ('int32', 'float32', 'bool', 'float64')
    """
    name = named(dtype)
    if name in COMPUTED:
        return name
    return "float32" if name == "bfloat16" else _COMPUTED_IN[np.dtype(name).kind]


@cache
def bounds(name: str) -> tuple[int, int]:
    """The least and the largest number of a dtype of integers, or of bool, by its name.

    >>> bounds("int8"), bounds("bool")
    ((-128, 127), (0, 1))
    """
    if name == "bool":
        return 0, 1
    ends = np.iinfo(name)
    return int(ends.min), int(ends.max)


def largest(name: str) -> float:
    """The largest finite number of a dtype of floats, by its name."""
    return (2 - 2**-7) * 2.0**127 if name == "bfloat16" else float(np.finfo(name).max)


def result_type(*dtypes: Any) -> str:
    """The dtype of a result of these: dtypes, or ``int`` and ``float`` for numbers of Python.

    Numbers of Python are weak: they take the type of what they meet, if it can hold them.

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
    """``dtype`` if it is one of floats, else floatx."""
    return dtype if is_float(dtype) else floatx()
