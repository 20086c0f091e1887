"""The base class of backends: arrays, operations on them, and repeated steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from gpunn.common.config import runs_eagerly

from . import Contract, OpCall, OpDeclaration
from .control import Control
from .device import Array as Array
from .device import Device
from .formulas import FormulaProtocol
from .operation import defines
from .profiling import Profile, current_profile

Step = Callable[[], None]


class NotTraceableError(RuntimeError):
    """A step cannot be traced: it does more than call operations."""


class Program(Protocol):
    """A step made ready to be repeated: ``run(n)`` performs it n times.

    A backend makes its own kind of it from a Python step, see `Backend.program`.
    """

    def run(self, steps: int) -> None: ...


LAUNCH_MODES = ("plain", "fused", "persistent")
"""How a GPU launches the steps of a program: see `gpunn.backends.cupy.launch.modes`."""


class EagerProgram:
    """A `Program` that calls the Python step each time: see `gpunn.config.run_eagerly`."""

    def __init__(self, backend: Backend, step: Step) -> None:
        self._backend, self._step = backend, step

    def run(self, steps: int) -> None:
        with self._backend.stream_lock, np.errstate(all="ignore"):
            for _ in range(steps):
                self._step()


class Backend(Contract, Device):
    """Base class of backends: one device and the operations on it.

    Its subclasses are named ``"numpy"``, ``"compiled"`` and ``"cupy"``; see `gpunn.get_backend`.

    Several threads may use a backend at once. A program is made on a copy that only one of them
    uses, see `isolated`: it has its own work arrays and its own trace. After an interrupt its state
    is unknown, and it is discarded.

    >>> import gpunn
    >>> backend = gpunn.get_backend("numpy")
    >>> isinstance(backend, Backend), backend.zeros((2,), "float32").tolist()
    (True, [0.0, 0.0])
    """

    cache_bytes: int | None = None
    """A large batch of a prediction is split into pieces whose arrays take at most this many
    bytes. None: it is not split."""

    blocks_from = 1 << 18
    """Attention with this many scores of a head, or more, is computed in blocks of queries."""

    finds_first_nan = True
    """Whether `argmax` and `argmin` of its array functions find the first of several NaN, as
    NumPy's do."""

    stops = True
    """Whether a step ends where `check_range` finds an error. If not, the error is raised when
    the host next waits for the device."""

    precisions: Collection[str] | None = None
    """Formats that a product can round its factors to, see `gpunn.backends.shared.precision`.
    None if products would not become faster: then requesting one has no effect."""

    def __init__(self) -> None:
        lacking = [name for name in self.operations if not defines(self, f"_{name}")]
        if lacking:
            raise TypeError(f"{type(self).__name__} must define _{', _'.join(lacking)}.")
        super().__init__()

    def convert(self, x: Any, out: Array, scale: float = 1.0, offset: float = 0.0) -> None:
        """out = x * scale + offset, for a host or device array of any real dtype and any memory
        layout."""
        if type(x) is np.ndarray and scale == 1.0 and offset == 0.0:
            self.write(out, x)  # nothing to compute
            return
        self.affine(self.upload(x), scale, offset, out)

    def find_extreme(self, name: str, x: Array, axis: int, out: Array) -> None:
        """out = indices of the extremes of x along an axis, int64: of the first one on ties, and
        of the first NaN if there is any. ``name`` is "argmax" or "argmin"."""
        xp = self.xp
        getattr(xp, name)(x, axis=axis, out=out)
        if self.finds_first_nan or x.dtype.kind != "f":
            return
        missing = self.scratch(x.shape, np.bool_, f"{name}: NaN")
        first = self.scratch(out.shape, np.int64, f"{name}: first NaN")
        some = self.scratch(out.shape, np.bool_, f"{name}: some NaN")
        xp.isnan(x, out=missing)
        xp.argmax(missing, axis=axis, out=first)
        xp.any(missing, axis=axis, out=some)
        xp.copyto(out, first, where=some)

    def _parameters(self, formula: FormulaProtocol) -> Array:
        """Return the parameters of a formula, on the device."""
        return self._constant("parameters", np.array(formula.parameters or (0.0,), np.float64))

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        """Perform an operation by the kernel of its name if the backend has it, else by arrays."""
        operation.by_arrays(self, call)

    def profile(self) -> Profile:
        """Record the operations that this thread calls in a block: shapes, bytes, flops.

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
        """Whether this thread is profiling the backend, when steps are not traced."""
        return current_profile(self) is not None

    def program(
        self, step: Step, traceable: bool = False, modes: dict[str, str] | None = None,
        unread: Sequence[Array] = (),
    ) -> Program:
        """Return a `Program` that repeats ``step``, which calls only operations of this backend.

        Nothing is performed here. The first ``run`` may trace or capture the step; later ones
        replay it. One user at a time runs it.

        Args:
            step: the step.
            traceable: whether the step only calls operations, and ``xp`` with ``out=``. Then
                it can be traced: called once to record these calls without performing them.
                A custom layer or formula guarantees neither: its step is called each time.
            modes: the `LAUNCH_MODES` of earlier steps, by a digest of their operations. The same
                step takes the same mode, and so gives the same bits; a new one is added.
            unread: arrays that nothing reads after a step, which may leave them as they were; see
                `is_written`.

        Raises:
            RuntimeError: if the backend was not made by `isolated`: others may be using it.
        """
        if self.root is self:
            raise RuntimeError("A program needs an isolated backend: use backend.isolated().")
        if runs_eagerly():
            return EagerProgram(self, step)
        return self._program(step, traceable, {} if modes is None else modes, unread)

    def is_written(self, array: Array) -> bool:
        """Return whether all programs so far write an array that was ``unread`` in one."""
        return True

    @abstractmethod
    def _program(
        self, step: Step, traceable: bool, modes: dict[str, str], unread: Sequence[Array]
    ) -> Program:
        """See `program`."""

    def in_passes(
        self, program: Program, control: Control, totals: Array, sums: np.ndarray, first: int,
        rest: Program | None = None,
    ) -> Program | None:
        """Return a program whose ``run(steps)`` performs a pass of so many steps for each row of
        ``sums``; None if the host has to begin each pass.

        The host begins pass number ``first``. Between two passes, ``totals`` become the next row
        of ``sums`` and then zero, and ``control`` begins the next pass. A pass in which the loss
        was not finite is the last one.

        Args:
            program: performs the steps.
            control, totals: the control block and the sums that its steps update.
            sums: (passes, n) float64, on the host; ``totals`` are (n,).
            first: number of the first pass.
            rest: performs one more step at the end of each pass, of a smaller batch.
        """
        return None

    def parallel_region(self) -> AbstractContextManager[None]:
        """Return a context manager for many steps, in which the backend sets up its threads."""
        return nullcontext()

    def parallel_for(self, pieces: int, work: Callable[[int], None]) -> None:
        """Call ``work(piece)`` for every piece from 0 on, in several threads if available."""
        for piece in range(pieces):
            work(piece)
