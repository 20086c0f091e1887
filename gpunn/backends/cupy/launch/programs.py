"""Programs of the CuPy backend: steps that are repeated, each in one of the launch modes.

Which mode a step takes, and why, is said in `modes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpunn.backends.contract.backend import Array, NotTraceableError, Program, Step
from gpunn.backends.contract.profiling import ProfiledOperation, current_profile
from gpunn.backends.shared.interrupts import perform

from .base import CupyBase
from .fuse import FusedLaunch, fuse
from .modes import (
    GRAPH_SIZES,
    LAUNCH_SECONDS,
    LEAST_FLOPS,
    PERSISTENT_BATCH,
    PERSISTENT_WIDTH,
    LaunchModeError,
)
from .persistent import as_parts, batch_of
from .protocols import Replay
from .tasks import Product, Task, written


class CupyProgram:
    """The CuPy backend's `Program`. Its launch mode is chosen in the first ``run``.

    All steps are launched in the same mode, the first included, so that a training that is
    resumed gives the bits of one that never stopped.
    """

    def __init__(self, backend: CupyBase, step: Step, traceable: bool) -> None:
        self._backend = backend
        self._step = step
        self._traceable = traceable
        self._program: Program | None = None

    def run(self, steps: int) -> None:
        if steps <= 0:
            return
        with self._backend.turn:
            if self._program is None or self._backend.profiled:
                self._program = self._choose()
            self._program.run(steps)

    def _choose(self) -> Program:
        """The program in the first mode, from the fastest on, that the step can take."""
        forced = self._backend.launch_mode
        why_not: Exception | None = None
        profile = current_profile(self._backend)
        operations = profile.operations if profile is not None else []
        before = len(operations)
        for mode in (forced,) if forced else ("persistent", "fused", "plain"):
            try:
                return self._in_mode(mode, bool(forced))
            except (NotTraceableError, LaunchModeError) as error:
                why_not = error
                del operations[before:]  # the operations will be traced or performed once more
        raise RuntimeError(
            f"The step cannot be launched in the mode {forced!r} (GPUNN_LAUNCH_MODE): {why_not}."
        )

    def _in_mode(self, mode: str, forced: bool) -> Program:
        backend = self._backend
        if mode == "plain":
            return GraphProgram(backend, self._step, self._traceable)
        if not self._traceable:
            raise NotTraceableError("a layer or a formula in it is not the framework's own")
        tasks = backend.trace(self._step, epilogues=mode == "fused")
        if mode == "persistent":
            return PersistentProgram(backend, tasks, forced)
        return GraphProgram(backend, FusedStep(backend, fuse(tasks)), True)


class FusedStep:
    """The launches of a step, one after the other. It keeps their arrays alive."""

    def __init__(self, backend: CupyBase, launches: list[FusedLaunch]) -> None:
        self._launches: list[Callable[[], None]] = [backend.launch(launch) for launch in launches]
        for launch in launches:
            count_launch([operation for task in launch.tasks for operation in task.operations])

    def __call__(self) -> None:
        for launch in self._launches:
            launch()


def count_launch(operations: Sequence[ProfiledOperation | None]) -> None:
    """Note in a profile that these operations share one launch: it counts as the first one's."""
    for operation in operations:
        if operation is not None:
            operation.fused = not operation.launches
    if operations[0] is not None:
        operations[0].launches += 1
        operations[0].fused = False


class PersistentProgram:
    """A program whose steps are one launch of a persistent kernel, or as few as they may be.

    Args:
        backend: of the step.
        tasks: what it asks for.
        forced: whether the mode is wanted even where another would be faster.

    Raises:
        LaunchModeError: if the step cannot, or should not, be one kernel.
    """

    def __init__(self, backend: CupyBase, tasks: list[Task], forced: bool) -> None:
        if not tasks:
            raise LaunchModeError("there is nothing in it")
        products = [task for task in tasks if isinstance(task, Product)]
        widest = max((task.matmul.out.shape[1] for task in products), default=0)
        parts = as_parts(tasks)
        batch = batch_of(parts)
        if not forced and (widest > PERSISTENT_WIDTH or batch > PERSISTENT_BATCH):
            raise LaunchModeError("its products are large")
        if not forced and written(tasks) > backend.cache:
            raise LaunchModeError("what it writes does not stay in the card's cache")
        # Of the rows of a batch, no more multiprocessors have work than there are rows.
        rate = LEAST_FLOPS * max(1, min(batch, backend.resident))
        seconds = sum(task.matmul.flops for task in products) / rate
        if seconds > 2 * LAUNCH_SECONDS:
            raise LaunchModeError("one launch would keep a screen waiting")
        self._most = max(1, int(LAUNCH_SECONDS / max(seconds, 1e-6)))
        self._launch = backend.launch_steps(parts)
        count_launch([task.operation for task in parts])

    def run(self, steps: int) -> None:
        for start in range(0, steps, self._most):
            self._launch(min(self._most, steps - start))


class GraphProgram:
    """A program whose steps are captured in CUDA graphs, one for each of the `GRAPH_SIZES` used.

    The first step is performed as it stands: that compiles kernels and makes work arrays, and
    neither may happen during a capture. The object keeps the arrays alive that the graphs read
    and write, as a CUDA graph does not.

    Args:
        backend: of the step.
        step: what is captured.
        ours: whether all of it is the framework's: then an interrupt waits for its end.
    """

    def __init__(self, backend: CupyBase, step: Step, ours: bool) -> None:
        self._backend = backend
        self._step = step
        self._ours = ours
        self._scratch: dict[tuple, Array] | None = None
        self._graphs: dict[int, tuple[Replay, list[Array]]] = {}

    def run(self, steps: int) -> None:
        if self._scratch is None:
            perform([self._step], 1) if self._ours else self._step()
            self._scratch = dict(self._backend._scratch.arrays)
            steps -= 1
        for size in GRAPH_SIZES:
            count, steps = divmod(steps, size)
            if count and size not in self._graphs:
                self._backend._scratch.arrays.update(self._scratch)  # it may have been released
                self._graphs[size] = self._backend.capture(self._step, size)
            for _ in range(count):
                self._graphs[size][0]()
