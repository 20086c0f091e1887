"""Data that many models share: converted once, and the rows of each model taken from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.common.nested import is_group
from gpunn.feeding.data import is_array
from gpunn.feeding.frames import from_column, from_frame, is_column, is_frame
from gpunn.feeding.sparse import is_sparse


@dataclass(frozen=True)
class Shared:
    """Inputs and targets of all rows.

    Attributes:
        x, y: as `Model.fit` takes them; ``y`` may be None.
        rows: the number of rows.
    """

    x: Any
    y: Any
    rows: int

    @classmethod
    def of(cls, x: Any, y: Any, named: bool) -> Shared:
        """Convert what each model would convert again.

        Args:
            named: whether a model takes columns of frames by their names.

        Raises:
            ValueError: for numbers of rows that differ.
        """
        x, y = converted(x, named), converted(y, False)
        rows = row_count(x)
        if y is not None and (found := row_count(y)) != rows:
            raise ValueError(f"y has {found} rows, x has {rows}; they must be equal.")
        return cls(x, y, rows)

    def take(self, rows: np.ndarray | None) -> tuple[Any, Any]:
        """Return x and y of these rows, or of all, without a copy."""
        return taken(self.x, rows), taken(self.y, rows)


def check_arrays(x: Any) -> None:
    """Refuse batches, which only one model could read."""
    if x is None or not is_array(x):
        raise TypeError(
            f"x must be arrays, of which each model takes its rows; got {type(x).__name__}. Train "
            f"models on batches one by one, with fit."
        )


def converted(x: Any, named: bool) -> Any:
    """Return arrays of lists and, unless columns are taken by name, of frames of numbers."""
    if isinstance(x, Mapping) and not is_frame(x):
        return {name: converted(entry, named) for name, entry in x.items()}
    if is_group(x):
        return [converted(entry, named) for entry in x]
    with suppress(TypeError):  # text, which a layer may encode; others are refused by `fit`
        if is_frame(x):
            return x if named else from_frame(x, "x")
        if is_column(x):
            return from_column(x, "x")
    if isinstance(x, (list, tuple)):
        return np.asarray(x)
    return x


def row_count(x: Any) -> int:
    """Return the number of rows of the first array in ``x``.

    >>> row_count({"a": np.ones((3, 2))}), row_count([np.ones(4), np.ones(4)])
    (3, 4)
    """
    while True:
        if isinstance(x, Mapping) and not is_frame(x):
            x = next(iter(x.values()), ())
        elif is_group(x):
            x = x[0]
        else:
            break
    shape = getattr(x, "shape", None)
    if shape is not None and not len(shape):
        raise ValueError(f"fit_many: data need a batch axis, (rows, ...); got {x!r}.")
    return int(shape[0]) if shape is not None else len(x)


def taken(x: Any, rows: np.ndarray | None) -> Any:
    """Return rows of arrays, frames, columns, sparse matrices, and groups of them; None for all.

    >>> taken([np.arange(4), np.arange(4) * 2], np.array([3, 0, 0]))
    [array([3, 0, 0]), array([6, 0, 0])]
    """
    if x is None or rows is None:
        return x
    if isinstance(x, Mapping) and not is_frame(x):
        return {name: taken(entry, rows) for name, entry in x.items()}
    if isinstance(x, list):
        return [taken(entry, rows) for entry in x]
    if hasattr(x, "iloc"):  # pandas
        return x.iloc[rows]
    if hasattr(x, "column_names") or hasattr(x, "combine_chunks"):  # Arrow
        return x.take(rows)
    if is_sparse(x):
        return x.tocsr()[rows]
    if not isinstance(x, np.ndarray) and get_backend().owns(x):
        return x[get_backend().upload(rows)]
    return x[rows]


def row_numbers(name: str, given: Any, count: int, rows: int) -> list[np.ndarray | None]:
    """Return the row numbers of each model, or None for all rows.

    Args:
        name: of the argument.
        given: None, or for each of ``count`` models None, numbers or a mask of all ``rows``.

    Raises:
        ValueError, TypeError: naming the entry that is not one of these.

    >>> row_numbers("rows", [[2, 0], [True, False, False], None], 3, 3)
    [array([2, 0]), array([0]), None]
    """
    if given is None:
        return [None] * count
    if isinstance(given, (str, Mapping)) or not hasattr(given, "__len__"):
        raise TypeError(
            f"{name} must be None or a list with the row numbers of each model; got {given!r:.80}."
        )
    if len(given) != count:
        raise ValueError(
            f"{name} has {len(given)} entries for {count} models; it needs one for each."
        )
    return [_numbers(f"{name}[{k}]", entry, rows) for k, entry in enumerate(given)]


def _numbers(name: str, given: Any, rows: int) -> np.ndarray | None:
    if given is None:
        return None
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        array = np.empty(())
    if array.ndim != 1 or (array.dtype.kind not in "biu" and array.size):
        raise TypeError(
            f"{name} must be row numbers, or True and False for each row; got "
            + (f"shape {array.shape} and dtype {array.dtype}." if array.ndim else f"{given!r:.80}.")
        )
    if array.dtype.kind == "b":
        if len(array) != rows:
            raise ValueError(f"{name} is a mask of {len(array)} rows; x has {rows}.")
        array = np.flatnonzero(array)
    if not len(array):
        raise ValueError(f"{name} is empty: each model needs at least one row.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= rows:
        raise ValueError(
            f"{name} holds the row {low if low < 0 else high}; x has the rows 0 to {rows - 1}."
        )
    return array.astype(np.int64, copy=False)


def for_each(name: str, given: Any, count: int, single: Callable[[Any], bool]) -> Sequence[Any]:
    """Return the value of an argument for each of ``count`` models.

    Args:
        given: a list with an entry for each model, or one value for all.
        single: function that returns whether a list is one value.

    Raises:
        ValueError: for a list of another length.
    """
    if not isinstance(given, (list, tuple)) or single(given):
        return [given] * count
    if len(given) != count:
        raise ValueError(
            f"{name} has {len(given)} entries for {count} models; pass one for each, or one value "
            f"for all."
        )
    return given
