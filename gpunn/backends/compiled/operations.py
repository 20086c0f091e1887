"""What the parts of the compiled backend share: how a method finds its operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.backends.numpy.backend import NumpyBackend

from .select import chosen, library

MASK64 = (1 << 64) - 1
_TYPES = {
    np.dtype(name): name
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
}  # fmt: skip


class CompiledOperations(NumpyBackend):
    """NumPy's backend with the compiled operations at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.library, self.instructions = library(), chosen()
        self._compiled_operations: dict[tuple[str | None, ...], Callable[..., None]]
        self._compiled_operations = self.library.operations

    def _compiled(self, name: str, *choices: str | None) -> Any:
        """The operation with these choices (types, functors); None if there is none."""
        return self._compiled_operations.get((name, *choices))


def name_of(dtype: np.dtype) -> str | None:
    """The name of a type as operations have it, or None. (NumPy makes it up at each look.)

    >>> name_of(np.dtype("float32")), name_of(np.dtype(complex))
    ('float32', None)
    """
    return _TYPES.get(dtype)
