"""`operation`, which makes a declared method an operation: checked, profiled, then performed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .declaration import Argument, KernelCall, OpCall, OpDeclaration
from .device import Device
from .profiling import current_profile

Method = TypeVar("Method", bound=Callable[..., None])


def operation(
    *,
    where: tuple[str, ...] = (),
    flops: Callable[[OpCall], int] | None = None,
    by_kernel: KernelCall | None = None,
    **arrays: Argument,
) -> Callable[[Method], Method]:
    """Make a method of the contract an operation: it checks its arguments, is profiled, and
    calls the backend's own method of the same name with an underscore; or, where there is none, the
    kernel of the same name.

    Args:
        where: conditions on arguments and sizes, as Python expressions of their names.
        flops: of a call, how many; one for each element of the largest array without.
        by_kernel: what the kernels of this name take. Then the method says, in terms of
            ``self.xp``, what is done without them.
        **arrays: of every array, what it is: `reads`, `writes` or `rewrites`.
    """

    def declare(method: Method) -> Method:
        declared = OpDeclaration(method, arrays, where, flops, by_kernel)
        inside = f"_{method.__name__}"

        @functools.wraps(method)
        def perform(self: Any, *args: Any, **kwargs: Any) -> None:
            call = declared.bind(self, args, kwargs)
            profile = current_profile(self)
            with self.turn:
                if profile is None:
                    getattr(self, inside)(call)
                else:
                    profile.perform(declared, call, getattr(self, inside))

        perform.operation = declared  # type: ignore[attr-defined]
        return perform  # type: ignore[return-value]

    return declare


class Operations(Device):
    """Some of the operations, and how a class knows those it has."""

    operations: dict[str, OpDeclaration] = {}  # noqa: RUF012 (made anew by each subclass)
    """The operations by name."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operations = {
            name: member.operation
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if hasattr(member, "operation")
        }
        for name, declared in cls.operations.items():
            if declared.kernel is not None and not hasattr(cls, f"_{name}"):
                setattr(cls, f"_{name}", _by_kernel(declared))


def _by_kernel(declared: OpDeclaration) -> Callable[[Any, OpCall], None]:
    """The method of a backend's that calls the kernel of the operation's name."""

    def method(self: Any, call: OpCall) -> None:
        self.by_kernel(declared, call)

    method.__name__ = f"_{declared.name}"
    return method
