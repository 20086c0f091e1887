"""Columns of frames of pandas, polars and Arrow, none of which is imported."""

from __future__ import annotations

from typing import Any

import numpy as np


def objects_of(column: Any) -> list[Any]:
    """Return the values of a column as Python's objects."""
    return (getattr(column, "to_pylist", None) or column.to_list)()


def type_of(column: Any) -> Any:
    """Return the type of a column, of whatever library: Arrow's own if pandas holds that."""
    dtype = column.dtype if hasattr(column, "dtype") else column.type
    return getattr(dtype, "pyarrow_dtype", dtype)


def values_of(x: Any) -> Any:
    """Return the values of a column as an array; anything else unchanged.

    NumPy would change some: it converts dates with a time zone of polars and Arrow to UTC, and
    large integers beside missing ones to the nearest float. These are kept, as Python's objects.

    >>> values_of([1, None])
    [1, None]
    """
    shape = getattr(x, "shape", (0,))
    if isinstance(x, np.ndarray) or not hasattr(x, "to_numpy") or len(shape) != 1:
        return x
    array, dtype = np.asarray(x), type_of(x)
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    has_zone = getattr(dtype, "tz", None) or getattr(dtype, "time_zone", None)
    whole = array.dtype.kind == "f" and str(dtype).lower().startswith(("int", "uint"))
    if (whole and (np.abs(array) >= 2.0**53).any()) or (array.dtype.kind == "M" and has_zone):
        found = np.empty(len(array), object)
        found[:] = objects_of(x)
        return found
    return array
