"""The arguments of a compiled function: arrays, and everything else, which selects a program."""

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
MOST_INTEGERS = 3
"""Values of a Python integer that have a program each; further ones become an argument of it."""


class Arguments:
    """The arguments of a call: arrays, and everything else."""

    def __init__(self, args: Any, kwargs: Any, integers: dict[int, set[int]]) -> None:
        self.arrays: list[np.ndarray] = []  # tensors, arrays and floats, in order, on the host
        self._integers, self._count = integers, 0  # the integers so far
        self.reason: str | None = None  # why Python runs a call with them
        self.kept: list[Any] = []  # objects compared by identity
        found = [self._taken(x) for x in args]
        named = {name: self._taken(x) for name, x in kwargs.items()}
        self._args, self._kwargs = found, named
        self.key = (  # the same for calls that one program can do
            tuple(key for _, key in found), tuple((name, k) for name, (_, k) in named.items()),
            floatx(),
        )  # fmt: skip

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
        if type(x) is not int and isinstance(x, (int, str, bytes, type(None))):
            return x, (type(x), x)  # a member of an IntEnum equals the number, and those of others
        if type(x) is int:
            seen = self._integers.setdefault(self._count, set())
            self._count += 1
            if len(seen) < MOST_INTEGERS:
                seen.add(x)
            if x in seen:
                return x, (int, x)
        elif not isinstance(x, float) and not _is_array(x):
            self.kept.append(x)
            return x, id(x)
        return self._placed(x)

    def _placed(self, x: Any) -> tuple[Any, Any]:
        array = _host_array(x)
        self.arrays.append(array)
        return _Place(len(self.arrays) - 1), (array.shape, array.dtype)

    def with_tensors(self, tensors: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with these tensors for the arrays."""

        def filled(x: Any) -> Any:
            return replaced(lambda p: tensors[p.number] if isinstance(p, _Place) else p, x)

        return (
            [filled(x) for x, _ in self._args],
            {name: filled(x) for name, (x, _) in self._kwargs.items()},
        )


class _Place:
    def __init__(self, number: int) -> None:
        self.number = number


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
    if isinstance(x, float):
        return np.asarray(x, floatx())
    return convert(x).numpy()
