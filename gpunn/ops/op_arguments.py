"""The arguments of a call on tensors: the positions of the tensors, and constants.

Arguments are Python objects, with a `Place` for each tensor. In files they are JSON values:
``{"input": 0}`` for a place, ``{"tuple": [...]}``, ``{"dict": {...}}``, ``{"slice": [1,
None, None]}``, ``{"array": [[1.0]], "dtype": "float32"}``, ``{"parameter": ["dense", "kernel"]}``
and ``{"ellipsis": True}``; numbers, strings, lists and None are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.nested import replaced
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert, read_in_trace
from gpunn.ops.dtypes import standard
from gpunn.ops.tensor import Tensor

PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Place:
    """The position, among the arguments of a call, of the tensor with this number."""

    number: int


@dataclass(frozen=True)
class Named:
    """An unresolved parameter from a file: the names of its layer and of itself."""

    layer: str
    name: str


def with_tensors(x: Any, dtype: str | None = None) -> Any:
    """Return ``x``, in any structure, with its arrays replaced by tensors.

    A model or layer of the ``dtype`` float64 gets arrays of floats as they are, others floatx.
    """

    def tensor(entry: Any) -> Any:
        if not isinstance(entry, np.ndarray):
            return entry
        return convert(entry, dtype if dtype == "float64" and entry.dtype.kind == "f" else None)

    return replaced(tensor, x)


def inputs_as_tensors(x: Any, dtype: str | None = None) -> Any:
    """Return ``x`` with its arrays and, in a trace, its parameters and variables replaced by
    tensors; ``dtype`` is as for `with_tensors`."""
    return replaced(read_in_trace, with_tensors(x, dtype))


def constant(value: Any) -> Any:
    """Return a constant argument for storage: arrays are copied, dtypes become their names."""
    if isinstance(value, (*PLAIN, Place, Named, Parameter)) or value is Ellipsis:
        return value
    if isinstance(value, (type, np.dtype)):
        return standard(value)
    if isinstance(value, (Tensor, np.ndarray, np.generic)) or hasattr(value, "__array__"):
        array = np.array(value)
        if array.dtype.kind in "biuf":
            return array
    raise TypeError(
        f"operations on symbolic tensors take numbers, arrays, parameters and symbolic tensors; "
        f"got {value!r}."
    )


def stored(value: Any) -> Any:
    """Convert arguments to JSON values."""
    if isinstance(value, list):
        return [stored(entry) for entry in value]
    if isinstance(value, Mapping):
        return {"dict": {key: stored(entry) for key, entry in value.items()}}
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
    """Convert what `stored` returned back to arguments. Another dictionary is refused, all else
    unchanged."""
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
    if kind == "dict" and isinstance(entry, dict):
        return {key: restored(part) for key, part in entry.items()}
    if kind == "slice" and isinstance(entry, list) and len(entry) == 3:
        return slice(*map(restored, entry))
    if kind == "parameter" and isinstance(entry, list) and len(entry) == 2:
        return Named(*entry)
    if kind == "array" and set(value) == {"array", "dtype"}:
        return np.array(entry, standard(value["dtype"]))
    raise ValueError(f"an argument of an operation is stored in an unknown form: {value!r}.")


@dataclass(frozen=True)
class OpArguments:
    """The arguments of a call, with the tensors passed separately.

    Attributes:
        args, kwargs: the arguments, with a `Place` for each tensor, at any depth of lists, tuples
            and dictionaries.
    """

    args: tuple[Any, ...] = (Place(0),)
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        args: Any,
        kwargs: Mapping[str, Any],
        is_tensor: Callable[[Any], bool],
        leaf: Callable[[Any], bool] = lambda x: False,
    ) -> tuple[list[Any], OpArguments]:
        """Separate the tensors among the arguments, in order, from the rest.

        ``leaf`` returns whether a list, tuple or dictionary is treated as a whole.

        >>> OpArguments.of(([1.5, 2.5], "sum"), {}, lambda x: isinstance(x, float))[0]
        [1.5, 2.5]
        """
        tensors: list[Any] = []

        def place(x: Any) -> Any:
            if not is_tensor(x):
                return x
            tensors.append(x)
            return Place(len(tensors) - 1)

        args = tuple(replaced(place, x, leaf) for x in args)
        return tensors, cls(args, {name: replaced(place, x, leaf) for name, x in kwargs.items()})

    def filled(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with these tensors at their positions."""

        def put(x: Any) -> Any:
            return tensors[x.number] if isinstance(x, Place) else x

        args = tuple([replaced(put, x) for x in self.args])
        return args, {name: replaced(put, x) for name, x in self.kwargs.items()}

    def is_like(self, other: OpArguments) -> bool:
        """Return whether both are equal; False if they hold arrays."""
        try:
            return bool(self == other)
        except ValueError:
            return False

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as JSON values; `from_config` restores them."""
        return {"args": stored(list(self.args)), "kwargs": stored(dict(self.kwargs))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OpArguments:
        return cls(tuple(restored(config["args"])), restored(config["kwargs"]))


Given = OpArguments  # its name in pickles of earlier versions
