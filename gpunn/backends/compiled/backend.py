"""The compiled backend: NumPy arrays, with compiled operations instead of array passes.

The compiled code is in ``kernels/cpu/``: loops around the same formulas as in the GPU's
kernels. Each method here calls one such operation, or NumPy's method if there
is none, as for a formula without a functor.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.backends.contract import LATER, OpCall, dropout_scale
from gpunn.backends.contract.backend import Array, Program, Step
from gpunn.backends.contract.control import Control
from gpunn.backends.contract.operation import operations_later
from gpunn.backends.host.trace import ArrayCall
from gpunn.backends.numpy.backend import check_position
from gpunn.backends.shared.lockstep import joint_of, lockstep
from gpunn.backends.shared.threads import SIZE_WORTH_THREADS, ParallelRegion
from gpunn.common.holds import Hold
from gpunn.common.importing.light_dataclass import dataclass

from .losses import CompiledLosses
from .operations import MASK64, Arguments, CompiledOperations, by_formula, compiled, name_of
from .products import ours_is_faster, ours_is_faster_in_stacks
from .updates import CompiledUpdates

if TYPE_CHECKING:
    from .convolution import CompiledConvolution
    from .expressions import CompiledExpressions
    from .gather_scatter import CompiledGatherScatter
    from .lanes import LaneProgram
    from .normalization import CompiledNormalization
else:
    CompiledConvolution, CompiledExpressions, CompiledGatherScatter, CompiledNormalization = (
        operations_later(group, CompiledOperations, __package__) for group in LATER
    )

# Names of operations, by whether the activation is row-wise.
FORWARD = {False: "bias_activation", True: "row_activation"}
GRADIENT = {False: "activation_gradient", True: "row_activation_gradient"}


class CompiledBackend(
    CompiledExpressions, CompiledConvolution, CompiledLosses, CompiledNormalization,
    CompiledGatherScatter, CompiledUpdates,
):
    """The backend of arrays in host memory with compiled loops."""

    name = "compiled"

    def parallel_region(self) -> AbstractContextManager[None]:
        return _CompiledRegion(self.library)

    def within(self, array: Any, limit: float) -> bool:
        plain = type(array) is np.ndarray and array.dtype.char in "fd" and array.dtype.isnative
        if plain and array.flags.c_contiguous and array.flags.aligned:
            if array.size < SIZE_WORTH_THREADS:
                return bool(self.library.within(array, limit))
            with self.parallel_region():
                return bool(self.library.within(array, limit))
        return super().within(array, limit)

    def replay_of(self, calls: list[ArrayCall]) -> Callable[[int], None]:
        """Join adjacent compiled calls to a program, which needs no Python between them."""
        joined: list[ArrayCall] = []
        bound, program = self.library.Bound, self.library.Program
        for joins, neighbours in groupby(calls, lambda call: isinstance(call, bound)):
            if not joins:
                joined += neighbours
                continue
            together = [*neighbours]
            if len(together) == len(calls):
                from .joining import join_updates  # which evaluations do not need

                joint = join_updates(together, self.compiled_operations)
                # The last step of a run stores the gradients, which others may read.
                last = [] if joint == together else [program(together)]
                return program(joint, *last).run
            joined.append(partial(program(together).run, 1))
        return super().replay_of(joined)

    def joint_program(self, step: Step) -> LaneProgram | None:
        """See `TracingBackend.joint_program`. Only small networks have one."""
        calls = self.trace(step, own_products=True).calls
        if not all(isinstance(call, self.library.Bound) for call in calls):
            return None
        from .lanes import LaneProgram  # which few trainings need

        program = LaneProgram(self.library, calls)
        return program if program.is_small() else None

    def in_passes(
        self, program: Program, control: Control, totals: Array, sums: np.ndarray, first: int,
        rest: Program | None = None,
    ) -> Program | None:
        next_pass = self._compiled("next_pass")
        if next_pass is None or self.profiled:
            return None
        group: Any = lockstep()
        joint = joint_of(program) if group and rest is None else None
        alone = self._program_alone(program)
        last = None if rest is None else self._program_alone(rest)
        if joint is None and (alone is None or (rest is not None and last is None)):
            return None  # there is Python between two calls
        counters, stopped = control.counters, np.zeros(1, np.int64)
        between = next_pass.bind(totals, totals.size, sums, first, counters, stopped, _end)
        if joint is not None:
            return _JointPasses(group, joint, len(sums), between)
        return _Passes(alone, len(sums), between, last)

    def _program_alone(self, program: Program) -> Any:
        """Return the compiled program that performs the steps of ``program``, if one does."""
        found = getattr(getattr(program, "replay", None), "__self__", None)
        return found if isinstance(found, self.library.Program) else None

    def _matmul(self, call: OpCall) -> None:
        operation = self._compiled("matmul", name_of(call.dtype))
        a, b, out, m, n, k = call.a, call.b, call.out, call.m, call.n, call.k
        own = (self._trace is not None and self._trace.own_products) or ours_is_faster(
            self.instructions, m, n, k
        )
        if operation is None or not own:
            super()._matmul(call)
            return
        strides = a.shape[1], b.shape[1], out.shape[1]
        transposed = call.transpose_a, call.transpose_b
        self._do(operation, a, b, out, m, n, k, *strides, *transposed, call.accumulate)

    def _batched_matmul(self, call: OpCall) -> None:
        operation = self._compiled("matmul", name_of(call.dtype))
        a, b, out, m, n, k = call.a, call.b, call.out, call.m, call.n, call.k
        fits = ours_is_faster_in_stacks(self.instructions, call.stack, m, n, k)
        if operation is None or not fits:
            super()._batched_matmul(call)
            return
        strides, transposed = (a.shape[2], b.shape[2], n), (call.transpose_a, call.transpose_b)
        for i in range(call.stack):
            left, right = a[i if len(a) > 1 else 0], b[i if len(b) > 1 else 0]
            self._do(operation, left, right, out[i], m, n, k, *strides, *transposed, False)

    @compiled(by_formula("activation"), lambda call: FORWARD[call.activation.rowwise])
    def _bias_activation(self, call: OpCall) -> Arguments:
        x, bias, activation = call.x, call.bias, call.activation
        kept = x if bias is not None and activation.saves == "input" else None
        parameters, features = self._parameters(activation), max(call.features, 1)
        return x, bias, parameters, x.size // features, features, kept, call.out

    @compiled(by_formula("activation"), lambda call: GRADIENT[call.activation.rowwise])
    def _activation_gradient(self, call: OpCall) -> Arguments:
        activation, saved, features = call.activation, call.saved, max(call.features, 1)
        sizes = (saved.size // features, features) if activation.rowwise else (saved.size,)
        parameters = self._parameters(activation)
        return saved, call.dy, parameters, *sizes, call.accumulate, call.out

    @compiled()
    def _column_sums(self, call: OpCall) -> Arguments:
        return call.x, call.rows, call.features, call.accumulate, call.out

    @compiled(lambda call: (name_of(call.x.dtype), name_of(call.out.dtype)))
    def _affine(self, call: OpCall) -> Arguments:
        out = call.out
        return call.x, call.scale, call.offset, out.size, call.accumulate, out

    @compiled()
    def _dropout(self, call: OpCall) -> Arguments:
        rate, out = call.rate, call.out
        return (
            call.x, 1.0 - rate, dropout_scale(rate), call.seed & MASK64, call.stream & MASK64,
            call.control.counters, call.first, out.size, out, call.mask,
        )

    @compiled()
    def _dropout_gradient(self, call: OpCall) -> Arguments:
        scale, out = dropout_scale(call.rate), call.out
        return call.dy, call.mask, scale, out.size, call.accumulate, out

    @compiled(lambda call: (name_of(call.source.dtype), name_of(call.out.dtype)))
    def _gather(self, call: OpCall) -> Arguments:
        order, counters = call.order, call.control.counters
        if self._trace is None:  # a program relies on the caller that sets the position
            check_position(order, counters, call.first, call.batch)
        return (
            call.source, order.rows, math.prod(call.row), (order.seed or 0) & MASK64,
            order.seed is not None, counters, call.first, call.batch, call.scale, call.offset,
            call.out,
        )

    @compiled(lambda call: ())
    def _advance(self, call: OpCall) -> Arguments:
        return call.control.counters, call.rows, call.totals


@dataclass(frozen=True)
class _Passes:
    """A program of several passes: ``program`` performs their steps, ``rest`` the last one if it
    is another, and the compiled call ``between`` what is between two of them."""

    program: Any
    count: int
    between: Any
    rest: Any = None

    def run(self, steps: int) -> None:
        self.program.run(steps, self.count, self.between, self.rest)


@dataclass(frozen=True)
class _JointPasses:
    """The same, together with the programs of other threads."""

    group: Any
    joint: LaneProgram
    count: int
    between: Any

    def run(self, steps: int) -> None:
        self.group.run(self.joint.run_of(steps, self.count, self.between))


def _end() -> None:
    """Called where a program ends early: without an error."""


class _CompiledRegion(ParallelRegion):
    """A parallel region in which the compiled operations of this thread may use several threads."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __enter__(self) -> None:
        self.begin(Hold(sys._getframe(1)))
        self._library.set_threads(ParallelRegion.threads())

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        inside = ParallelRegion.of_this_thread()  # of an outer one
        self._library.set_threads(ParallelRegion.threads() if inside else 1)
