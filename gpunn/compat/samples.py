"""Samples of `gpunn.compat.data`: arrays, in tuples and dictionaries or alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.common.config import floatx
from gpunn.common.nested import replaced
from gpunn.common.random import Draws, drawing_from

NUMBERS = (bool, int, float, np.number, np.bool_)


class Samples:
    """Base class of data sets, which a sample may contain instead of an array."""


def each(structure: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to each array of a sample. Lists count as arrays."""
    return replaced(function, structure, lambda part: isinstance(part, list))


def leaves(structure: Any) -> list[Any]:
    """Return the arrays of a sample."""
    found: list[Any] = []
    each(structure, found.append)
    return found


def joined(samples: list[Any], function: Callable[[list[Any]], Any]) -> Any:
    """Apply a function to the lists of corresponding arrays of several samples.

    Raises:
        ValueError: for samples of different structures, naming the key that one lacks.
    """
    first = samples[0]
    for number, sample in enumerate(samples):
        _check_structure(first, sample, number)
    if isinstance(first, tuple):
        parts = zip(*samples, strict=True)
        return tuple(joined(list(part), function) for part in parts)
    if isinstance(first, Mapping):
        return {name: joined([sample[name] for sample in samples], function) for name in first}
    return function(samples)


def _check_structure(first: Any, sample: Any, number: int) -> None:
    which = f"Samples that are grouped must have one structure: sample {number} of the group"
    if (kind := _kind(sample)) != (wanted := _kind(first)):
        raise ValueError(f"{which} is {kind}, the first {wanted}.")
    if isinstance(first, tuple) and len(first) != len(sample):
        raise ValueError(f"{which} has {len(sample)} parts, the first {len(first)}.")
    if isinstance(first, Mapping) and first.keys() != sample.keys():
        if missing := [name for name in first if name not in sample]:
            raise ValueError(f"{which} lacks {missing[0]!r}, which the first has.")
        surplus = [name for name in sample if name not in first]
        raise ValueError(f"{which} has {surplus[0]!r}, which the first lacks.")


def _kind(sample: Any) -> str:
    if isinstance(sample, Mapping):
        return "a dictionary"
    return "a tuple" if isinstance(sample, tuple) else "an array"


def stacked(arrays: list[Any]) -> np.ndarray:
    """Stack arrays of one shape into a batch."""
    try:
        return np.stack(arrays)
    except ValueError:
        shapes = sorted({array.shape for array in arrays})
        raise ValueError(f"Samples of a batch must have one shape; got {shapes}.") from None


def array_of(x: Any) -> Any:
    """Convert a part of a sample to a NumPy array of its own; a memory map is not copied.

    Python's floats become floatx, its integers int32, or int64 if one is beyond it.

    Raises:
        TypeError: for values that are neither numbers nor strings; the first is named.
        ValueError: for integers beyond 64 bits.
    """
    if isinstance(x, Samples):
        return x
    array = _own(x)
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(hasattr(part, "dtype") for part in parts):
        return array
    if array.dtype.kind == "f":
        return array.astype(floatx())
    if array.dtype.kind == "i" and bool((array == array.astype(np.int32)).all()):
        return array.astype(np.int32)
    return array


def _typed(x: Any, dtype: Any) -> Any:
    """Convert a part of a sample to an array of a declared dtype; "string" leaves it unchanged.

    Raises:
        ValueError: for a number that an integer dtype cannot hold.
    """
    if isinstance(x, Samples) or dtype in (str, "string"):
        return array_of(x)
    array, kind = _own(x), np.dtype(dtype)
    if kind.kind in "iu" and array.dtype.kind in "iuf":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        below = array < high + 1.0 if array.dtype.kind == "f" else array <= high
        fits = (array >= low) & below
        if not fits.all():
            raise ValueError(
                f"output_types: {kind} cannot hold {array[~fits].flat[0]}, which the generator "
                f"yields. Give another dtype."
            )
    return array.astype(kind)


def typed(sample: Any, dtypes: list[Any]) -> Any:
    """Return the sample of a generator in the dtypes of ``output_types``."""
    if len(parts := leaves(sample)) != len(dtypes):
        raise ValueError(
            f"output_types names {len(dtypes)} dtypes, but the generator yields samples of "
            f"{len(parts)} parts."
        )
    left = iter(dtypes)
    return each(sample, lambda part: _typed(part, next(left)))


def _own(x: Any) -> np.ndarray:
    """Return values as an array that nobody else holds, if they are numbers or strings."""
    if isinstance(x, np.memmap):
        return np.asarray(x)
    array = np.array(x)
    if array.dtype.kind == "O" and all(isinstance(value, NUMBERS) for value in array.flat):
        array = np.array(x := array.tolist())  # the column of a frame, for example
    listed = isinstance(x, (list, tuple))
    beyond = array.dtype.kind == "f" and listed and bool((np.abs(array) >= 2.0**63).any())
    if array.dtype.kind == "O" or (listed and (array.dtype.kind in "US" or beyond)):
        _check_objects(np.array(x, object), array.dtype.kind)
    return array


def _check_objects(objects: np.ndarray, kind: str) -> None:
    """Raise an error for values that NumPy converts to something else, or to nothing.

    ``kind`` is the kind of the array that NumPy makes of them: it also makes strings of numbers
    among strings, and floats of integers that 64 bits cannot hold.
    """
    if all(isinstance(value, int) for value in objects.flat) and objects.size:
        most = max(objects.flat, key=abs)
        raise ValueError(f"A sample holds {most}, beyond 64 bits. Convert it to a float or string.")
    for at, value in np.ndenumerate(objects):
        if kind != "f" and not isinstance(value, (str, bytes)):
            place = f" at {list(at)}" if at else ""
            raise TypeError(
                f"A sample holds {value!r}{place}; a part holds either numbers or strings. Fill in "
                f'missing values, such as with "", and convert others, as by str(x).'
            )


def own(array: Any) -> Any:
    """Copy an array of a sample for somebody who may change it."""
    return array.copy() if isinstance(array, np.ndarray) else array


def tensor_of(array: Any) -> Any:
    """Convert a part of a sample to a tensor of its dtype, if it is numeric.

    Strings, and integers that no tensor holds, stay in a NumPy array.
    """
    if isinstance(array, (Samples, str)) or array.dtype.kind not in "biuf":
        return own(array)
    try:
        return ops.convert_to_tensor(array, array.dtype)
    except OverflowError:
        return own(array)


def call(function: Callable[..., Any], sample: Any, source: Draws) -> Any:
    """Call a user-defined function on a sample; the parts of a tuple are its arguments.

    It draws its random numbers from ``source``, see `gpunn.common.random.drawing_from`.
    """
    given = each(sample, tensor_of)
    with drawing_from(source):
        return function(*given) if isinstance(given, tuple) else function(given)
