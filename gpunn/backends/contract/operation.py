"""`operation`, which turns a declared method into an operation: checked, profiled, performed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from gpunn.common.names import snake_case

from .declaration import Argument, KernelCall, MatrixProduct, OpCall, OpDeclaration
from .device import Device
from .profiling import current_profile

Method = TypeVar("Method", bound=Callable[..., None])


def operation(
    *,
    where: tuple[str, ...] = (),
    products: Callable[[OpCall], list[MatrixProduct]] | None = None,
    by_kernel: KernelCall | None = None,
    **arrays: Argument,
) -> Callable[[Method], Method]:
    """Turn a method of the contract into an operation.

    The operation checks its arguments, is profiled, and calls the backend's method of the same
    name with an underscore or, without one, the kernel of the same name.

    Args:
        where: conditions on arguments and sizes, as Python expressions of their names.
        products: returns the matrix products of a call, for its profile.
        by_kernel: the arguments of the kernels of this name. The method then implements the
            operation in terms of ``self.xp``, for backends without them.
        **arrays: the declaration of each array: `reads`, `writes` or `rewrites`.
    """

    def declare(method: Method) -> Method:
        declared = OpDeclaration(method, arrays, where, products, by_kernel)
        inside = f"_{method.__name__}"

        @functools.wraps(method)
        def perform(self: Any, *args: Any, **kwargs: Any) -> None:
            call = declared.bind(self, args, kwargs)
            profile = current_profile(self)
            with self.stream_lock:
                if profile is None:
                    getattr(self, inside)(call)
                else:
                    profile.perform(declared, call, getattr(self, inside))

        perform.operation = declared  # type: ignore[attr-defined]
        return perform  # type: ignore[return-value]

    return declare


class Operations(Device):
    """Base class of groups of operations; it collects the operations of each class."""

    operations: dict[str, OpDeclaration] = {}  # noqa: RUF012 (rebuilt by each subclass)
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
            if declared.kernel is not None and not defines(cls, f"_{name}"):
                setattr(cls, f"_{name}", _by_kernel(declared))


def defines(entry: Any, name: str) -> bool:
    """Return whether a class or an object has an attribute, without importing its module."""
    bases = (entry if isinstance(entry, type) else type(entry)).__mro__
    found = next((vars(base)[name] for base in bases if name in vars(base)), None)
    return isinstance(found, _Later) or hasattr(entry, name)


class _Later:
    """Stands for an operation of a backend whose module is not imported yet."""

    def __init__(self, module: str, group: str) -> None:
        self._module, self._group = module, group

    def __set_name__(self, holder: type, name: str) -> None:
        self._holder, self._name = holder, name

    def __get__(self, entry: Any, owner: type | None = None) -> Any:
        found = vars(getattr(import_module(self._module), self._group))
        own = {name: x for name, x in found.items() if not name.startswith(("__", "_abc_"))}
        # The operations come last: another thread that calls one then finds all that it calls.
        for name in sorted(own, key=lambda name: isinstance(vars(self._holder).get(name), _Later)):
            setattr(self._holder, name, own[name])
        return own[self._name].__get__(entry, owner)


def operations_later(contract: type, base: Any, package: str) -> Any:
    """Return a class to inherit from: a backend's operations of a group of the contract.

    When one is first used, they are imported from a class of the package, such as
    ``numpy.gather_scatter.NumpyGatherScatter``, which inherits from ``base`` and does not call
    ``super()``; then the returned class has all that this class has.
    """
    module = f"{package}.{snake_case(contract.__name__)}"
    group = package.rpartition(".")[2].title() + contract.__name__
    names = [f"_{name}" for name, member in vars(contract).items() if hasattr(member, "operation")]
    return type(base)(group, (base,), {name: _Later(module, group) for name in names})


def _by_kernel(declared: OpDeclaration) -> Callable[[Any, OpCall], None]:
    """Return a backend method that calls the kernel of the operation's name."""

    def method(self: Any, call: OpCall) -> None:
        self.by_kernel(declared, call)

    method.__name__ = f"_{declared.name}"
    return method
