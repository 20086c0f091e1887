"""The dtypes that operations compute in, and type promotion.

Operations compute in four dtypes: bool, int32, float32, float64. Others, such as ``"uint8"`` or
``"bfloat16"``, are held in one of the four, with values rounded or wrapped accordingly.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpunn.common.config import floatx

COMPUTED = ("bool", "int32", "float32", "float64")  # each promotes to those after it
LEAST, MOST = -(2**31), 2**31 - 1  # of int32
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
