"""What a device is: its arrays, the operations on them, and how steps are repeated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from gpunn.common.config import runs_eagerly

from . import Contract, OpCall, OpDeclaration
from .device import Array as Array
from .device import Device
from .formulas import FormulaProtocol
from .profiling import Profile, current_profile

Step = Callable[[], None]


class NotTraceableError(RuntimeError):
    """A step cannot be traced: it does more than ask for operations."""


class Program(Protocol):
    """A step that is performed over and over. ``run(n)`` performs it n times."""

    def run(self, steps: int) -> None: ...


class EagerProgram:
    """A program that calls its step each time: see `gpunn.config.run_eagerly`."""

    def __init__(self, backend: Backend, step: Step) -> None:
        self._backend, self._step = backend, step

    def run(self, steps: int) -> None:
        with self._backend.turn, np.errstate(all="ignore"):
            for _ in range(steps):
                self._step()


class Backend(Contract, Device):
    """One device and the operations on it. Subclasses: numpy, cupy.

    Several threads may use a backend at once. A program is made on a copy that only one
    of them uses, see `isolated`: it has its own work arrays and its own trace. After an
    interrupt its state is not known, and it is thrown away.
    """

    cache_bytes: int | None = None
    """A large batch of a prediction is cut into pieces whose arrays take at most as many bytes.
    None: it is not cut."""

    stops = True
    """Whether a step ends where `check_range` finds something. Elsewhere the error is raised when
    the device is next waited for."""

    precisions: Collection[str] | None = None
    """Formats that a product can round its factors to, see `gpunn.backends.shared.precision`.
    None where products would not become faster: there asking for one has no effect."""

    def __init__(self) -> None:
        lacking = [name for name in self.operations if not hasattr(self, f"_{name}")]
        if lacking:
            raise TypeError(f"{type(self).__name__} must define _{', _'.join(lacking)}.")
        super().__init__()

    def convert(self, x: Any, out: Array, scale: float = 1.0, offset: float = 0.0) -> None:
        """out = x * scale + offset, for an array of the host or the device, of any real dtype
        and any memory layout."""
        if type(x) is np.ndarray and scale == 1.0 and offset == 0.0:
            self.write(out, x)  # there is nothing to compute
            return
        self.affine(self.upload(x), scale, offset, out)

    def _parameters(self, formula: FormulaProtocol) -> Array:
        """The numbers of a formula, on the device."""
        return self._constant("parameters", np.array(formula.parameters or (0.0,), np.float64))

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        """An operation by the kernel of its name, where the backend has it; else by arrays."""
        operation.by_arrays(self, call)

    def profile(self) -> Profile:
        """List the operations that this thread calls in a block: shapes, bytes, flops.

        >>> from gpunn.backends import get_backend
        >>> backend = get_backend("numpy")
        >>> with backend.profile() as operations:
        ...     backend.column_sums(backend.zeros((5, 3), "f4"), backend.zeros((3,), "f4"))
        >>> operations[0].name, operations[0].flops
        ('column_sums', 15)
        """
        return Profile(self.root)

    @property
    def profiled(self) -> bool:
        """Whether this thread is profiling the backend: then steps are not traced."""
        return current_profile(self) is not None

    def program(self, step: Step, traceable: bool = False) -> Program:
        """A `Program` that repeats ``step``, which calls operations of this backend only.

        Nothing is performed here. The first ``run`` may trace or capture the step; later ones
        replay it. One user at a time runs it.

        Args:
            step: the step.
            traceable: whether the step only calls operations, and ``xp`` with ``out=``. Then
                it can be traced: called once to collect these calls without performing them.
                A user's layer or formula promises neither: its step is called each time.

        Raises:
            RuntimeError: if the backend is not one of `isolated`: others may be using it.
        """
        if self.root is self:
            raise RuntimeError("A program is made on a backend of its own: backend.isolated().")
        return EagerProgram(self, step) if runs_eagerly() else self._program(step, traceable)

    @abstractmethod
    def _program(self, step: Step, traceable: bool) -> Program:
        """See `program`."""

    def session(self) -> AbstractContextManager[None]:
        """A block around many steps, in which the backend sets up its threads."""
        return nullcontext()

    def share(self, pieces: int, work: Callable[[int], None]) -> None:
        """Call ``work(piece)`` for every piece from 0 on, by several threads if there are."""
        for piece in range(pieces):
            work(piece)
