"""Samples of `gpunn.compat.data`: arrays, in tuples and dictionaries or alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.common.config import floatx
from gpunn.common.nested import replaced


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
    """Apply a function to the lists of corresponding arrays of several samples."""
    first = samples[0]
    if isinstance(first, tuple):
        parts = zip(*samples, strict=True)
        return tuple(joined(list(part), function) for part in parts)
    if isinstance(first, Mapping):
        return {name: joined([sample[name] for sample in samples], function) for name in first}
    return function(samples)


def stacked(arrays: list[Any]) -> np.ndarray:
    """Stack arrays of one shape into a batch."""
    try:
        return np.stack(arrays)
    except ValueError:
        shapes = sorted({array.shape for array in arrays})
        raise ValueError(f"Samples of a batch must have one shape; got {shapes}.") from None


def array_of(x: Any) -> Any:
    """Convert a part of a sample to a NumPy array; Python numbers become floatx or int32."""
    if isinstance(x, Samples):
        return x
    array = np.asarray(x)
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(hasattr(part, "dtype") for part in parts):
        return array
    return array.astype({"f": floatx(), "i": "int32"}.get(array.dtype.kind, array.dtype))


def tensor_of(array: Any) -> Any:
    """Convert a part of a sample to a tensor of its dtype, if it is numeric."""
    if isinstance(array, (Samples, str)) or array.dtype.kind not in "biuf":
        return array
    return ops.convert_to_tensor(array, array.dtype)


def call(function: Callable[..., Any], sample: Any) -> Any:
    """Call a user-defined function on a sample; the parts of a tuple are its arguments."""
    given = each(sample, tensor_of)
    return function(*given) if isinstance(given, tuple) else function(given)
