"""Programs of the CuPy backend: steps that are repeated, each in one of the launch modes.

`modes` describes which mode a step takes, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from gpunn.backends.contract.backend import Array, NotTraceableError, Step
from gpunn.backends.contract.gather_scatter import Check
from gpunn.backends.contract.profiling import Profile, ProfiledOperation, current_profile
from gpunn.backends.shared.interrupts import perform
from gpunn.common.names import warn

from .codegen import RESIDENT_BLOCKS, Kernel
from .fuse import FusedLaunch, fuse
from .modes import (
    GRAPH_LAUNCHES,
    GRAPH_SIZES,
    LAUNCH_SECONDS,
    LEAST_FLOPS,
    PART_SECONDS,
    PERSISTENT_BATCH,
    PERSISTENT_WIDTH,
    LaunchModeError,
    step_key,
)
from .persistent import batch_of
from .protocols import Replay
from .roofline import graph_step_seconds, persistent_step_seconds
from .task_backend import TaskBackend
from .tasks import Launch, Product, Task, as_parts, with_small_parts

# cudaErrorStreamCaptureUnsupported to cudaErrorStreamCaptureWrongThread; the driver's are the same
CAPTURE_STATUSES = range(900, 909)


class CupyProgram:
    """The `Program` of the CuPy backend, in any launch mode; see `Backend.program`.

    The first ``run`` chooses the mode. A `PersistentProgram` or a `GraphProgram` performs it.

    All steps are launched in the same mode, including the first, so that a resumed training gives
    the same bits as an uninterrupted one.

    Attributes:
        mode: its launch mode; None before the first ``run``, when the launches are not known.
    """

    def __init__(
        self, backend: TaskBackend, step: Step, traceable: bool, modes: dict[str, str],
        unread: Sequence[Array] = (),
    ) -> None:
        self._backend = backend
        self._step = step
        self._traceable = traceable
        self._unread = unread
        self._modes = modes
        self._program: GraphProgram | PersistentProgram | None = None
        self._checks: list[Check] = []
        self.mode: str | None = None

    @property
    def launches(self) -> Sequence[Launch]:
        """The launches of a step, in order. Empty in the mode ``plain``, in which each operation
        launches its own kernels."""
        return self._program.launches if self._program else ()

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels of these launches."""
        return [launch.kernel for launch in self.launches if launch.kernel]

    @property
    def why_eager(self) -> str | None:
        """Why its steps are not captured; None if they are, or need not be."""
        return self._program.why_eager if self._program else None

    @property
    def steps_per_launch(self) -> int:
        """The most steps that one launch does: 1, except in the mode ``persistent``."""
        return self._program.steps_per_launch if self._program else 1

    def run(self, steps: int) -> None:
        if steps <= 0:
            return
        with self._backend.stream_lock:
            program = self._program
            if program is None or self._backend.profiled:
                program = self._program = self._choose()
                self._checks = []
            program.run(steps)
            if not self._checks:
                self._checks = self._backend.checks  # keep them alive as long as the program

    def _choose(self) -> GraphProgram | PersistentProgram:
        """Return the program in the mode that `modes` describes."""
        forced, key, requested, predicted = self._backend.launch_mode, "", [], []
        with suppress(NotTraceableError):
            # Without epilogues: whether a library offers one depends on its version.
            tasks, profile = self._trace(epilogues=False)
            key = step_key(profile.operations)
            requested = [self._modes.get(key), self._backend.measured.get(key)]
            predicted = self._predicted(tasks, profile.operations)
        if forced:
            requested, predicted = [forced], []
        for mode in dict.fromkeys([*requested, *predicted, "plain"]):
            if mode is None:
                continue
            try:
                program = self._in_mode(mode, mode in requested)
            except (NotTraceableError, LaunchModeError) as error:
                if forced:
                    raise LaunchModeError(
                        f"The step cannot be launched in the mode {forced!r} "
                        f"(GPUNN_LAUNCH_MODE): {error}."
                    ) from error
                if mode == self._modes.get(key):
                    warn(
                        f"This training launched its steps in the mode {mode!r} so far, in which "
                        f"this GPU cannot launch them: {error}. Another mode gives the same "
                        f"results only within rounding."
                    )
                continue
            self.mode = mode
            if key:
                self._modes[key] = mode
            return program
        raise AssertionError("any step can be plain")

    def _predicted(self, tasks: list[Task], operations: list[ProfiledOperation]) -> list[str]:
        """Return the modes of a traced step from the fastest on."""
        gpu = self._backend.kernels.gpu
        seconds = {"fused": graph_step_seconds(operations, gpu, len(fused(tasks)))}
        with suppress(LaunchModeError):
            batch = batch_of(as_parts(tasks))
            seconds["persistent"] = persistent_step_seconds(operations, gpu, batch)
        return sorted(seconds, key=seconds.__getitem__)

    def _in_mode(self, mode: str, forced: bool) -> GraphProgram | PersistentProgram:
        backend = self._backend
        if mode == "plain":
            return GraphProgram(backend, self._step, self._traceable)
        tasks, profile = self._trace(epilogues=mode == "fused")
        # Where a step goes on to the next batch of its data, it pays to compile kernels for its
        # sizes. Predictions come in any size, and each would be compiled.
        constants = any(task.name == "advance" for task in tasks)
        program: GraphProgram | PersistentProgram
        if mode == "persistent":
            program = PersistentProgram(backend, tasks, profile.operations, constants, forced)
        else:
            tasks = backend.joined(tasks, profile, self._unread)
            step = FusedStep(backend, fused(tasks), constants)
            program = GraphProgram(backend, step, True, step.launches)
        outer = current_profile(backend)
        if outer is not None:
            outer.operations += profile.operations
            outer.calls += profile.calls
        return program

    def _trace(self, epilogues: bool) -> tuple[list[Task], Profile]:
        """Return the tasks of a step, and the profile of its operations."""
        if not self._traceable:
            raise NotTraceableError("it has a custom layer or formula")
        profile = self._backend.profile()
        with profile:
            return self._backend.trace(self._step, epilogues), profile


def fused(tasks: Sequence[Task]) -> list[FusedLaunch]:
    """Return the launches of a step in the mode ``fused``."""
    return fuse(with_small_parts(tasks))


class FusedStep:
    """The launches of a step, in order. It keeps their arrays alive."""

    def __init__(self, backend: TaskBackend, launches: list[FusedLaunch], constants: bool) -> None:
        self.launches = [backend.launch(launch, constants) for launch in launches]
        for launch in self.launches:
            count_launch([operation for task in launch.tasks for operation in task.operations])

    def __call__(self) -> None:
        for launch in self.launches:
            launch.run()


def count_launch(operations: Sequence[ProfiledOperation | None]) -> None:
    """Record in a profile that these operations share one launch: it counts for the first one."""
    for operation in operations:
        if operation is not None:
            operation.fused = not operation.launches
    if operations[0] is not None:
        operations[0].launches += 1
        operations[0].fused = False


class PersistentProgram:
    """The mode ``persistent``: many steps are one launch of a persistent kernel, if possible.

    Args:
        operations: the operations of its tasks.
        constants: whether its sizes are constants in the kernel.
        forced: whether the mode is requested even if another would be faster.

    Raises:
        LaunchModeError: if the step cannot, or should not, be one kernel.
    """

    why_eager = None

    def __init__(
        self, backend: TaskBackend, tasks: list[Task], operations: list[ProfiledOperation],
        constants: bool, forced: bool,
    ) -> None:
        if not tasks:
            raise LaunchModeError("it has no tasks")
        products = [task for task in tasks if isinstance(task, Product)]
        widest = max((task.matmul.out.shape[-1] for task in products), default=0)
        parts = as_parts(tasks)
        batch = batch_of(parts)
        if not forced and (widest > PERSISTENT_WIDTH or batch > PERSISTENT_BATCH):
            raise LaunchModeError("its products are large")
        # No more blocks have work than there are rows in a batch.
        busy = min(batch, backend.kernels.resident) / RESIDENT_BLOCKS
        rate = LEAST_FLOPS * max(1, busy)
        flops = sum(task.matmul.sizes.flops for task in products)
        predicted = persistent_step_seconds(operations, backend.kernels.gpu, batch)
        seconds = max(flops / rate, len(parts) * PART_SECONDS, predicted)
        if seconds > 2 * LAUNCH_SECONDS:
            raise LaunchModeError("one launch would freeze a display for too long")
        self.steps_per_launch = max(1, int(LAUNCH_SECONDS / seconds))
        self.launches = [backend.launch_steps(parts, constants)]
        self._launch = backend.named("steps in a persistent kernel", self.launches[0].run)
        count_launch([task.operation for task in parts])

    def run(self, steps: int) -> None:
        for start in range(0, steps, self.steps_per_launch):
            self._launch(min(self.steps_per_launch, steps - start))


class GraphProgram:
    """The other modes: steps are captured in CUDA graphs, one for each of the `GRAPH_SIZES` used.

    The first step is performed without capture: it compiles kernels and creates work arrays, and
    neither may happen during a capture. The object keeps the arrays alive that the graphs read
    and write, which a CUDA graph does not.

    A step with an operation that cannot be captured is performed each time, from the first capture
    that fails on.

    Args:
        ours: whether all of it is the framework's: then an interrupt waits for its end.

    Attributes:
        why_eager: the reason if the step cannot be captured.
    """

    steps_per_launch = 1
    why_eager: str | None = None

    def __init__(
        self, backend: TaskBackend, step: Step, ours: bool, launches: Sequence[Launch] = ()
    ) -> None:
        self._backend = backend
        self._step = backend.named("step", step)
        self._ours = ours
        self.launches = launches
        self._scratch: dict[tuple, Array] | None = None
        self._graphs: dict[int, tuple[Replay, list[Array]]] = {}

    def run(self, steps: int) -> None:
        if self._scratch is None:
            self._perform()
            self._scratch = dict(self._backend._scratch.arrays)
            steps -= 1
        for size in GRAPH_SIZES if self.why_eager is None else ():
            if size > 1 and size * len(self.launches) > GRAPH_LAUNCHES:
                continue
            if steps >= size and size not in self._graphs and not self._capture(size):
                break
            count, steps = divmod(steps, size)
            for _ in range(count):
                self._graphs[size][0]()
        for _ in range(steps):
            self._perform()

    def _perform(self) -> None:
        perform([self._step], 1) if self._ours else self._step()

    def _capture(self, size: int) -> bool:
        """Capture a graph of this many steps; return whether the step allows it."""
        assert self._scratch is not None
        arrays = self._backend._scratch.arrays
        arrays.update(self._scratch)  # it may have been released
        before = dict(arrays)
        try:
            replay, made = self._backend.capture(self._step, size)
            name = f"graph of {size} steps" if size > 1 else "graph of a step"
            self._graphs[size] = self._backend.named(name, replay), made
        except Exception as error:
            if not is_capture_error(error):
                raise
            arrays.clear()  # what was made in the capture has not been filled
            arrays.update(before)
            self.why_eager = str(error)
            warn(
                f"A step is not captured in a CUDA graph, and so is slower: {error}. Array "
                f"functions with `out=` that do not wait for the GPU can be captured."
            )
            return False
        return True


def is_capture_error(error: Exception) -> bool:
    """Return whether CuPy or CUDA refuses an operation only because it is being captured.

    CuPy raises NotImplementedError for libraries that it does not call in a capture. The errors of
    CUDA have a status.
    """
    return isinstance(error, NotImplementedError) or (
        getattr(error, "status", None) in CAPTURE_STATUSES
    )
