"""The arguments of a compiled function: arrays, numbers, and everything else, which selects a
program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.config import floatx
from gpunn.common.nested import replaced
from gpunn.core.operators import Operators
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor

_AS_THEY_ARE = {np.dtype(name) for name in ("float32", "int32", "bool")}


class Arguments:
    """The arguments of a call.

    Attributes:
        arrays: tensors and arrays, in order, on the host.
        numbers: integers and floats of Python, in order.
        kept: objects compared by identity.
        key: what is equal for calls with arguments of one form.
    """

    def __init__(self, args: Any, kwargs: Any) -> None:
        self.arrays: list[np.ndarray] = []
        self.numbers: list[Any] = []
        self.kept: list[Any] = []
        found = [self._taken(x) for x in args]
        named = {name: self._taken(x) for name, x in kwargs.items()} if kwargs else {}
        self._args, self._kwargs = found, named
        keys = tuple([(name, key) for name, (_, key) in named.items()]) if named else ()
        self.key = tuple([key for _, key in found]), keys, floatx()

    @property
    def kind(self) -> Any:
        """What is equal for calls that differ in shapes only."""
        return _without_shapes(self.key)

    def _taken(self, x: Any) -> tuple[Any, Any]:
        """Return an argument with places for its arrays, and its key."""
        if type(x) is np.ndarray:
            return self._placed(x)
        if isinstance(x, (list, tuple)) and _is_structure(x):
            parts = [self._taken(one) for one in x]
            kind = type(x)
            made = [part for part, _ in parts]
            form = kind(*made) if hasattr(x, "_fields") else kind(made)
            return form, (kind, *(key for _, key in parts))
        if isinstance(x, dict):
            named = {name: self._taken(one) for name, one in x.items()}
            made_of = {name: part for name, (part, _) in named.items()}
            self.kept += [name for name in x if not isinstance(name, (int, str, bytes))]
            keys = ((type(name), name, key) for name, (_, key) in named.items())
            return made_of, (dict, *keys)
        if type(x) is int or (isinstance(x, float) and not isinstance(x, np.generic)):
            self.numbers.append(x)
            return _Number(len(self.numbers) - 1), type(x)
        if isinstance(x, (int, str, bytes, type(None))):
            return x, (type(x), x)  # members of two IntEnums equal the same number
        if not _is_array(x):
            self.kept.append(x)
            return x, id(x)
        return self._placed(x)

    def _placed(self, x: Any) -> tuple[Any, Any]:
        array = _host_array(x)
        self.arrays.append(array)
        return _Place(len(self.arrays) - 1), (array.shape, array.dtype)

    def filled(
        self, tensors: Sequence[Tensor], numbers: Sequence[Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with these tensors for the arrays, and these numbers."""

        def of(x: Any) -> Any:
            if isinstance(x, _Number):
                return numbers[x.number]
            return tensors[x.number] if isinstance(x, _Place) else x

        def filled(x: Any) -> Any:
            return replaced(of, x)

        return (
            [filled(x) for x, _ in self._args],
            {name: filled(x) for name, (x, _) in self._kwargs.items()},
        )


def _without_shapes(key: Any) -> Any:
    if not isinstance(key, tuple):
        return key
    if len(key) == 2 and isinstance(key[1], np.dtype):
        return key[1]
    return tuple(map(_without_shapes, key))


class _Place:
    def __init__(self, number: int) -> None:
        self.number = number


class _Number(_Place):
    pass


def _is_structure(x: Any) -> bool:
    """Whether a list or tuple holds arguments, not the numbers of one array."""
    return not (isinstance(x, list) and x and all(isinstance(one, float) for one in x))


def _is_array(x: Any) -> bool:
    if isinstance(x, Operators) and not isinstance(x, Tensor):
        return False  # a weight or variable: it is read where it is
    return isinstance(x, list) or (hasattr(x, "__array__") and not isinstance(x, type))


def as_argument(x: Any) -> Any:
    """Return an argument as the function gets it: an array of numbers as a tensor."""
    return convert(x) if isinstance(x, np.ndarray) and x.dtype.kind in "biuf" else x


def _host_array(x: Any) -> np.ndarray:
    """Return an argument as an array of a dtype that tensors have."""
    if type(x) is np.ndarray and x.dtype in _AS_THEY_ARE:
        return x
    if isinstance(x, Tensor):
        return x.numpy()
    return convert(x).numpy()
