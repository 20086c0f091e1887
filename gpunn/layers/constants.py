"""What an operation in a graph is called with: tensors of the graph, and constants.

Arguments are what Python has them as, with `Place` where a symbolic tensor stood. In files they
are values of JSON: ``{"input": 0}`` for a place, ``{"tuple": [...]}``, ``{"slice": [1, None,
None]}``, ``{"array": [[1.0]], "dtype": "float32"}``, ``{"parameter": ["dense", "kernel"]}`` and
``{"ellipsis": True}``; numbers, text, lists and None as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.core.arena import Parameter
from gpunn.ops.dtypes import standard
from gpunn.ops.tensor import Tensor

PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Place:
    """Of a symbolic tensor: the number of the input that stands there."""

    number: int


@dataclass(frozen=True)
class Named:
    """A parameter that was read from a file, before it is found: its layer's name and its own."""

    layer: str
    name: str


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with ``change`` applied to all that stands in its lists, tuples and slices."""
    if isinstance(value, (list, tuple)):
        return type(value)([changed(entry, change) for entry in value])
    if isinstance(value, slice):
        return slice(*(changed(end, change) for end in (value.start, value.stop, value.step)))
    return change(value)


def found_in(value: Any, kind: Any) -> Iterator[Any]:
    """What is of this type, anywhere in ``value``."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from found_in(entry, kind)
    elif isinstance(value, kind):
        yield value


def constant(value: Any) -> Any:
    """A constant argument as it is kept: arrays are copied, dtypes are known by their names.

    Raises:
        TypeError: for what is no number, array, text or parameter.
    """
    if isinstance(value, (*PLAIN, Place, Named, Parameter)) or value is Ellipsis:
        return value
    if isinstance(value, (type, np.dtype)):
        return standard(value)
    if isinstance(value, (Tensor, np.ndarray, np.generic)) or hasattr(value, "__array__"):
        array = np.array(value)
        if array.dtype.kind in "biuf":
            return array
    raise TypeError(
        f"a symbolic tensor is calculated with numbers, arrays, parameters and other symbolic "
        f"tensors; got {value!r}."
    )


def stored(value: Any) -> Any:
    """Arguments as JSON can hold them."""
    if isinstance(value, list):
        return [stored(entry) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [stored(entry) for entry in value]}
    if isinstance(value, slice):
        return {"slice": [stored(end) for end in (value.start, value.stop, value.step)]}
    if isinstance(value, Place):
        return {"input": value.number}
    if isinstance(value, Parameter):
        return {"parameter": [value.layer.name, value.name]}
    if isinstance(value, Named):
        return {"parameter": [value.layer, value.name]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    return {"ellipsis": True} if value is Ellipsis else value


def restored(value: Any) -> Any:
    """What `stored` has stored; anything else as it is.

    Raises:
        ValueError: for a dictionary that `stored` does not write.
    """
    if isinstance(value, (list, tuple)):
        return type(value)([restored(entry) for entry in value])
    if not isinstance(value, dict):
        return value
    kind, entry = next(iter(value.items()), ("", None))
    if kind == "input" and type(entry) is int:
        return Place(entry)
    if kind == "ellipsis":
        return ...
    if kind == "tuple":
        return tuple(map(restored, entry or ()))
    if kind == "slice" and isinstance(entry, list) and len(entry) == 3:
        return slice(*map(restored, entry))
    if kind == "parameter" and isinstance(entry, list) and len(entry) == 2:
        return Named(*entry)
    if kind == "array" and set(value) == {"array", "dtype"}:
        return np.array(entry, standard(value["dtype"]))
    raise ValueError(f"an argument of an operation is stored as {value!r}.")
