"""How the methods of the compiled backend find their operation in the library."""

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
    """NumPy's backend with the compiled operations at hand.

    Args:
        given: the library, and what it was built for; by default what suits this CPU.

    Attributes:
        compiled_operations: those of the library, each by its name and choices.
    """

    def __init__(self, given: tuple[Any, str] | None = None) -> None:
        super().__init__()
        self.library, self.instructions = given or (library(), chosen())
        self.compiled_operations: dict[tuple[str | None, ...], Callable[..., None]]
        self.compiled_operations = self.library.operations

    def _compiled(self, name: str, *choices: str | None) -> Any:
        """The operation with these choices (types, functors); None if there is none."""
        return self.compiled_operations.get((name, *choices))

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        found = self._compiled(operation.name, name_of(call.dtype))
        if found is None or operation.kernel is None:
            super().by_kernel(operation, call)
        else:
            self._do(found, *operation.kernel.arguments(call))


def name_of(dtype: np.dtype) -> str | None:
    """The name of a type as operations have it, or None. (``dtype.name`` is slow.)

    >>> name_of(np.dtype("float32")), name_of(np.dtype(complex))
    ('float32', None)
    """
    return _TYPES.get(dtype)


Arguments = tuple[Any, ...]
Choices = Callable[[OpCall], tuple[str | None, ...]]


def by_type(call: OpCall) -> tuple[str | None, ...]:
    """The choice of most operations: the type of their arrays."""
    return (name_of(call.dtype),)


def by_formula(argument: str) -> Choices:
    """The choices of an operation that applies a formula: type and functor."""
    return lambda call: (name_of(call.dtype), getattr(call, argument).functor)


def compiled(
    choices: Choices = by_type, name: Callable[[OpCall], str] | None = None
) -> Callable[[Callable[[Any, OpCall], Arguments]], Callable[[Any, OpCall], None]]:
    """Make a method, which gives the arguments of a compiled operation, perform that operation.

    Where the library has none with these choices, as for a formula of a user, NumPy's method of
    the same name is called instead.

    Args:
        choices: what the operation is chosen by beside its name: types and names of functors.
        name: of the operation; that of the method by default.
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
