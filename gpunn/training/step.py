"""One step of training or evaluation: gather, forward, loss, backward, update.

`ModelStep.__call__` is the only definition of a step: eager Python over backend operations. The
backend may trace or capture it, and then replay the recorded operations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.backends.contract import expression as ir
from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import Control
from gpunn.backends.shared.interrupts import perform
from gpunn.backends.shared.order import Order
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.registry import is_traceable
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.core.workspace import Pool, Workspace
from gpunn.distribution.communicator import Communicator, Shard
from gpunn.feeding.arrays import Windows, windows_of
from gpunn.feeding.rows import name_of
from gpunn.losses.on_tensors import check_mask, of_each_sample

from .loss_terms import LOSS_TOTALS, LossTerm, TargetBuffers
from .objective import Objective

if TYPE_CHECKING:
    from gpunn.losses.normalized_weights import NormalizedWeights


@dataclass(eq=False)
class Batch:
    """The arrays of one batch size: the workspace, and targets and weights of each loss term.

    Args:
        backend, control, pool: Those of the programs that use the batch.
        shard: The rows of the batch that this rank processes.
        training: Whether there are gradients and an update.
    """

    objective: Objective
    backend: Backend
    control: Control
    pool: Pool
    shard: Shard
    training: bool

    def __post_init__(self) -> None:
        of, pool, dtype = self.objective, self.pool, self.objective.spec.dtype
        shard = self.shard
        self.workspace = Workspace(
            of.plan, self.backend, dtype, shard.rows, pool, self.training, of.replaced,
            self.control, of.progress.seed, of.precision, [term.number for term in of.terms],
            of.loss_scale * shard.rows / shard.whole, assigns=self.training,
            shard=shard if shard.ranks.size > 1 else None,
            by_rows=self._tables() if self.training else (),
        )
        self.target_buffers = [
            TargetBuffers(term, self.workspace, pool, dtype, shard.whole) for term in of.terms
        ]

    def _tables(self) -> Sequence[Parameter]:
        """Return the parameters that are updated by rows."""
        of = self.objective
        if not any(p.by_rows for p in of.storage.trained):
            return ()
        from gpunn.core.by_rows import tables

        return tables(of.plan, of.storage, of.optimizer, self.shard)

    def buffers_of(self, given: Collection[str]) -> list[tuple[str, Array]]:
        """Return the buffers of targets, and of given weights: (name in `Rows`, array)."""
        found = []
        for term, buffers in zip(self.objective.terms, self.target_buffers, strict=True):
            found.append((name_of("y", term.number), buffers.y))
            if (name := name_of("weights", term.number)) in given:
                found.append((name, buffers.weights))
        return found


class HeadLoss:
    """The loss of one output in a step, with its gradient and metrics.

    Args:
        buffers: Its targets, and views of predictions and gradient as rows.
        weighted: Whether its rows have weights.
        totals: The sums of losses and metrics.
    """

    def __init__(
        self, term: LossTerm, buffers: TargetBuffers, weighted: bool, backend: Backend,
        totals: Array, ranks: Communicator,
    ) -> None:
        self._term, self._buffers, self._backend = term, buffers, backend
        self._ranks = ranks
        self._weights = buffers.weights if weighted else None  # (batch,) or (batch, steps)
        check_mask(term.loss, buffers.mask)
        if weighted and term.loss._of_tensors:
            of_each_sample(term.loss, buffers.y_pred, buffers.y_true)
        reduction = term.loss.reduction
        # For a weighted mean, scaled weights. Metrics read the original weights.
        divides = weighted or term.loss.ignore_class is not None or buffers.mask is not None
        self._normalized = buffers.normalized if divides else None
        self._normalizing: NormalizedWeights | None = None
        # What each row counts in the sums, of rows whose number differs between batches.
        self.count = 1.0
        if term.target.varies and reduction != "sum":
            self.count /= max(term.target.rows_per_sample, 1)
        self._scale = 1.0 if reduction == "sum" else 1.0 / buffers.whole_rows
        counted = any(m.counted_by_loss for m in term.measures)
        self.sums = totals[term.at : term.at + (LOSS_TOTALS if counted else LOSS_TOTALS - 1)]
        self._own_sums = self.sums
        if self.count != 1.0:
            self._own_sums = backend.zeros(self.sums.shape, np.float64)
        self._measures = []
        self._of_steps: list[tuple[Array, Array]] = []  # weights, and these divided by the steps
        for m, targets, predictions in buffers.measuring:
            by = buffers.weights if m.metric._of_tensors else buffers.weights.reshape(-1)
            given = by if weighted and m.weighted else None
            if buffers.mask is not None:
                from gpunn.metrics.own import takes_weights

                if takes_weights(m.metric):
                    kept = buffers.masked if given is None else buffers.masked_weights
                    given = kept if m.metric._of_tensors else kept.reshape(-1)
            if term.target.varies and m.metric._of_rows:
                given = self._of_one_sample(given, by, m.metric._of_tensors)
            self._measures.append((m.metric, targets, predictions, given, totals[m.at]))

    def _of_one_sample(self, given: Array | None, like: Array, of_samples: bool) -> Array | None:
        """Return weights of rows that add up to the weight of their sample."""
        steps, backend = self._term.target.steps, self._backend
        if steps == 1 or (given is None and of_samples):
            return given
        each = backend.upload(np.full(like.shape, 1 / steps, like.dtype))
        if given is not None:
            self._of_steps.append((given, each))
        return each

    def normalize_weights(self) -> None:
        """Scale the weights to mean 1, if the loss requires it and there is no mask."""
        if self._normalized is not None and self._buffers.mask is None:
            self._normalize()

    def _normalize(self) -> None:
        if self._normalizing is None:
            from gpunn.losses.normalized_weights import NormalizedWeights  # few steps need it

            self._normalizing = NormalizedWeights(
                self._term.loss, self._buffers, self._weights, self._backend, self._ranks
            )
        self._normalizing.compute()

    def compute(self) -> None:
        """Add the loss and the metrics to the sums; write the gradient of the predictions."""
        backend, buffers, term = self._backend, self._buffers, self._term
        if buffers.mask is not None:
            self._normalize()
        gradient = buffers.gradient  # (rows, classes), as the predictions; None in evaluation
        weights = self._weights if self._normalized is None else self._normalized
        if weights is not None and not term.loss._of_tensors:
            weights = weights.reshape(-1)  # (rows,)
        if self.count != 1.0:
            backend.xp.copyto(self._own_sums, 0)
        arrays = buffers.y_true, buffers.y_pred, weights, self._scale, gradient, self._own_sums
        term.loss.add_up(backend, *arrays, buffers.whole_rows)
        if self.count != 1.0:
            backend.affine(self._own_sums, self.count, 0.0, self.sums, accumulate=True)
        for by, each in self._of_steps:
            backend.affine(by, 1 / term.target.steps, 0.0, each)
        if term.weight != 1.0 and gradient is not None:
            backend.affine(gradient, term.weight, 0.0, gradient)
        for targets, labels in buffers.labels:
            backend.affine(targets, 1.0, 0.0, labels)
        for given, function, into in buffers.converted.values():
            backend.bias_activation(given, None, function, into)
        for measure in self._measures:
            backend.metric(*measure)


_ENTRIES = ir.Expression(
    "float64", (ir.ROWS, ir.COLUMNS), (ir.Instruction("add", (0, 1)),), (ir.ExpressionOutput(2),)
)
"""The number of each entry of a window, from its first entry; float64 holds any int32."""


def window_gather(
    backend: Backend, rows: Array, windows: Windows, order: Order, control: Control, out: Array,
    scale: float, offset: float, first: int,
) -> Callable[[], None]:
    """Return a function that gathers the windows of a batch from their series.

    Args:
        rows: (n, length, ...), the view of the series that ``windows`` describes.
        out: (batch, length, ...), of the series' dtype.

    The other arguments: as for ``backend.gather``.
    """
    (count, length), batch, series = rows.shape[:2], len(out), windows.series
    starts = backend.upload(np.arange(count, dtype=np.int32) * windows.apart)  # (n,)
    steps = backend.upload(np.arange(length, dtype=np.int32)[np.newaxis] * windows.step)
    found = backend.zeros((batch,), np.int32)  # where the windows of the batch start
    each = found.reshape(-1, 1)
    numbers = backend.zeros((batch, length), np.int32)  # of their entries in the series
    taken = series.reshape(1, len(series), -1), numbers.reshape(1, -1)
    into = out.reshape(1, batch * length, -1)

    def gather() -> None:
        backend.gather(starts, order, control, found, 1.0, 0.0, first)
        backend.expression(_ENTRIES, batch, length, [each, steps], [numbers])
        backend.take_rows(*taken, into, wraps=False)
        if (scale, offset) != (1.0, 0.0):
            backend.affine(out, scale, offset, out)

    return gather


class ModelStep:
    """A step on a batch of one size. Calling it runs the step.

    Args:
        batch: Its arrays and its objective.
        totals: The sums of the programs that the step belongs to.
        given: Names of the arrays in the data, see `name_of`.
        source: The arrays of a data set by these names, to gather batches from; None if the
            host writes each batch.
        order: Order of the rows of ``source``.
        undo: An `Undo` that backs up state that the step changes before its end, if needed.
    """

    def __init__(
        self, batch: Batch, totals: Array, given: Collection[str],
        source: Mapping[str, Array] | None = None, order: Order | None = None, undo: Any = None,
    ) -> None:
        objective, backend, control = batch.objective, batch.backend, batch.control
        self.undo, self.ranks = undo, batch.shard.ranks
        self.backend, self.control, self.batch = backend, control, batch
        self.storage, self.workspace, terms = objective.storage, batch.workspace, objective.terms
        self.losses = [
            HeadLoss(
                term, buffers, name_of("weights", term.number) in given, backend, totals, self.ranks
            )
            for term, buffers in zip(terms, batch.target_buffers, strict=True)
        ]
        # Sums of several losses: the penalties, and the value that shows a bad batch.
        self.parts: list[Array] = []
        if not objective.separate_total:
            self.penalties = self.bad = self.losses[0].sums
        else:
            self.penalties, self.bad = totals[-2:], totals[-1:]
            self.parts = [totals[term.at : term.at + 1] for term in terms] + [totals[-2:-1]]
        self.rows = batch.workspace.batch
        if terms and self.losses[0].count == 1.0:
            self.rows = batch.target_buffers[0].rows
        self.counted: list[Array] = []  # to count the rows if only layers add losses
        if not terms:
            self.counted = [backend.zeros((1,), np.float64), totals[:1]]
        updated = self._updated()
        self.optimizer = objective.optimizer if batch.training and updated.groups else None
        self.update: Any = self.optimizer and partial(self.optimizer.step, updated)
        if self.update and (by_rows := self.workspace.by_rows):
            from gpunn.core.by_rows import updating

            self.update = updating(self.optimizer, updated, [*by_rows.values()], backend)
        if self.update:
            self.update = backend.named("update", self.update)
        parts: list[Any] = [p.constraint for p in updated.trained]
        if self.optimizer is not None:
            parts += [self.optimizer, *self.optimizer.schedules.values()]
        self._waits = self.optimizer is not None and all(map(is_traceable, parts))
        self.loss_scale = self.optimizer.loss_scale_factor if self.optimizer else None
        self.penalized = bool(self.storage.penalized)
        if not (terms or self.penalized or self.workspace.losses):
            raise ValueError(
                "There is no loss: compile was given none, and no layer calls add_loss or "
                "has a regularizer. Pass a loss to compile."
            )
        self.gathers: list[Callable[[], None]] = []
        if source is not None:
            assert order is not None
            first, scalings = batch.shard.first, self.workspace.scalings
            for k, (x, scaling) in enumerate(zip(self.workspace.xs, scalings, strict=True)):
                rows = source[name_of("x", k)]
                how = order, control, x, *scaling, first
                windows = windows_of(rows, backend, overlapping=False)
                self.gathers.append(
                    partial(backend.gather, rows, *how)
                    if windows is None
                    else window_gather(backend, rows, windows, *how)
                )
            self.gathers += [
                partial(backend.gather, source[name], order, control, into, 1.0, 0.0, first)
                for name, into in batch.buffers_of(source)
            ]

    def _updated(self) -> ParameterStorage:
        """Return the storage with the weights that a loss or a penalty depends on. As in Keras, an
        update changes no others, whatever it does for a gradient of 0."""
        storage, reached = self.storage, self.workspace.reached
        changed = [p for p in storage.trained if id(p) in reached or p.regularizer is not None]
        if not self.batch.training or len(changed) == len(storage.trained):
            return storage
        part = storage.part(changed)
        part.take_slots(storage.slots)
        return part

    def __call__(self) -> None:
        """Run the whole step, in this order. Shapes: n rows of data, a batch of them."""
        if self.undo is not None:
            self.undo.keep()
        self.gather()  # data (n, ...) -> inputs, targets and weights (batch, ...)
        self.workspace.forward()  # inputs -> predictions (batch, ...), layer by layer
        self.compute_losses()  # predictions, targets -> sums; gradients of the predictions
        if self.optimizer is not None:
            self.backward()  # these (batch, ...) -> gradients of all parameters, in the storage
            self.sum_gradients()  # of this rank's rows -> of the batch's
        self.add_penalties()  # weights, layers' losses -> sums; weight penalties -> gradients
        if self._waits:  # an interrupt, also in a step that is not the framework's alone
            perform([self.finish], 1)
        else:
            self.finish()

    def finish(self) -> None:
        """Update and count: the end of the step, of which all happens or nothing."""
        if self.optimizer is not None:
            self.update(self.control, self.backend)  # -> weights, slots
        self.advance()  # the counters of the control block: next batch, next update

    def gather(self) -> None:
        for gather in self.gathers:
            gather()
        for loss in self.losses:
            loss.normalize_weights()

    def compute_losses(self) -> None:
        for loss in self.losses:
            loss.compute()
        if self.counted:
            self.backend.affine(self.counted[0], 0.0, self.rows, self.counted[1], accumulate=True)

    def backward(self) -> None:
        """Run the backward pass; a loss scale keeps small gradients from underflowing."""
        backend, scale, gradients = self.backend, self.loss_scale, self.storage.gradients
        if scale:
            for buffers in self.batch.target_buffers:
                backend.affine(buffers.gradient, scale, 0.0, buffers.gradient)
        self.workspace.backward()
        if scale:
            backend.affine(gradients, 1 / scale, 0.0, gradients)

    def sum_gradients(self) -> None:
        if self.ranks.size > 1:
            self.backend.sum_over_ranks(self.storage.gradients, self.ranks)

    def add_penalties(self) -> None:
        if self.penalized:
            trains = self.optimizer is not None
            self.backend.regularize(self.storage, self.rows, trains, self.penalties)
        for loss in self.workspace.losses if self.rows else ():
            self.backend.affine(loss, self.rows, 0.0, self.penalties[:1], accumulate=True)

    def advance(self) -> None:
        for number, total in enumerate(self.parts):  # a non-finite part makes the sum non-finite
            self.backend.affine(total, 1.0, 0.0, self.bad, accumulate=number > 0)
        self.backend.advance(self.control, self.batch.shard.whole, self.bad)
