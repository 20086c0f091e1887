"""`operation`, which makes a declared method an operation: checked, profiled, then performed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .declaration import Argument, Given, KernelCall, Operation
from .device import Device
from .profiling import current_profile

Method = TypeVar("Method", bound=Callable[..., None])


def operation(
    *,
    where: tuple[str, ...] = (),
    flops: Callable[[Given], int] | None = None,
    by_kernel: KernelCall | None = None,
    **arrays: Argument,
) -> Callable[[Method], Method]:
    """Make a method of the contract an operation: it checks its arguments, is profiled, and
    calls the backend's own method of the same name with an underscore; or, where there is none, the
    kernel of the same name.

    Args:
        where: conditions on arguments and sizes, as Python expressions of their names.
        flops: of what is given, how many; one for each element of the largest array without.
        by_kernel: what the kernels of this name take. Then the method says, in terms of
            ``self.xp``, what is done without them.
        **arrays: of every array, what it is: `reads`, `writes` or `rewrites`.
    """

    def declare(method: Method) -> Method:
        declared = Operation(method, arrays, where, flops, by_kernel)
        own_name = f"_{method.__name__}"

        @functools.wraps(method)
        def perform(self: Any, *args: Any, **kwargs: Any) -> None:
            given = declared.bind(self, args, kwargs)
            profile = current_profile(self)
            if by_kernel is None:
                inside = getattr(self, own_name)
            else:
                inside = functools.partial(self.by_kernel, declared)
            with self.turn:
                if profile is None:
                    inside(given)
                else:
                    profile.perform(declared, given, inside)

        perform.operation = declared  # type: ignore[attr-defined]
        return perform  # type: ignore[return-value]

    return declare


class Operations(Device):
    """Some of the operations, and how a class knows those it has."""

    operations: dict[str, Operation] = {}  # noqa: RUF012 (made anew by each subclass)
    """The operations by name."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operations = {
            name: member.operation
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if hasattr(member, "operation")
        }
