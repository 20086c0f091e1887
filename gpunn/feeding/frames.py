"""Conversion of pandas, polars and Arrow tables and labels to arrays, column by column.

None of these libraries is imported: a frame is recognized by its attributes. Each column is read
separately, since a table of mixed types (numbers and booleans, say) becomes an array of objects.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunn.common.names import counted
from gpunn.common.numeric import is_missing


def columns_of(x: Any) -> list[Any] | None:
    """Return the column names of a frame, so that ``x[name]`` is a column; None if not a frame.

    >>> columns_of({"a": [1]}) is None
    True
    """
    if isinstance(x, Mapping) or not hasattr(x, "__getitem__"):
        return None
    names = getattr(x, "column_names", None)  # Arrow, whose ``columns`` are the columns themselves
    names = getattr(x, "columns", None) if names is None else names
    return None if names is None else list(names)


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a table with named columns."""
    if isinstance(x, np.ndarray) or len(getattr(x, "shape", ())) != 2:
        return False
    return hasattr(x, "column_names") or (hasattr(x, "columns") and hasattr(x, "dtypes"))


def is_column(x: Any) -> bool:
    """Whether ``x`` is a column of such a table, or its index."""
    return not isinstance(x, np.ndarray) and hasattr(x, "to_numpy") and not is_frame(x)


def each_column(frame: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a frame with their names, which may be duplicates."""
    if hasattr(frame, "column_names"):  # Arrow
        yield from ((str(n), frame.column(k)) for k, n in enumerate(frame.column_names))
    elif hasattr(frame, "iloc"):  # pandas
        yield from ((str(n), frame.iloc[:, k]) for k, n in enumerate(frame.columns))
    else:  # polars
        yield from ((str(n), frame[:, k]) for k, n in enumerate(frame.columns))


def from_frame(frame: Any, argument: str) -> np.ndarray:
    """Return the values of a frame (rows, columns), in a dtype that holds all values.

    Raises:
        TypeError: naming the first column that holds text, dates or other non-numbers.
    """
    found = [
        from_column(column, f"{argument}: the column {name!r}")
        for name, column in each_column(frame)
    ]
    return np.stack(found, axis=1) if found else np.empty(tuple(frame.shape))


def from_column(column: Any, what: str) -> np.ndarray:
    """Return the values of a column (rows,), NaN where missing; ``what`` names it in errors.

    Raises:
        TypeError: for text, dates and other non-numbers.
    """
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind != "O" or array.ndim != 1:
        kind: Any = "text" if array.dtype.kind in "UST" else array.dtype
        first = array.ravel()[:1].tolist()
        raise _no_numbers(what, kind, first[0] if first else None)
    missing = are_missing(array)
    for value in array[~missing]:
        if not isinstance(value, (numbers.Number, np.bool_)):
            kind = "text" if isinstance(value, str) else type(value).__name__
            raise _no_numbers(what, kind, value)
    if missing.any():
        array = np.where(missing, np.nan, array).astype(np.float64)
    found = np.array(array.tolist()) if len(array) else array
    return found if found.dtype.kind in "biuf" else array.astype(np.float64)  # as decimals


def check_known(values: Any, argument: str) -> None:
    """Check an array, a column or a frame for missing values: None, NaN, NaT, pandas's NA, nulls of
    polars and Arrow. None itself passes the check.

    Raises:
        ValueError: naming the column, if it has a name, and the first row.

    >>> check_known([0, None, 1], "y")
    Traceback (most recent call last):
    ValueError: y has 1 missing value (None), the first in row 1: leave such rows out, or fill them.
    """
    if values is None or hasattr(values, "toarray"):
        return
    one = [(getattr(values, "name", None), values)]
    for name, column in each_column(values) if is_frame(values) else one:
        array = np.asarray(column)
        missing = are_missing(array).reshape(len(array) if array.ndim else 1, -1).any(axis=1)
        if missing.any():
            named = isinstance(name, str) and name
            what = f"{argument}: the column {name!r}" if named else argument
            first = int(missing.argmax())
            row = np.ravel(array[first] if array.ndim else array)
            raise ValueError(
                f"{what} has {counted(int(missing.sum()), 'missing value')} "
                f"({row[are_missing(row)][0]}), the first in row {first}: leave such rows out, or "
                f"fill them."
            )


def are_missing(array: np.ndarray) -> np.ndarray:
    """Return which elements are missing, in the shape of the array."""
    if array.dtype.kind in "fcmM":
        return np.asarray(array != array)
    if array.dtype.kind not in "OT":  # T: NumPy's variable-length strings
        return np.zeros(array.shape, bool)
    found = (is_missing(value) for value in array.ravel())
    return np.fromiter(found, bool, array.size).reshape(array.shape)


def labels_of(x: Any) -> np.ndarray:
    """Convert labels to an array; categories become their numbers, in their order.

    Raises:
        ValueError: if a label is missing.
        TypeError: for text, dates and other non-numbers.

    >>> labels_of([2, 0]).tolist()
    [2, 0]
    """
    check_known(x, "labels")
    codes = getattr(getattr(x, "cat", x), "codes", None)  # a pandas Series or Categorical
    if codes is not None:
        return np.asarray(codes)
    if str(getattr(x, "dtype", "")).startswith(("Categorical", "Enum")):  # of polars
        return np.asarray(x.to_physical())
    array = np.asarray(x)
    if is_column(x) or array.dtype.kind not in "biuf":
        return from_column(array.ravel(), "labels").reshape(array.shape)
    return array


def _no_numbers(what: str, kind: Any, value: Any) -> TypeError:
    return TypeError(
        f"{what} holds {kind} ({value!r}), but numbers are expected: leave it out, or convert it "
        f"to numbers, as pandas.get_dummies and layers.StringLookup do."
    )
