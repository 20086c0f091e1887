"""The ladder of launches: how a program's step gets to the card.

=========  =====================================================================
``plain``  each operation as it is asked for; the step is recorded as it stands
``fused``  the step is listed, and what goes together shares a launch (`fusion`), or
           is done by a product in passing (`tasks.Product.take`); the launches are
           recorded
``whole``  many steps are one launch, of one kernel, products included (`whole`);
           there is nothing to record
=========  =====================================================================

A launch has its price, some microseconds, and a small network's step is worth no more than a
few of them. The rule: a step that cannot be listed (it has a layer or a formula from outside
the framework, or one made of array functions) is ``plain``. One that can is ``whole`` if no
layer has more than `NARROW` outputs, the batch no more than `FEW` rows, all that it writes fits
into the card's L2 cache and one kernel can hold it; otherwise, where a library's products gain
more than launches cost, ``fused``.

For benchmarks and tests the environment variable ``GPUNN_RUNG`` forces a rung; a step that
cannot take it raises an error which says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpunn.backends.contract.backend import Array, NotTraceableError, Program, Step
from gpunn.backends.contract.profiling import current_profile
from gpunn.backends.shared.interrupts import perform

from .fuse import Group, fuse
from .persistent import as_parts, batch_of
from .protocols import Replay
from .tasks import Product, Task, written

if TYPE_CHECKING:
    from .program import Launching

RUNGS = ("plain", "fused", "whole")

LONG = 64  # steps of a recording: so many, 8 times as many, an eighth, and one
LENGTHS = (8 * LONG, LONG, LONG // 8, 1)
NARROW = 128  # outputs of a layer: its weights stay in the cache
FEW = 128  # rows of a batch: more keep a library's product busy

# A display card's driver ends a kernel that runs for seconds, and the screen stands still while
# one runs. So many operations a second of a multiprocessor are a hundredth of its peak, or less
# (two for each of 128 cores and clock; GTX 1050 Ti 3.6e11).
SLOWEST = 2e9
LONGEST = 0.025  # seconds


def chosen_rung(rung: str | None) -> str | None:
    """``rung``, or what the environment says, or None for the rule.

    Raises:
        ValueError: if there is no such rung.
    """
    rung = rung or os.environ.get("GPUNN_RUNG") or None
    if rung is not None and rung not in RUNGS:
        raise ValueError(f"GPUNN_RUNG must be one of {', '.join(RUNGS)}; got {rung!r}.")
    return rung


class Untraceable:
    """Stands where ``backend.xp`` is while a step is traced: its functions are no tasks."""

    def __getattr__(self, name: str) -> Any:
        raise NotTraceableError(f"it calls the array function xp.{name}")


class Captured:
    """The CuPy backend's `Program`. The rung of the ladder is chosen in the first ``run``.

    All steps take the same rung, the first included, so that a training that is resumed
    gives the bits of one that never stopped.
    """

    def __init__(self, backend: Launching, step: Step, traceable: bool) -> None:
        self._backend = backend
        self._step = step
        self._traceable = traceable
        self._program: Program | None = None

    def run(self, steps: int) -> None:
        if steps <= 0:
            return
        with self._backend.turn:
            if self._program is None or self._backend.profiled:
                self._program = self._climb()
            self._program.run(steps)

    def _climb(self) -> Program:
        """The program of the highest rung that the step may take."""
        backend, forced, why_not = self._backend, self._backend.rung, None
        wanted = (forced,) if forced else ("whole", "fused", "plain")
        profile = current_profile(backend)
        launches = profile.launches if profile is not None else []
        before = len(launches)
        for rung in wanted:
            try:
                if rung == "whole":
                    return Whole(backend, self._list(False), bool(forced))
                if rung == "fused":
                    return Recorded(backend, _Launches(backend, fuse(self._list(True))), True)
                return Recorded(backend, self._step, self._traceable)
            except NotTraceableError as error:
                why_not = error
                del launches[before:]  # the operations will be listed or performed once more
        raise RuntimeError(f"The step cannot take the rung {forced!r} (GPUNN_RUNG): {why_not}.")

    def _list(self, in_passing: bool) -> list[Task]:
        if not self._traceable:
            raise NotTraceableError("a layer or a formula in it is not the framework's own")
        return self._backend.trace(self._step, in_passing)


class _Launches:
    """The launches of a step, one after the other. It holds on to their arrays."""

    def __init__(self, backend: Launching, groups: list[Group]) -> None:
        self._launches: list[Callable[[], None]] = [backend.launch(group) for group in groups]
        for group in groups:
            credit([operation for task in group.tasks for operation in task.operations])

    def __call__(self) -> None:
        for launch in self._launches:
            launch()


def credit(operations: list[Any]) -> None:
    """Tell the recorder which operation begins a launch, and which ride in it."""
    for operation in operations:
        if operation is not None:
            operation.rides = not operation.kernels
    if operations[0] is not None:
        operations[0].kernels += 1
        operations[0].rides = False


class Whole:
    """A program whose steps are one launch, or several of as many as a launch may take.

    Args:
        backend: of the step.
        tasks: what it asks for.
        forced: whether to leave out of account what is worth it.

    Raises:
        NotTraceableError: if the step cannot, or should not, be one kernel.
    """

    def __init__(self, backend: Launching, tasks: list[Task], forced: bool) -> None:
        if not tasks:
            raise NotTraceableError("there is nothing in it")
        products = [task for task in tasks if isinstance(task, Product)]
        widest = max((task.arguments[2].shape[1] for task in products), default=0)
        parts = as_parts(tasks)
        batch = batch_of(parts)
        if not forced and (widest > NARROW or batch > FEW):
            raise NotTraceableError("its products are large")
        if not forced and written(tasks) > backend.cache:
            raise NotTraceableError("what it writes does not stay in the card's cache")
        # Of the rows of a batch, no more multiprocessors have work than there are rows.
        rate = SLOWEST * max(1, min(batch, backend.resident))
        seconds = sum(task.flops for task in products) / rate
        if seconds > 2 * LONGEST:
            raise NotTraceableError("one launch would keep a screen waiting")
        self._most = max(1, int(LONGEST / max(seconds, 1e-6)))
        self._launch = backend.launch_steps(parts)
        credit([task.operation for task in parts])

    def run(self, steps: int) -> None:
        for start in range(0, steps, self._most):
            self._launch(min(self._most, steps - start))


class Recorded:
    """A step once and many times over, each as a recording: a launch has its price.

    Of the `LENGTHS` those are recorded that are asked for; an epoch is a handful of them.

    The first step is performed as it stands: that compiles kernels and makes work arrays,
    neither of which can be recorded. The object holds on to the arrays that the recordings
    read and write, as a CUDA graph does not.

    Args:
        backend: of the step.
        step: what is recorded.
        ours: whether all of it is the framework's: then an interrupt waits for its end.
    """

    def __init__(self, backend: Launching, step: Step, ours: bool) -> None:
        self._backend = backend
        self._step = step
        self._ours = ours
        self._scratch: dict[tuple, Array] | None = None
        self._recordings: dict[int, tuple[Replay, list[Array]]] = {}

    def run(self, steps: int) -> None:
        if self._scratch is None:
            perform([self._step], 1) if self._ours else self._step()
            self._scratch = dict(self._backend._scratch.arrays)
            steps -= 1
        for times in LENGTHS:
            count, steps = divmod(steps, times)
            if count and times not in self._recordings:
                self._backend._scratch.arrays.update(self._scratch)  # it may have been released
                self._recordings[times] = self._backend.record(self._step, times)
            for _ in range(count):
                self._recordings[times][0]()
