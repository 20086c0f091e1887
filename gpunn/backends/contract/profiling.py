"""Profiles of a step: its operations, with the shapes, bytes and flops of each."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from gpunn.common.holds import Hold
from gpunn.common.importing.light_dataclass import dataclass

from .declaration import MatrixProduct, OpCall, OpDeclaration
from .device import Device


@dataclass
class ProfiledOperation:
    """One operation of a profiled step.

    Attributes:
        name: of the contract method.
        formula: name of the activation, loss, metric or optimizer it applied, or "".
        shapes: shapes of the arrays it accesses, by argument name; if it reads only some rows
            of an array, the shape of these rows.
        bytes: its traffic, each array read once and written once: the size of these arrays,
            twice the size of an array that it reads and writes.
        flops: of its products; without any, one for each element of the largest array.
        launches: the number of kernels and matrix products it launches on a GPU. A launch that
            several operations share counts for the first one. 0 on NumPy, and where array
            functions of CuPy perform it.
        fused: whether it only shares a launch that counts for another.
        products: the matrix products that it computes.
    """

    name: str
    formula: str
    shapes: dict[str, tuple[int, ...]]
    bytes: int
    flops: int
    launches: int = 0
    fused: bool = False
    products: tuple[MatrixProduct, ...] = ()


class Profile:
    """Records the operations that the current thread calls on a backend in a ``with`` block.

    Attributes:
        calls: for each of them, the function that performed it, and its call.
        performing: the operation that is being performed.
    """

    def __init__(self, root: Device) -> None:
        self.operations: list[ProfiledOperation] = []
        self.calls: list[tuple[Callable[[OpCall], None], OpCall]] = []
        self.performing: ProfiledOperation | None = None
        self._root = root
        self._hold: Hold | None = None

    def __enter__(self) -> list[ProfiledOperation]:
        self._hold = Hold(sys._getframe(1))
        self._outer, _this_thread.profile = _this_thread.profile, self
        return self.operations

    def __exit__(self, *error: object) -> None:
        _this_thread.profile = self._outer
        if self._hold is not None:
            self._hold.release()

    def is_of(self, backend: Device) -> bool:
        """Return whether it records the operations of this backend."""
        assert self._hold is not None
        return backend.root is self._root and self._hold.alive

    def perform(
        self, operation: OpDeclaration, call: OpCall, run: Callable[[OpCall], None]
    ) -> None:
        """Perform an operation and record it; operations that it calls itself are not recorded."""
        if self.performing is not None:
            run(call)
            return
        self.performing = describe(operation, call)
        self.operations.append(self.performing)
        self.calls.append((run, call))
        try:
            run(call)
        finally:
            self.performing = None


class _ThisThread(threading.local):
    profile: Profile | None = None


_this_thread = _ThisThread()


def current_profile(backend: Device) -> Profile | None:
    """Return the profile that this thread is making of the backend, if any."""
    profile = _this_thread.profile
    return profile if profile is not None and profile.is_of(backend) else None


def describe(operation: OpDeclaration, call: OpCall) -> ProfiledOperation:
    """Describe one call of an operation for a profile."""
    touched = operation.traffic(call)
    values = call.__dict__
    formula = next((type(values[k]).__name__ for k in _FORMULAS if values.get(k) is not None), "")
    products = tuple(operation.products(call)) if operation.products is not None else ()
    flops = sum(product.flops for product in products)
    if operation.products is None:
        flops = max((int(array.size) for array, _ in touched.values()), default=0)
    return ProfiledOperation(
        operation.name,
        formula,
        {name: tuple(array.shape) for name, (array, _) in touched.items()},
        sum(int(array.nbytes) * (2 if both else 1) for array, both in touched.values()),
        flops,
        products=products,
    )


_FORMULAS = ("activation", "loss", "metric", "optimizer", "schedule", "constraint")
