"""Dispatch of the compiled backend's methods to operations of the library."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall, OpDeclaration
from gpunn.backends.contract.declaration import REALS
from gpunn.backends.numpy.backend import NumpyBackend

from .cpu_kernels import chosen, library

MASK64 = (1 << 64) - 1
_TYPES = {dtype: dtype.name for dtype in REALS}


class CompiledOperations(NumpyBackend):
    """The NumPy backend with access to the compiled operations of a library, by default the best
    for this CPU.

    Attributes:
        compiled_operations: the library's operations, by name and choices.
    """

    def __init__(self, given: tuple[Any, str] | None = None) -> None:
        super().__init__()
        self.library, self.instructions = given or (library(), chosen())
        self.compiled_operations: dict[tuple[str | None, ...], Callable[..., None]]
        self.compiled_operations = self.library.operations
        if self._compiled("attention", "float32"):  # not in pages
            self.blocks_from = 0

    def _compiled(self, name: str, *choices: str | None) -> Any:
        """Return the operation with these choices (types, functors); None if there is none."""
        return self.compiled_operations.get((name, *choices))

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        found = self._compiled(operation.name, name_of(call.dtype))
        if found is None or operation.kernel is None:
            super().by_kernel(operation, call)
        else:
            self._do(found, *operation.kernel.arguments(call))


def name_of(dtype: np.dtype) -> str | None:
    """Return the name of a type in operations, or None. (``dtype.name`` is slow.)"""
    return _TYPES.get(dtype)


Arguments = tuple[Any, ...]
Choices = Callable[[OpCall], tuple[str | None, ...]]


def by_type(call: OpCall) -> tuple[str | None, ...]:
    """Return the choice of most operations: the type of their arrays."""
    return (name_of(call.dtype),)


def by_formula(argument: str) -> Choices:
    """Return the choices of an operation that applies a formula: type and functor."""
    return lambda call: (name_of(call.dtype), getattr(call, argument).functor)


def compiled(
    choices: Choices = by_type, name: Callable[[OpCall], str] | None = None
) -> Callable[[Callable[[Any, OpCall], Arguments]], Callable[[Any, OpCall], None]]:
    """Make a method that returns the arguments of a compiled operation perform that operation.

    If the library has none with these choices, as for a custom formula, NumPy's method of
    the same name is called instead.

    Args:
        choices: what selects the operation besides its name: types and names of functors.
        name: of the operation; by default the name of the method.
    """

    def declare(
        arguments: Callable[[Any, OpCall], Arguments],
    ) -> Callable[[Any, OpCall], None]:
        own_name = arguments.__name__[1:]
        by_numpy = getattr(NumpyBackend, arguments.__name__)

        @functools.wraps(arguments)
        def perform(self: Any, call: OpCall) -> None:
            key = name(call) if name else own_name, *choices(call)
            operation = self.compiled_operations.get(key)
            if operation is None:
                by_numpy(self, call)
            else:
                self._do(operation, *arguments(self, call))

        return perform

    return declare
