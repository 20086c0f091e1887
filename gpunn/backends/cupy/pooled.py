"""A convolution whose results only a pooling reads: on a GPU, these are not written.

A thread block that has computed all results under a window of the pooling writes the largest, and a
byte that says where it was. From the gradient of the pooling and these bytes follows that of the
convolution's sums, dz: it is that gradient at these places, and 0 elsewhere. A gradient with few
rows is computed from them directly. The library's products need dz as a matrix, which is written.

Operations are joined in the list of a step's tasks, where all readers of an array are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.formulas import LINEAR
from gpunn.backends.contract.profiling import Profile, ProfiledOperation
from gpunn.backends.shared.geometry import Geometry

from .convolution import CupyConvolution, _rows, _tiles
from .launch.codegen import BLOCK
from .launch.protocols import EPILOGUES
from .launch.tasks import Conflict, Task, region

ROWS_OF_PASS = 24  # a divisor of the rows that `pooled_convolution` pools at a time
POOLED_WINDOWS = 8  # that a thread adds up in registers, or more: each has one patch


class Asked(NamedTuple):
    """An operation of a step, its call, and its tasks."""

    operation: ProfiledOperation
    call: OpCall
    tasks: list[Task]


class CupyPooled(CupyConvolution):
    """Convolutions joined with the pooling of their results; a part of `CupyBackend`."""

    def joined(
        self, tasks: Sequence[Task], profile: Profile, unread: Sequence[Array]
    ) -> list[Task]:
        """Return the tasks of a step, with convolutions and poolings joined where nothing else
        reads what lies between them.

        Args:
            profile: of the step; its operations have requested the tasks.
            unread: arrays that nothing reads after the step.
        """
        known = {
            id(operation): call
            for operation, (_, call) in zip(profile.operations, profile.calls, strict=True)
        }
        step = [
            Asked(made[0].operation, known[id(made[0].operation)], made)
            for _, several in groupby(tasks, lambda task: id(task.operation))
            if (made := list(several)) and made[0].operation is not None
        ]
        if sum(len(each.tasks) for each in step) < len(tasks):
            return list(tasks)
        for first, second in pairwise(step):
            names = first.operation.name, second.operation.name
            if names == ("convolution", "max_pooling"):
                step = self._joined_with(step, first, second, unread)
        return [task for each in step for task in each.tasks]

    def _joined_with(
        self, step: list[Asked], convolution: Asked, pooling: Asked, unread: Sequence[Array]
    ) -> list[Asked]:
        """Return the operations of a step, with this convolution and this pooling joined if they
        can be, and are predicted to be faster."""
        call, y = convolution.call, pooling.call.x
        backward = _gradients(step, call, pooling.call)
        if not _is_same(call.out, y) or not any(_is_same(y, array) for array in unread):
            return step
        hidden = [y, *(gradient.call.dy for gradient in backward[1:])]
        inside = {id(each) for each in (convolution, pooling, *backward)}
        others = [task for each in step if id(each) not in inside for task in each.tasks]
        if any(_touches(task, array) for task in others for array in hidden):
            return step
        if not self._pools(call, pooling.call.geometry):
            return step
        self._unwritten.add(region(y, True))
        at, places = _place(step, convolution), None
        if backward:
            places = self.scratch(pooling.call.out.shape, np.uint8, f"places of {at}")
        ask = partial(self._pooled_convolution, call, pooling.call, places)
        made = [*step]
        made[at : at + 2] = [self._asked(ask, convolution, pooling)]
        if backward:
            unpooling, gradient = backward
            at = _place(made, unpooling)
            ask = partial(self._gradient_of_pooled, gradient.call, unpooling.call, places)
            made[at : at + 2] = [self._asked(ask, gradient, unpooling)]
        return made

    def _asked(self, ask: Callable[[], None], of: Asked, other: Asked) -> Asked:
        """Return the tasks that a function requests for two operations as those of the first."""
        with self.profile():  # of its own: what an operation calls is not one of the step's
            tasks = self.trace(ask, epilogues=True)
        for task in tasks:
            task.operation = of.operation
        tasks[0].joined.append(other.operation)
        return Asked(of.operation, of.call, tasks)

    def _pools(self, call: OpCall, pooling: Geometry) -> bool:
        """Return whether a convolution can be joined with a pooling, and is predicted to be faster
        so than by patches, a product, and passes over its results."""
        apart = pooling.strides == pooling.window and pooling.padding == (0, 0)
        inside = all(
            n * k <= m
            for n, k, m in zip(pooling.windows, pooling.window, pooling.image, strict=True)
        )
        grouped = call.group_channels < call.channels
        if grouped or not (apart and inside) or ROWS_OF_PASS % pooling.cells:
            return False
        if call.activation.functor not in EPILOGUES or self.overlap(call.z, call.out) != "same":
            return False
        if pooling.dilation != (1, 1):
            return False
        rows = call.samples * pooling.windows[0] * pooling.windows[1] * pooling.cells
        sizes = rows, call.filters, len(_rows(call.kernel))
        return self._without_patches(call, sizes, 2 * call.out.nbytes, 3)

    def _pooled_convolution(self, call: OpCall, pooling: OpCall, places: Array | None) -> None:
        cells, out = pooling.geometry.cells, _rows(pooling.out)
        self._part(
            "pooled_convolution", call, _tiles(len(out) * cells, call.filters) * BLOCK,
            geometry=self._geometry(call.geometry), pooling=self._geometry(pooling.geometry),
            relu=EPILOGUES[call.activation.functor] == "relu", places=places, out=pooling.out,
        )

    def _gradient_of_pooled(self, call: OpCall, pooling: OpCall, places: Array) -> None:
        """Compute the gradients of a convolution from those of its pooling, ``pooling.dy``."""
        dz, kernel = call.dy, call.dkernel
        if call.dx is None and kernel is not None:
            rows, filters = _rows(kernel).shape
            if self._has_few_rows(call, (rows, filters, len(_rows(dz)))):
                self._few_rows_of_pooled(call, pooling, places)
                return
        self._image_part("unpooling", pooling, dz, dz, places=places, out=dz)
        linear = OpCall()
        linear.__dict__.update(call.__dict__, activation=LINEAR, saved=None)
        self._convolution_gradient(linear)

    def _few_rows_of_pooled(self, call: OpCall, pooling: OpCall, places: Array) -> None:
        """Request the gradients of the kernel and the bias as sums of pieces of the windows."""
        dkernel, dbias, filters = call.dkernel.reshape(-1), call.dbias, call.filters
        pieces = max(1, len(_rows(places)) // POOLED_WINDOWS)
        partial, partial_bias = (
            self.scratch((pieces, n), dkernel.dtype, f"gradients of the {of}")
            for n, of in ((dkernel.size, "kernel"), (filters, "bias"))
        )
        self._part(
            "pooled_few_rows_gradient", call, pieces * filters,
            geometry=self._geometry(call.geometry), pooling=self._geometry(pooling.geometry),
            dy=pooling.dy, places=places, pieces=pieces, partial=partial,
            partial_bias=partial_bias,
        )
        self.column_sums(partial, dkernel, accumulate=call.accumulate_gradients)
        if dbias is not None:
            self.column_sums(partial_bias, dbias, accumulate=call.accumulate_gradients)


def _gradients(step: Sequence[Asked], call: OpCall, pooling: OpCall) -> list[Asked]:
    """Return the gradients of a pooling and of the convolution before it, one after the other, if a
    step has both; else nothing."""
    for first, second in pairwise(step):
        names = first.operation.name, second.operation.name
        if names != ("max_pooling_gradient", "convolution_gradient"):
            continue
        given, taken = first.call, second.call
        saved = taken.saved is None or _is_same(taken.saved, call.out)
        of_both = _is_same(given.x, call.out) and _is_same(given.y, pooling.out)
        alike = taken.activation.functor == call.activation.functor and taken.x is not None
        between = _is_same(given.dx, taken.dy) and given.geometry == pooling.geometry
        if saved and of_both and alike and between and not given.accumulate_dx:
            return [first, second]
    return []


def _place(step: Sequence[Asked], of: Asked) -> int:
    return next(place for place, each in enumerate(step) if each is of)


def _is_same(a: Array, b: Array) -> bool:
    return region(a, False) == region(b, False)


def _touches(task: Task, array: Array) -> bool:
    hidden = region(array, True)
    return any(hidden.conflict(other) is not Conflict.NONE for other in task.regions)
