"""Samples of `gpunn.utils.data`: arrays, in tuples and dictionaries or alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.common.config import floatx
from gpunn.common.nested import replaced


class Samples:
    """Base of a data set, which may stand in a sample in the place of an array."""


def each(structure: Any, function: Callable[[Any], Any]) -> Any:
    """A sample with a function applied to each of its arrays. Lists are arrays."""
    return replaced(function, structure, lambda part: isinstance(part, list))


def leaves(structure: Any) -> list[Any]:
    """The arrays of a sample."""
    found: list[Any] = []
    each(structure, found.append)
    return found


def joined(samples: list[Any], function: Callable[[list[Any]], Any]) -> Any:
    """A sample of what a function makes of the arrays that have the same place in samples."""
    first = samples[0]
    if isinstance(first, tuple):
        parts = zip(*samples, strict=True)
        return tuple(joined(list(part), function) for part in parts)
    if isinstance(first, Mapping):
        return {name: joined([sample[name] for sample in samples], function) for name in first}
    return function(samples)


def stacked(arrays: list[Any]) -> np.ndarray:
    """A batch of arrays.

    Raises:
        ValueError: they differ in shape.
    """
    try:
        return np.stack(arrays)
    except ValueError:
        shapes = sorted({array.shape for array in arrays})
        raise ValueError(f"samples of one shape make a batch; got {shapes}.") from None


def array_of(x: Any) -> Any:
    """A part of a sample as an array of NumPy; numbers of Python become floatx or int32."""
    if isinstance(x, Samples):
        return x
    array = np.asarray(x)
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(hasattr(part, "dtype") for part in parts):
        return array
    return array.astype({"f": floatx(), "i": "int32"}.get(array.dtype.kind, array.dtype))


def tensor_of(array: Any) -> Any:
    """A part of a sample as it is read: a tensor of its dtype, if it holds numbers."""
    if isinstance(array, Samples) or array.dtype.kind not in "biuf":
        return array
    return ops.convert_to_tensor(array, array.dtype)


def call(function: Callable[..., Any], sample: Any) -> Any:
    """What a function of the user's gives for a sample; the parts of a tuple are its arguments."""
    given = each(sample, tensor_of)
    return function(*given) if isinstance(given, tuple) else function(given)
