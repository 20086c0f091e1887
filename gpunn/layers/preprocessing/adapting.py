"""The data passed to `adapt`: one array of all samples, or batches of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gpunn.common.numeric import is_missing

ARRAY_MARKS = ("__array__", "__dlpack__", "__cuda_array_interface__")


def batches(data: Any, steps: int | None = None) -> Iterator[Any]:
    """Yield ``data`` itself if it is one array, else the batches that it yields.

    A list is one array if it holds numbers, strings or lists of them. It is batches if it holds
    arrays.

    Raises:
        TypeError: for a dictionary, or for something that cannot be iterated.

    >>> [list(batches(given)) for given in ([1, 2], iter([[1], [2]]))]
    [[[1, 2]], [[1], [2]]]
    """
    if isinstance(data, dict):
        raise TypeError(f"adapt takes one array or column; got a dictionary, {list(data)}.")
    is_list = isinstance(data, (list, tuple, range))
    several = is_list and len(data) > 0 and all(len(_shape(entry)) > 0 for entry in data)
    if any(hasattr(data, mark) for mark in ARRAY_MARKS) or (is_list and not several):
        yield data
        return
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        by_number = hasattr(data, "__len__") and hasattr(data, "__getitem__")
        if isinstance(data, (str, bytes)) or not by_number:
            raise TypeError(f"adapt takes an array, a column or batches of them; got {data!r}.")
        data = map(data.__getitem__, range(len(data)))
    for batch in itertools.islice(data, steps):
        yield batch[0] if isinstance(batch, tuple) else batch


def _shape(entry: Any) -> Any:
    shape = getattr(entry, "shape", ())
    return () if shape is None else shape


def numbers(batch: Any, name: str) -> np.ndarray:
    """Return a batch as a float64 array of finite numbers.

    Raises:
        TypeError: for strings and other objects; the first is named.
        ValueError: for no rows, and for a value that is missing or not finite.
    """
    array = np.asarray(batch)
    if array.dtype.kind not in "biuf":
        array = from_objects(array, lambda value, place: (
            f"{name}.adapt: the data must be real numbers; at {place} there is {value!r}. Use "
            f"StringLookup for strings."
        ))
    if array.ndim == 0 or not array.size:
        raise ValueError(f"{name}.adapt: there are no values; the data's shape is {array.shape}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(
            f"{name}.adapt: the data hold {array[tuple(at)]} at {at}; every value must be finite. "
            f"Remove such rows, or fill in the values."
        )
    return array


def from_objects(array: np.ndarray, message: Callable[[Any, list[int]], str]) -> np.ndarray:
    """Return objects as float64, NaN for missing ones; the first that is no number, and its place,
    make the message of a TypeError."""
    found = np.empty(array.shape)
    for at, value in np.ndenumerate(array):
        if is_missing(value):
            found[at] = np.nan
        elif isinstance(value, (bool, int, float, np.number, np.bool_)):
            found[at] = value
        else:
            raise TypeError(message(value, list(at)))
    return found
