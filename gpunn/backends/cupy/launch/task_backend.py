"""What the operations of the CuPy backend rest on: arrays, and tasks that are launched or traced.

What only a card has comes in from outside: the array module, the kernels, the matrix
product and the stream. ``driver/cuda.py`` supplies CuPy's; the tests supply NumPy, the same
kernels compiled for the CPU, and a stream that notes down what it is asked for and replays it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np

from gpunn.backends.contract import OpCall, OpDeclaration
from gpunn.backends.contract.backend import Array, Backend, NotTraceableError, Step
from gpunn.backends.contract.device import Own, Sending
from gpunn.backends.contract.places import Check
from gpunn.backends.contract.profiling import ProfiledOperation, current_profile
from gpunn.backends.shared.interrupts import perform

from . import persistent
from .codegen import BLOCK, Kernel
from .fuse import FusedLaunch, configure, fuse
from .modes import forced_mode
from .protocols import KernelLauncher, KernelSet, Matmul, MatmulLibrary, Replay, Stream
from .tasks import Launch, PartTask, Product, Task, region
from .turn import Sent, Turn

DRAWN_AT_ONCE = 8  # random numbers that a thread draws


class UntraceableModule:
    """Stands where ``backend.xp`` is while a step is traced: array functions are no tasks."""

    def __getattr__(self, name: str) -> Any:
        raise NotTraceableError(f"it calls the array function xp.{name}")


class TaskBackend(Backend):
    """Arrays on a card, or on what the tests put in its place, and what is launched there.

    An operation asks for tasks. They are launched at once; while a step is traced, they are
    listed instead.

    Args:
        xp: the array module, cupy.
        kernels: the kernels of ``kernels/``.
        blas: the matrix product.
        stream: the queue that all of them use.
        name: as ``get_backend`` knows it.
        free: tells how many bytes of memory the device can still give.
        launch_mode: how programs are launched, see `modes`; None lets the rule there decide.
    """

    stops = False

    def __init__(
        self,
        xp: Any,
        kernels: KernelSet,
        blas: MatmulLibrary,
        stream: Stream,
        name: str = "cupy",
        free: Callable[[], int] | None = None,
        launch_mode: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.xp = self._xp = xp
        self.launch_mode = forced_mode(launch_mode)
        self.kernels = kernels
        self.blas = blas
        self.precisions = blas.precisions
        self._stream = stream
        self._free = free
        self._prepared: dict[Kernel, KernelLauncher] = {}
        self.turn = Turn(stream)
        self._checks: WeakSet[Check] = WeakSet()  # that its user has asked for
        # On a backend that is one user's own:
        self._captured: list[Array] | None = None  # arrays of what is being captured
        self._traced: list[Task] | None = None  # tasks of the step that is being traced
        self._epilogues = False  # whether products may take some of them as epilogues

    def isolated(self: Own) -> Own:
        own: Any = super().isolated()
        own._checks = WeakSet()
        return own

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.turn:
            return self._xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.turn:
            return self._xp.zeros(shape, dtype)

    def upload(self, source: Any) -> Array:
        if self.owns(source):
            self.wait_for_caller()
        with self.turn:
            if not isinstance(source, np.ndarray) and hasattr(source, "__dlpack__"):
                on_host = source.__dlpack_device__()[0] == 1  # kDLCPU
                if not self.owns(source):
                    source = (np if on_host else self._xp).from_dlpack(source)
            return self._xp.ascontiguousarray(self._xp.asarray(source))

    def wait_for_caller(self) -> None:
        Sent(self._stream.current(), self.turn).join()

    def write(self, target: Array, source: Any) -> None:
        with self.turn:
            target[...] = self._xp.asarray(source)

    def read(self, array: Array) -> np.ndarray:
        with self.turn:
            values = self._stream.read(array)
            self._complain()
            return values

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self._stream.pinned(shape, dtype)

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        with self.turn:
            return Sent(self._stream.send(copies), self.turn)

    def synchronize(self) -> None:
        with self.turn:
            self._stream.synchronize()
            self._complain()

    def note_check(self, check: Check) -> None:
        """Look at what this check has found whenever the device has been waited for."""
        self._checks.add(check)

    @property
    def checks(self) -> list[Check]:
        """Those that are noted: they are as long as somebody has them."""
        return list(self._checks)

    def _complain(self) -> None:
        """Raise the error of a check that has found something."""
        for check in self.checks:
            found = self._stream.read(check.found)
            if found[0]:
                for other in self.checks:  # the steps are over
                    other.reset()
                raise check.error(found)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self._xp.ndarray)

    def free_bytes(self) -> int | None:
        with self.turn:
            return self._free() if self._free else None

    def overlap(self, a: Array, b: Array) -> str | None:
        (start, stop), (other, end) = _addresses(a), _addresses(b)
        if stop <= other or end <= start or start == stop or other == end:
            return None
        return "same" if (start, stop) == (other, end) else "part"

    def capture(self, step: Step, times: int) -> tuple[Replay, list[Array]]:
        """A graph of ``times`` calls of ``step``: a function that replays it, and its arrays."""
        self._captured = []
        try:
            with self.turn:
                replay = self._stream.capture(step, times)
            return replay, list({id(array): array for array in self._captured}.values())
        finally:
            self._captured = None

    def trace(self, step: Step, epilogues: bool) -> list[Task]:
        """The tasks that a step asks for. Nothing is launched.

        Args:
            step: the step.
            epilogues: whether a product may take an operation behind it as its epilogue.

        Raises:
            NotTraceableError: if it touches `xp`: array functions are no tasks.
        """
        self._traced, self._epilogues, self.xp = [], epilogues, UntraceableModule()
        try:
            step()
            return self._traced
        finally:
            self._traced, self.xp = None, self._xp

    # -- launching

    def launch(self, launch: FusedLaunch) -> Launch:
        """The launch that does the tasks of ``launch``."""
        first = launch.tasks[0]
        if isinstance(first, Product):
            return Launch(launch.tasks, None, partial(self.blas, first.matmul))
        kernel, blocks, arguments = configure(launch, self.kernels.blocks, self._arrivals)
        run = partial(self._prepare(kernel), (blocks,), (BLOCK,), arguments)
        return Launch(launch.tasks, kernel, run)

    def launch_steps(self, tasks: Sequence[Task]) -> Launch:
        """The launch that does many steps of these tasks, as many as it is called with.

        Raises:
            LaunchModeError: if the card or the tasks do not allow it.
        """
        configured = persistent.configure(tasks, self.kernels.resident, self._barrier)
        kernel, blocks, arguments = configured
        launcher = self._prepare(kernel)

        def run(steps: int) -> None:
            launcher((blocks,), (BLOCK,), [np.int64(steps), *arguments])

        return Launch(tasks, kernel, run)

    def _prepare(self, kernel: Kernel) -> KernelLauncher:
        run = self._prepared.get(kernel)
        if run is None:
            run = self._prepared[kernel] = self.kernels.prepare(kernel)
        return run

    def _ask(self, *tasks: Task) -> None:
        """Launch these tasks of one operation; while a step is traced, list them instead."""
        performing = self._performing
        if self._traced is not None:
            for task in tasks:
                task.operation = performing
            self._traced += tasks
            return
        launches = [self.launch(launch) for launch in fuse(tasks)]
        for task in tasks:
            if self._captured is not None:
                self._captured += [touch[0] for touch in task.touched]
        if performing is not None:
            performing.launches += len(launches)
        # An interrupt waits for the last: what the launches count in is 0 before and after them.
        perform([launch.run for launch in launches], 1)

    @property
    def _performing(self) -> ProfiledOperation | None:
        """The operation that a profile lists just now."""
        profile = current_profile(self)
        return profile.performing if profile is not None else None

    def _product(self, *arguments: Any, **options: Any) -> None:
        """Ask for a `Matmul` of these."""
        self._ask(Product(Matmul(*arguments, **options)))

    def _task(
        self,
        name: str,
        call: OpCall,
        threads: int,
        /,
        *,
        sliced: int = 0,
        functor: str | None = None,
        **values: Any,
    ) -> PartTask:
        """A part of an operation, with ``values`` for its parameters by their names.

        What is not among these is the argument or the size of the operation that has the same
        name, or, for ``counters`` and ``rates``, an array of its control block.

        Args:
            name: of the part.
            given: what the operation was given.
            threads: how many can be of use.
            sliced: how many rows its arrays have, where they can be taken row by row, else 0.
            functor: the formula, if the part is for one.
            **values: what differs from the operation.
        """
        known = call.__dict__
        control = known.get("control")
        blocks = {"counters": control.counters, "rates": control.rates} if control else {}
        return PartTask(name, threads, {**known, **blocks, **values}, sliced, functor)

    def _part(self, name: str, call: OpCall, threads: int, /, **values: Any) -> None:
        """Ask for one part, unless there is nothing to do; see `_task`."""
        if threads:
            self._ask(self._task(name, call, threads, **values))

    def _each(
        self, name: str, call: OpCall, array: Array, /, *, by: int = 1, **values: Any
    ) -> None:
        """A part whose threads take ``by`` elements of ``array`` each, a row of it a slice."""
        n, rows = array.size, len(array) if array.ndim else 1
        self._part(name, call, -(-n // by), sliced=rows, n=n, **values)

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        assert operation.kernel is not None
        n, slices = operation.kernel.sizes(call)
        self._part(operation.name, call, n, sliced=slices, n=n)

    def _as_epilogue(self, kind: str, array: Array, vector: Array) -> bool:
        """Whether the product traced last takes this as its epilogue."""
        product = self._traced[-1] if self._traced and self._epilogues else None
        if isinstance(product, Product) and product.add_epilogue(self.blas, kind, array, vector):
            product.epilogue_operation = self._performing
            return True
        return False

    def _arrivals(self) -> Array:
        """The counter of blocks that have ended, which tells the last one that it is the last."""
        return self.scratch((1,), np.uint32, "arrivals", lambda array: array.fill(0))

    def _barrier(self) -> Array:
        """The memory of the barrier at which all blocks of a launch wait for each other."""
        return self.scratch((2,), np.uint32, "barrier", lambda array: array.fill(0))


def _addresses(array: Array) -> tuple[int, int]:
    """Where a contiguous array begins and ends."""
    return region(array, False)[:2]
