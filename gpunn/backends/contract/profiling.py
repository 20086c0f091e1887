"""What one step runs: its operations, with the shapes, bytes and flops of each."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from gpunn.common.holds import Hold

from .declaration import OpCall, OpDeclaration
from .device import Device


@dataclass
class ProfiledOperation:
    """One operation of a profiled step.

    Attributes:
        name: of the contract method.
        formula: name of the activation, loss, metric or optimizer it applied, or "".
        shapes: shapes of the arrays it touches, by argument name; of an array of which it
            reads some rows, that of these rows.
        bytes: its traffic, each array read once and written once: the size of these arrays,
            twice that of an array which it reads and writes.
        flops: 2mnk for a product, one for each element of the largest array otherwise.
        launches: how many kernels and matrix products it launches on a card. A launch that
            several operations share counts as the first one's. 0 on NumPy, and where array
            functions of CuPy do it.
        fused: whether it only shares a launch that counts as another's.
    """

    name: str
    formula: str
    shapes: dict[str, tuple[int, ...]]
    bytes: int
    flops: int
    launches: int = 0
    fused: bool = False


class Profile:
    """Lists what a backend is asked for in a ``with`` block, by the thread that is in it.

    Attributes:
        operations: the list.
        calls: for each of them, what performed it, and what it was given.
        performing: the operation that is performed just now.
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
        """Whether it lists what this backend is asked for."""
        assert self._hold is not None
        return backend.root is self._root and self._hold.alive

    def perform(
        self, operation: OpDeclaration, call: OpCall, run: Callable[[OpCall], None]
    ) -> None:
        """Perform an operation and list it; operations that it calls itself are not listed."""
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
    """The profile that this thread makes of the backend just now."""
    profile = _this_thread.profile
    return profile if profile is not None and profile.is_of(backend) else None


def describe(operation: OpDeclaration, call: OpCall) -> ProfiledOperation:
    """One call of an operation, as a profile lists it."""
    touched = operation.traffic(call)
    values = call.__dict__
    formula = next((type(values[k]).__name__ for k in _FORMULAS if values.get(k) is not None), "")
    if operation.flops is not None:
        flops = operation.flops(call)
    else:
        flops = max((int(array.size) for array, _ in touched.values()), default=0)
    return ProfiledOperation(
        operation.name,
        formula,
        {name: tuple(array.shape) for name, (array, _) in touched.items()},
        sum(int(array.nbytes) * (2 if both else 1) for array, both in touched.values()),
        flops,
    )


_FORMULAS = ("activation", "loss", "metric", "optimizer", "schedule", "constraint")
