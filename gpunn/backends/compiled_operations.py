"""What the parts of the compiled backend share: how a method finds its operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Array
from .compiled import chosen, library
from .numpy_backend import NumpyBackend

MASK64 = (1 << 64) - 1
_TYPES = {
    np.dtype(name): name
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
}  # fmt: skip


class Compiled(NumpyBackend):
    """NumPy's backend with the compiled operations at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.library, self.instructions = library(), chosen()
        self._operations: dict[tuple[str | None, ...], Callable[..., None]]
        self._operations = self.library.operations

    def _compiled(self, name: str, *choices: str | None) -> Any:
        """The operation with these choices (types, functors); None if there is none."""
        return self._operations.get((name, *choices))


def type_of(array: Array) -> str | None:
    """The name of its type as operations have it, or None. (NumPy makes it up at each look.)

    >>> type_of(np.zeros(1, np.float32)), type_of(np.zeros(1, complex))
    ('float32', None)
    """
    return _TYPES.get(array.dtype)


def in_one_piece(*arrays: Array | None) -> bool:
    """Whether all of them lie in memory as compiled operations want them: C-contiguous, aligned,
    in the byte order of this machine.

    >>> odd = np.zeros(9, np.uint8)[1:].view(np.float32)
    >>> [in_one_piece(x) for x in (np.zeros(2), np.zeros(4)[::2], odd, np.zeros(2, ">f4"))]
    [True, False, False, False]
    """
    return all(
        array is None
        or (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative)
        for array in arrays
    )


def alike(*arrays: Array | None) -> bool:
    """Whether all of them are in one piece and of one shape.

    Compiled operations look at one array's shape only: what would have to be spread out, or does
    not fit, is NumPy's to do or to refuse.

    >>> alike(np.zeros((2, 3)), None, np.ones((2, 3))), alike(np.zeros((2, 3)), np.zeros((2, 1)))
    (True, False)
    """
    return len({array.shape for array in arrays if array is not None}) <= 1 and in_one_piece(
        *arrays
    )


def row_length(x: Array) -> int:
    """How many numbers a row of x (..., features) has; 1 where that says nothing.

    >>> row_length(np.zeros((3, 4))), row_length(np.zeros(())), row_length(np.zeros((3, 0)))
    (4, 1, 1)
    """
    return max(x.shape[-1], 1) if x.ndim else 1
