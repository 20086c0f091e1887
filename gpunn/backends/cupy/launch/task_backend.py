"""The base of the CuPy backend's operations: arrays, and tasks that are launched or traced.

The GPU-specific parts are arguments: the array module, the kernels, the matrix
product and the stream. ``driver/cuda.py`` supplies CuPy's; the tests supply NumPy, the same
kernels compiled for the CPU, and a stream that records its work and replays it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np

from gpunn.backends.contract import OpCall, OpDeclaration
from gpunn.backends.contract.backend import Array, Backend, NotTraceableError, Step
from gpunn.backends.contract.device import Fill, Kinds, Own, Parcel, Sending
from gpunn.backends.contract.gather_scatter import Check
from gpunn.backends.contract.profiling import Profile, ProfiledOperation, current_profile
from gpunn.backends.shared.interrupts import perform

from . import persistent
from .codegen import BLOCK, PARAMETER_BYTES, Kernel, parameter_bytes
from .fuse import FusedLaunch, configure, fuse
from .modes import LaunchModeError, forced_mode
from .parcel import PackedParcel
from .protocols import KernelLauncher, KernelSet, Matmul, MatmulLibrary, Replay, Stream
from .ring import SIZE, Ring
from .stream_lock import Sent, StreamLock
from .tasks import Conflict, Launch, PartTask, Product, Region, SumOverRanks, Task, region

DRAWN_AT_ONCE = 8  # random numbers drawn by one thread
PAGEABLE = 1 << 16
"""Bytes that CUDA copies from ordinary memory without waiting for earlier work: it keeps a copy.
See "Concurrent Execution between Host and Device" in the CUDA C++ Programming Guide."""


class UntraceableModule:
    """Replaces ``backend.xp`` while a step is traced: array functions are not tasks."""

    def __getattr__(self, name: str) -> Any:
        raise NotTraceableError(f"it calls the array function xp.{name}")


class TaskBackend(Backend):
    """Arrays on a GPU, or on the tests' substitute for it, and launches there.

    An operation requests tasks. They are launched at once; while a step is traced, they are
    recorded instead.

    Args:
        xp: the array module, cupy.
        stream: the queue that all of them use.
        free: returns the number of free bytes on the device.
        launch_mode: how programs are launched, see `modes`; None lets the rules there decide.
        measured: launch modes that overrule the predicted ones, see `measured_modes`.
        nvtx: CuPy's functions of NVTX, if ranges are to be named.
    """

    stops = False
    traces = True

    def __init__(
        self,
        xp: Any,
        kernels: KernelSet,
        blas: MatmulLibrary,
        stream: Stream,
        name: str = "cupy",
        free: Callable[[], int] | None = None,
        launch_mode: str | None = None,
        measured: Mapping[str, str] | None = None,
        nvtx: Any = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.xp = self._xp = xp
        self.launch_mode = forced_mode(launch_mode)
        self.measured = measured or {}
        self.kernels = kernels
        self.blas = blas
        self.precisions = blas.precisions
        self._stream, self._ring = stream, Ring(stream)
        self._free = free
        self._nvtx = nvtx
        self._prepared: dict[Kernel, KernelLauncher] = {}
        self.stream_lock = StreamLock(stream)
        self._checks: WeakSet[Check] = WeakSet()  # those requested by its user
        # On an isolated backend:
        self._captured: list[Array] | None = None  # arrays of the capture in progress
        self._traced: list[Task] | None = None  # tasks of the step being traced
        self._epilogues = False  # whether products may take some of them as epilogues
        self._unwritten = set[Region]()  # by its programs, since nothing reads them

    def isolated(self: Own) -> Own:
        own: Any = super().isolated()
        own._checks = WeakSet()
        own._unwritten = set()
        return own

    def forget_kept(self) -> None:
        super().forget_kept()
        self._unwritten.clear()

    def is_written(self, array: Array) -> bool:
        mine = region(array, True)
        return all(mine.conflict(other) is Conflict.NONE for other in self._unwritten)

    def named(self, name: str, work: Callable[..., None]) -> Callable[..., None]:
        nvtx = self._nvtx
        if nvtx is None:
            return work

        def in_range(*given: Any) -> None:
            nvtx.RangePush(name)
            try:
                work(*given)
            finally:
                nvtx.RangePop()

        return in_range

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.stream_lock:
            return self._xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.stream_lock:
            return self._xp.zeros(shape, dtype)

    def parcel(self, kinds: Kinds) -> Parcel:
        return PackedParcel(self, kinds, PAGEABLE)

    def upload(self, source: Any) -> Array:
        ours = self._xp.ndarray
        if self.owns(source):
            self.wait_for_caller()
        elif not isinstance(source, (np.ndarray, ours)) and hasattr(source, "__dlpack__"):
            on_host = source.__dlpack_device__()[0] == 1  # kDLCPU
            with self.stream_lock:
                source = (np if on_host else self._xp).from_dlpack(source)
        if isinstance(source, ours) and not self.owns(source):
            return self._copied_here(source)
        with self.stream_lock:
            large = self._is_on_host(source) and source.nbytes > PAGEABLE
            plain = large and source.dtype.isnative and source.dtype.kind in "biuf"
            if plain and not source.flags.fnc:  # a GPU transposes faster than the host
                made = self._xp.empty(source.shape, source.dtype)
                self._copy(made, np.asarray(source))
                return made
            return self._xp.ascontiguousarray(self._xp.asarray(source))

    def _is_on_host(self, source: Any) -> bool:
        return isinstance(source, np.ndarray) and not isinstance(source, self._xp.ndarray)

    def _copied_here(self, source: Array) -> Array:
        """Return a C-contiguous copy of an array of another GPU, after the work on it there.

        The host waits: the other GPU may reuse the memory of the array as soon as it is dropped.
        """
        with source.device:
            before = self._stream.current()
        with self.stream_lock:
            before.join()
            copy = self._xp.ascontiguousarray(source.copy())  # on the current device
            self._stream.synchronize()
            return copy

    def wait_for_caller(self) -> None:
        Sent(self._stream.current(), self.stream_lock).join()

    def write(self, target: Array, source: Any) -> None:
        with self.stream_lock:
            alike = self._is_on_host(source) and source.shape == target.shape
            whole = alike and target.flags.c_contiguous and source.dtype.kind in "biuf"
            if whole and (source.dtype == target.dtype or source.nbytes > PAGEABLE):
                # Without a second array on the device; of a memory map, as an ordinary array.
                self._copy(target, np.asarray(source))
            else:
                target[...] = self._xp.asarray(source)

    def _copy(self, target: Array, source: np.ndarray) -> None:
        """Copy an array of the host to a C-contiguous one of the same shape on the device."""
        same = source.dtype == target.dtype
        if same and (source.nbytes <= PAGEABLE or self._stream.is_pinned(source)):
            self._stream.write(target, source)
            return
        if not source.flags.c_contiguous and source[:1].nbytes > SIZE:
            source = np.ascontiguousarray(source)
        if source.flags.c_contiguous:
            source, target = source.reshape(-1), target.reshape(-1)

        def fill(rows: slice, out: np.ndarray) -> None:
            with np.errstate(over="ignore"):  # of a float64: it is infinite in float32
                np.copyto(out, source[rows], casting="unsafe")

        # An interrupt must not come between a copy and what waits for it.
        perform([lambda: self._ring.send([(target, fill)]).join()], 1)

    def read(self, array: Array) -> np.ndarray:
        with self.stream_lock:
            values = self._stream.read(array)
            self._complain()
            return values

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self._stream.pinned(shape, dtype)

    def send(self, copies: Sequence[tuple[Array, Fill]]) -> Sending:
        sent: list[Sending] = []
        with self.stream_lock:
            try:
                perform([lambda: sent.append(self._ring.send(copies))], 1)
            except BaseException:  # an interrupt: nobody else will wait for them
                for sending in sent:
                    sending.wait()
                raise
        return Sent(sent[0], self.stream_lock)

    def synchronize(self) -> None:
        with self.stream_lock:
            self._stream.synchronize()
            self._complain()

    def record_check(self, check: Check) -> None:
        """Register a check, whose result is read after each wait for the device."""
        self._checks.add(check)

    @property
    def checks(self) -> list[Check]:
        """The registered checks that are still referenced elsewhere."""
        return list(self._checks)

    def _complain(self) -> None:
        """Raise the error of a failed check."""
        for check in self.checks:
            found = self._stream.read(check.found)
            if found[0]:
                for other in self.checks:  # the steps have ended
                    other.reset()
                raise check.error(found)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self._xp.ndarray) and self._stream.reaches(array)

    def within_later(self, array: Array, limit: float) -> Callable[[], bool]:
        if not self.owns(array):
            return super().within_later(array, limit)
        with self.stream_lock:
            found = self._xp.empty((2,), array.dtype)
            array.min(out=found[0])
            array.max(out=found[1])

        def within() -> bool:
            with self.stream_lock:
                low, high = self._stream.read(found).tolist()
            return bool(-limit <= low <= high <= limit)

        return within

    def free_bytes(self) -> int | None:
        with self.stream_lock:
            return self._free() if self._free else None

    def overlap(self, a: Array, b: Array) -> str | None:
        (start, stop), (other, end) = _addresses(a), _addresses(b)
        if stop <= other or end <= start or start == stop or other == end:
            return None
        return "same" if (start, stop) == (other, end) else "part"

    def capture(self, step: Step, times: int) -> tuple[Replay, list[Array]]:
        """Capture ``times`` calls of ``step``; return a function that replays them, and arrays."""
        self._captured = []
        try:
            with self.stream_lock:
                replay = self._stream.capture(step, times)
            return replay, list({id(array): array for array in self._captured}.values())
        finally:
            self._captured = None

    def trace(self, step: Step, epilogues: bool) -> list[Task]:
        """Return the tasks of a step. Nothing is launched.

        Args:
            epilogues: whether a product may take the next operation as its epilogue.

        Raises:
            NotTraceableError: if it uses `xp`: array functions are not tasks.
        """
        self._traced, self._epilogues, self.xp = [], epilogues, UntraceableModule()
        try:
            step()
            return self._traced
        finally:
            self._traced, self.xp = None, self._xp

    def joined(
        self, tasks: Sequence[Task], profile: Profile, unread: Sequence[Array]
    ) -> list[Task]:
        """Return the tasks of a step, whose operations are in this profile, with those joined that
        can be without an array of ``unread``; see `Backend.program`."""
        return list(tasks)

    # -- launching

    def launch(self, launch: FusedLaunch, constants: bool) -> Launch:
        """Return the launch that does the tasks of ``launch``, with ``constants`` by a kernel that
        is compiled for their sizes."""
        first = launch.tasks[0]
        if isinstance(first, Product):
            return Launch(launch.tasks, None, partial(self.blas, first.matmul))
        if isinstance(first, SumOverRanks):
            return Launch(launch.tasks, None, partial(first.sum_over, first.array))
        configured = configure(launch, self.kernels.blocks, self._arrivals)
        if constants:
            configured = configured.with_constants(self._stream.read)
        kernel, blocks, arguments = configured
        run = partial(self._prepare(kernel), (blocks,), (BLOCK,), arguments)
        return Launch(launch.tasks, kernel, run)

    def launch_steps(self, tasks: Sequence[Task], constants: bool) -> Launch:
        """Return a launch of many steps of these tasks; it is called with their number. With
        ``constants`` its kernel is compiled for their sizes.

        Raises:
            LaunchModeError: if the GPU or the tasks do not allow it.
        """
        configured = persistent.configure(tasks, self.kernels.resident, self._barrier, self.upload)
        if constants:
            configured = configured.with_constants(self._stream.read)
        kernel, blocks, arguments = configured
        if not kernel.fits:
            size = parameter_bytes(kernel.parameters)
            raise LaunchModeError(
                f"its arguments take {size:,} bytes; a kernel can have {PARAMETER_BYTES:,}"
            )
        launcher = self._prepare(kernel)

        def run(steps: int) -> None:
            launcher((blocks,), (BLOCK,), [*arguments, np.int64(steps)])

        return Launch(tasks, kernel, run)

    def _prepare(self, kernel: Kernel) -> KernelLauncher:
        run = self._prepared.get(kernel)
        if run is None:
            run = self._prepared[kernel] = self.kernels.prepare(kernel)
        return run

    def _ask(self, *tasks: Task) -> None:
        """Launch these tasks of one operation; while a step is traced, record them instead."""
        performing = self._performing
        if self._traced is not None:
            for task in tasks:
                task.operation = performing
            self._traced += tasks
            return
        launches = [self.launch(launch, constants=False) for launch in fuse(tasks)]
        for task in tasks:
            if self._captured is not None:
                self._captured += [touch[0] for touch in task.touched]
        if performing is not None:
            performing.launches += len(launches)
        # An interrupt waits for the last one: the launches' counters are 0 before and after them.
        perform([launch.run for launch in launches], 1)

    @property
    def _performing(self) -> ProfiledOperation | None:
        """The operation that a profile is recording."""
        profile = current_profile(self)
        return profile.performing if profile is not None else None

    def _product(self, *arguments: Any, **options: Any) -> None:
        """Request a `Matmul` with these arguments."""
        self._ask(Product(Matmul(*arguments, **options)))

    def _task(
        self,
        name: str,
        call: OpCall,
        threads: int,
        /,
        *,
        sliced: int = 0,
        reads_rows: bool = True,
        functor: str | None = None,
        **values: Any,
    ) -> PartTask:
        """Return a part of an operation, with ``values`` for its parameters by name. For
        ``threads`` and ``sliced`` see the size and the rows of a `PartTask`.

        Other parameters take the argument or size of the operation with the same name or, for
        ``counters`` and ``rates``, an array of its control block.
        """
        known = call.__dict__
        control = known.get("control")
        blocks = {"counters": control.counters, "rates": control.rates} if control else {}
        known = {**known, **blocks, **values}
        return PartTask(name, threads, known, sliced, functor, reads_rows)

    def _part(self, name: str, call: OpCall, threads: int, /, **values: Any) -> None:
        """Request one part, unless there is nothing to do; see `_task`."""
        if threads:
            self._ask(self._task(name, call, threads, **values))

    def _each(
        self, name: str, call: OpCall, array: Array, /, *, by: int = 1, **values: Any
    ) -> None:
        """Request a part with ``by`` elements of ``array`` for each thread; its rows are slices."""
        n, rows = array.size, len(array) if array.ndim else 1
        self._part(name, call, -(-n // by), sliced=rows, n=n, **values)

    def by_kernel(self, operation: OpDeclaration, call: OpCall) -> None:
        assert operation.kernel is not None
        n, slices = operation.kernel.sizes(call)
        self._part(operation.name, call, n, sliced=slices, n=n)

    def _as_epilogue(self, kind: str, array: Array, vector: Array) -> bool:
        """Make this the epilogue of the last traced product; return whether it is."""
        product = self._traced[-1] if self._traced and self._epilogues else None
        if not isinstance(product, Product) or product.is_small:
            return False
        if product.add_epilogue(self.blas, kind, array, vector):
            product.joined.append(self._performing)
            return True
        return False

    def _arrivals(self) -> Array:
        """Return the counter of ended blocks, by which the last block knows that it is last."""
        return self.scratch((1,), np.uint32, "arrivals", lambda array: array.fill(0))

    def _barrier(self) -> Array:
        """Return the memory of the barrier at which all blocks of a launch synchronize."""
        return self.scratch((3,), np.uint32, "barrier", lambda array: array.fill(0))


def _addresses(array: Array) -> tuple[int, int]:
    """Return the start and end addresses of a contiguous array."""
    return region(array, False)[:2]
