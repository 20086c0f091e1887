"""Arrays as users bring them: of numbers, finite, and where a step can read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends.base import Array, Backend
from .memory import room_for_data

CHUNK = 1 << 18  # elements looked at or converted at a time: no second copy of a data set


def as_array(x: Any, argument: str, backend: Backend) -> Any:
    """``x`` as an array of real numbers, of NumPy or of the device; copied only if it must be.

    Raises:
        ValueError, TypeError: for what is no such array.
    """
    if backend.owns(x) or isinstance(x, np.ndarray):
        array = x
    elif hasattr(x, "__cuda_array_interface__"):
        array = backend.upload(x)
    else:
        array = read(x, argument)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{argument} must hold real numbers; its dtype is {array.dtype}. "
            f"Convert it first (texts to numbers, missing values filled)."
        )
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"{argument} has masked values: fill them, or leave their rows out.")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def read(x: Any, argument: str) -> np.ndarray:
    """``x``, which is no array yet, as one of NumPy."""
    if x is None:
        raise ValueError(f"{argument} is missing.")
    if isinstance(x, Mapping):
        raise TypeError(f"{argument} must be an array; got a dictionary with keys {list(x)}.")
    if isinstance(x, (str, bytes, set)):
        raise TypeError(f"{argument} must be an array of numbers; got {x!r}.")
    if hasattr(x, "toarray"):
        raise TypeError(f"{argument} is a sparse matrix; pass its toarray().")
    try:
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        reason = "its rows differ in length" if "inhomogeneous" in str(error) else str(error)
        raise ValueError(f"{argument} cannot be read as one array of numbers: {reason}.") from None


def on_device(backend: Backend, array: Any, dtype: str, argument: str) -> Array:
    """``array`` on the device, checked for NaN and infinity piece by piece.

    Its dtype is kept (a data set of bytes stays bytes), but wider floats become the
    model's dtype, converted piece by piece: no second float64 array is made. A memory
    map of the host stays one: its rows are converted when they are gathered.

    Raises:
        ValueError: for a value that is not finite.
        OutOfMemoryError: if the device has no room for it.
    """
    with room_for_data(argument, array, backend):
        return _on_device(backend, array, dtype, argument)


def _on_device(backend: Backend, array: Any, dtype: str, argument: str) -> Array:
    if array.dtype.kind != "f":
        return backend.upload(array)
    narrows = array.dtype.itemsize > np.dtype(dtype).itemsize
    if narrows and not (isinstance(array, np.memmap) and backend.owns(array)):
        result = backend.empty(array.shape, dtype)
    else:
        narrows, result = False, backend.upload(array)
    rows = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        with np.errstate(over="ignore", invalid="ignore"):  # reported below as what it is
            if narrows:
                piece = piece.astype(dtype)
                backend.write(result[start : start + rows], piece)
            # A sum is finite unless something in it is not, or is absurdly large.
            total = float(piece.sum(dtype=dtype))
        if not math.isfinite(total):
            _refuse_non_finite(backend, array[start : start + rows], start, dtype, argument)
    return result


def _refuse_non_finite(
    backend: Backend, piece: Array, start: int, dtype: str, argument: str
) -> None:
    values = backend.read(piece) if backend.owns(piece) else piece
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(values.astype(dtype)))
    if len(wrong):
        row, *rest = wrong[0].tolist()
        index = ", ".join(map(str, (start + row, *rest)))
        raise ValueError(
            f"{argument} holds {values[tuple(wrong[0])]} at [{index}]; every value must be "
            f"finite in {dtype}. Remove the row or fill in the value before training."
        )
