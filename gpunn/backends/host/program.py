"""Programs of NumPy calls: a step is traced once, and its calls are replayed.

A small step spends more time in Python than in arithmetic: in the plan, the layers, the
operations and the formulas. All of these lead to the same NumPy calls on the same arrays each
time. Tracing a step records these calls without performing them; the program replays them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend, NotTraceableError, Program, Step
from gpunn.backends.contract.formulas import FormulaProtocol
from gpunn.backends.contract.profiling import current_profile
from gpunn.backends.shared.interrupts import perform
from gpunn.backends.shared.lockstep import LEAST_STEPS, lockstep
from gpunn.backends.shared.threads import ParallelRegion, workers

from .trace import ArrayCall, CallRecorder, quiet


class TracingBackend(Backend):
    """A backend whose operations are NumPy calls, so that a step can be traced.

    An operation calls NumPy through ``self._do``, which performs the call or, while a step is
    traced, adds it to the trace. Python code that must run in each step (it reads the control
    block, or adds up Python numbers) is a method that the trace records as one call.
    """

    _trace: CallRecorder | None = None  # the trace in progress, on an isolated backend

    @property
    def xp(self) -> Any:
        return np if self._trace is None else self._trace

    def _do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if self._trace is not None:
            self._trace.add_call(function, *args, **kwargs)
        elif function is np.dot:  # some BLAS libraries read past the end of a row, and warn
            with np.errstate(all="ignore"):
                function(*args, **kwargs)
        else:
            function(*args, **kwargs)

    def _do_once(self, function: Callable[..., Any], *args: Any) -> None:
        if self._trace is None:
            function(*args)
        else:
            self._trace.add_call_once(function, *args)

    def trace(self, step: Step, own_products: bool = False) -> CallRecorder:
        """Record the array calls of a step without performing them. If it does more than such
        calls, this raises a NotTraceableError.

        ``own_products``: Whether the backend's own products are taken instead of BLAS.
        """
        self._trace = trace = CallRecorder(own_products)
        try:
            step()
        finally:
            self._trace = None
        return trace

    def _at_once(self, work: Callable[[], None]) -> None:
        trace, self._trace = self._trace, None
        try:
            work()
        finally:
            self._trace = trace

    def replay_of(self, calls: list[ArrayCall]) -> Callable[[int], None]:
        """Return a function of a number of steps that performs the calls that many times."""
        return quiet(replay_of(calls))

    def joint_program(self, step: Step) -> Any:
        """Return a step as a program that runs together with those of other threads, or None.

        ``program.run_of(steps)`` is its `Run` in a `Lockstep`.
        """
        return None

    def _program(
        self, step: Step, traceable: bool, modes: dict[str, str], unread: Sequence[Array]
    ) -> Program:
        return HostProgram(self, quiet(step), traceable)

    def parallel_region(self) -> AbstractContextManager[None]:
        return ParallelRegion()

    def parallel_for(self, pieces: int, work: Callable[[int], None]) -> None:
        workers.parallel_for(pieces, work)

    def apply(self, function: Callable[..., None], *args: Any) -> None:
        self._do(function, np, *args)

    def apply_formula(
        self, formula: FormulaProtocol, method: Callable[..., None], *arrays: Any
    ) -> None:
        if formula.functor is None and not formula._of_tensors:
            self._do(method, self, *arrays)  # one call of the trace
        else:
            method(self, *arrays)

    # Helpers of several operations.

    def _ones(self, n: int, dtype: Any) -> Array:
        """Return ones (n,): a product with them is NumPy's fastest sum."""
        return self.scratch((n,), dtype, "ones", lambda array: array.fill(1))

    def _convert(self, x: Array, out: Array) -> None:
        """out = x in the dtype of ``out``. Floats are truncated to int32, clipped to its range,
        and NaN becomes 0."""
        if x.dtype.kind == "f" and out.dtype == np.int32:
            wide = self.scratch(x.shape, np.float64, "numbers of int32")
            missing = self.scratch(x.shape, bool, "no numbers")
            self._do(np.not_equal, x, x, out=missing)
            self._do(np.minimum, x, 2147483647.0, out=wide, dtype=np.dtype(np.float64))
            self._do(np.maximum, wide, -2147483648.0, out=wide)
            self._do(np.copyto, wide, 0.0, where=missing)
            x = wide
        self._do(np.copyto, out, x, casting="unsafe")

    def _store(self, values: Array, out: Array, accumulate: bool) -> None:
        """out = values, or += with ``accumulate``."""
        if accumulate:
            self._do(np.add, out, values, out=out)
        else:
            self._do(np.copyto, out, values)

    def _accumulating(self, out: Array, accumulate: bool) -> AbstractContextManager[Array]:
        """Return a block's target array: ``out``, or a work array that is then added to it."""
        return self._added_to(out) if accumulate else nullcontext(out)

    @contextmanager
    def _added_to(self, out: Array) -> Iterator[Array]:
        target = self.scratch(out.shape, out.dtype, "accumulated")
        yield target
        self._do(np.add, out, target, out=out)


class HostProgram:
    """The `Program` of a CPU: it traces a step, and replays the array calls.

    Args:
        backend: the only one whose operations the step calls.
        traceable: whether it may be traced. If not, or if tracing fails, the step itself is
            called each time.

    Attributes:
        replay: performs traced steps, so many; None before the second one.
    """

    def __init__(self, backend: TracingBackend, step: Step, traceable: bool) -> None:
        self._backend = backend
        self._step = step
        self._traceable = traceable
        self._calls: list[ArrayCall] = []
        self.replay: Callable[[int], None] | None = None
        self._threads = True  # whether BLAS may use several, as in an untraced step
        self._joint: list[Any] = []  # what `joint` returns, once it is known

    def run(self, steps: int) -> None:
        """Perform the step this many times, from its trace."""
        if current_profile(self._backend) is not None:  # it records operations, not array calls
            self._perform(replay_of([self._step], self._traceable), steps)
            return
        if not self._calls and steps > 0:  # also in lockstep, by itself
            self._calls = self._traced()
            self._perform(quiet(replay_of(self._calls, self._traceable)), 1, self._threads)
            steps -= 1
        if steps >= LEAST_STEPS and (group := lockstep()) and (joint := self.joint()):
            group.run(joint.run_of(steps))
            return
        if steps > 0:
            if self.replay is None and self._traceable:
                self.replay = self._backend.replay_of(self._calls)
            self._perform(self.replay or replay_of(self._calls, False), steps, self._threads)

    def joint(self) -> Any:
        """Return the step as a program for a `Lockstep`; None if it has to run by itself."""
        if not self._joint:
            joint = None
            if self._traceable:
                with suppress(NotTraceableError):
                    joint = self._backend.joint_program(self._step)
            self._joint.append(joint)
        return self._joint[0]

    @staticmethod
    def _perform(run: Callable[[int], None], steps: int, threads: bool = True) -> None:
        if threads and not ParallelRegion.of_this_thread():  # also true in helpers of one
            with ParallelRegion():
                run(steps)
        else:
            run(steps)

    def _traced(self) -> list[ArrayCall]:
        """Return the calls of a step; the step itself if it cannot be traced."""
        if self._traceable:
            try:
                trace = self._backend.trace(self._step)
            except NotTraceableError:
                self._traceable = False
            else:
                self._threads = trace.threads
                return trace.calls
        return [self._step]


def replay_of(calls: list[ArrayCall], ours: bool = True) -> Callable[[int], None]:
    """Return a function of a number of steps that performs the calls of one step that many times.

    If all of them are the framework's, ``ours``, an interrupt (Ctrl-C) waits for the end of a step.
    User code may take long or hang: there it is delivered at once.
    """

    def run(steps: int) -> None:
        for _ in range(steps):
            for call in calls:
                call()

    return partial(perform, calls) if ours else run
