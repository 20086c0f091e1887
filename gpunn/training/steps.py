"""The steps of training or evaluation: programs, and all that they compute with.

The step is eager Python over backend operations: gather a batch, run the layers forward,
the loss with its gradient, the layers backward, one update, advance the control block. The
backend may trace it, or capture it, and repeat that; there is no other description of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from gpunn.backends.contract.backend import Array, Program
from gpunn.backends.contract.control import Control
from gpunn.backends.shared.order import Order
from gpunn.core.workspace import Pool, Workspace
from gpunn.feeding.memory import Cache, room_for_batch
from gpunn.feeding.rows import Rows, name_of
from gpunn.optimizers.schedules.schedule import HostRates

from .heads import LOSS_TOTALS, Head, TargetBuffers

if TYPE_CHECKING:
    from .trainer import Trainer

CACHED_PROGRAMS = 8  # batch sizes of streamed batches that are kept ready


class Batch:
    """The arrays of one batch size: the workspace and what the losses are given."""

    def __init__(self, steps: Steps, size: int) -> None:
        trainer, dtype = steps.trainer, steps.trainer.spec.dtype
        self.workspace = Workspace(
            trainer.plan,
            steps.backend,
            dtype,
            size,
            steps.pool,
            steps.training,
            trainer.replaced,
            steps.control,
            trainer.seed,
            trainer.precision,
            [head.number for head in trainer.heads],
        )
        self.size = size
        self.target_buffers = [
            TargetBuffers(head, self.workspace, steps.pool, dtype) for head in trainer.heads
        ]


class Steps:
    """Programs of training, or of one evaluation, and what they compute with.

    One call at a time uses them: an evaluation beside another has its own.

    Args:
        trainer: whose steps they are.
        training: whether gradients are made and weights are updated.
        control, totals: the control block and the sums, if they are to go on with what
            others have come to.
    """

    def __init__(
        self,
        trainer: Trainer,
        training: bool,
        control: Control | None = None,
        totals: Array = None,
    ) -> None:
        self.trainer = trainer
        self.training = training
        self.backend = trainer.backend.isolated()
        self.control = control or Control(trainer.backend)
        if totals is None:
            totals = trainer.backend.zeros(trainer.zeros.shape, np.float64)
        self.totals = totals
        self.pool = Pool(self.backend)
        self.last_batch: Batch | None = None
        self.steps_at_once: dict[int, int] = {}  # of each batch size, see `loops`
        self._on_batch: dict[tuple[int, frozenset[str]], tuple[Batch, Program]] = {}
        self._on_rows: WeakKeyDictionary[Rows, dict[Any, tuple[Batch, Program]]]
        self._on_rows = WeakKeyDictionary()

    def forget_programs(self) -> None:
        self._on_batch.clear()
        self._on_rows.clear()

    def room(self, size: int, *caches: Cache) -> Any:
        """See `room_for_batch`."""
        trainer = self.trainer
        caches = (*caches, self._on_batch, self._on_rows, self.pool)
        bound = trainer.plan, self.backend, trainer.spec.dtype
        return room_for_batch(size, *bound, self.training, *caches)

    # -- programs

    def program(self, size: int, source: Rows, order: Order) -> Program:
        """A program that takes the next ``size`` rows of ``source`` each time.

        It is kept as long as ``source`` lives.
        """
        programs = self._on_rows.setdefault(source, {})
        key = size, order.rows, order.seed
        entry = programs.pop(key, None) or self._new_program(size, source, order)
        while len(programs) >= CACHED_PROGRAMS:
            del programs[next(iter(programs))]
        programs[key] = entry  # the last place: most recently used
        self.last_batch, program = entry
        return program

    def _new_program(self, size: int, source: Rows, order: Order) -> tuple[Batch, Program]:
        batch = Batch(self, size)
        workspace, backend, control = batch.workspace, self.backend, self.control
        # The arrays, not `source`: the program must not keep alive what keeps it.
        arrays = source.arrays
        finish = self._step(batch, frozenset(arrays))
        gathers = [
            (arrays[name_of("x", k)], x, *scaling)
            for k, (x, scaling) in enumerate(zip(workspace.xs, workspace.scalings, strict=True))
        ] + [(arrays[name], into, 1.0, 0.0) for name, into in self._targets_of(batch, arrays)]

        def step() -> None:
            for rows, into, scale, offset in gathers:
                backend.gather(rows, order, control, into, scale, offset)
            finish()

        return batch, self._make_program(step)

    def on_batch(self, rows: Rows) -> dict[str, float]:
        """Loss and metrics of one step on a batch that the host brings."""
        self.reset_totals()
        self.run_batch(rows)
        return self.logs()

    def run_batch(self, rows: Rows) -> None:
        """One step on a batch that the host brings."""
        with self.room(len(rows)):
            self._run_batch(rows)

    def _run_batch(self, rows: Rows) -> None:
        names = frozenset(rows.arrays)
        key = len(rows), names
        entry = self._on_batch.pop(key, None)
        if entry is None:
            batch = Batch(self, len(rows))
            entry = batch, self._make_program(self._step(batch, names))
            while len(self._on_batch) >= CACHED_PROGRAMS:
                del self._on_batch[next(iter(self._on_batch))]
                self.backend.release()  # work arrays of its size
        self._on_batch[key] = entry  # the last place: most recently used
        batch, program = entry
        self.last_batch = batch
        workspace, arrays = batch.workspace, rows.arrays
        workspace.put([arrays[name_of("x", k)] for k in range(len(workspace.xs))])
        for name, into in self._targets_of(batch, names):
            self.backend.convert(arrays[name], into)
        self.run(program, 1)

    def run(self, program: Program, steps: int) -> None:
        """Run one of the programs while nobody else writes the weights."""
        access = self.trainer.arena.access
        with access.writing() if self.training else access.reading():
            program.run(steps)

    def _make_program(self, step: Callable[[], None]) -> Program:
        """A program of ``step``; the host sets what a schedule without a functor computes."""
        program = self.backend.program(step, self.trainer.traceable)
        optimizer = self.trainer.optimizer if self.training else None
        by_host = optimizer and any(s.functor is None for s in optimizer.schedules.values())
        return HostRates(program, optimizer) if by_host else program

    def _targets_of(self, batch: Batch, given: Collection[str]) -> list[tuple[str, Array]]:
        """Where targets and weights of a batch go, by their names in `Rows`."""
        found = []
        for head, buffers in zip(self.trainer.heads, batch.target_buffers, strict=True):
            found.append((name_of("y", head.number), buffers.y))
            if (name := name_of("weights", head.number)) in given:
                found.append((name, buffers.weights))
        return found

    def _step(self, batch: Batch, given: Collection[str]) -> Callable[[], None]:
        """The step from a filled batch on; ``given``: the names of its arrays."""
        trainer, backend, control = self.trainer, self.backend, self.control
        arena, totals, workspace = trainer.arena, self.totals, batch.workspace
        begin, losses = [], []
        for head, buffers in zip(trainer.heads, batch.target_buffers, strict=True):
            weighted = name_of("weights", head.number) in given
            weights = buffers.weights.reshape(-1) if weighted else None
            if weighted and head.loss.reduction == "mean_with_sample_weight":
                begin.append(self._normalizing(weights, buffers.rows))
            losses.append(self._losing(head, buffers, weights))
        penalties = bad = self._sums(trainer.heads[0])
        sums: list[Array] = []
        if trainer.apart:
            penalties, bad = totals[-2:], totals[-1:]
            sums = [totals[head.at : head.at + 1] for head in trainer.heads] + [totals[-2:-1]]
        rows = batch.target_buffers[0].rows
        optimizer = trainer.optimizer if self.training and arena.groups else None
        factor = optimizer.loss_scale_factor if optimizer else None
        penalized = bool(arena.penalized)

        def step() -> None:
            for normalize in begin:
                normalize()
            workspace.forward()
            for lose in losses:
                lose()
            if optimizer is not None:
                if factor:
                    for buffers in batch.target_buffers:
                        backend.affine(buffers.gradient, factor, 0.0, buffers.gradient)
                workspace.backward()
                if factor:
                    backend.affine(arena.gradients, 1 / factor, 0.0, arena.gradients)
                if penalized:
                    backend.regularize(arena, rows, True, penalties)
                optimizer.step(arena, control, backend)
            elif penalized:
                backend.regularize(arena, rows, False, penalties)
            for number, total in enumerate(sums):  # one that is not finite makes their sum so
                backend.affine(total, 1.0, 0.0, bad, accumulate=number > 0)
            backend.advance(control, batch.size, bad)

        return step

    def _sums(self, head: Head) -> Array:
        """The sums that a head's loss adds to."""
        counted = any(m.counted_by_loss for m in head.measures)
        return self.totals[head.at : head.at + (LOSS_TOTALS if counted else LOSS_TOTALS - 1)]

    def _normalizing(self, weights: Array, rows: int) -> Callable[[], None]:
        """Make the mean of the weights 1."""
        backend = self.backend

        def normalize() -> None:
            xp = backend.xp  # here, so that a trace notices that it is used
            total = xp.sum(weights)
            total = total + (total == 0)  # no weight at all: the loss is 0, not 0 / 0
            xp.multiply(weights, rows / total, out=weights)

        return normalize

    def _losing(
        self, head: Head, buffers: TargetBuffers, weights: Array | None
    ) -> Callable[[], None]:
        """The loss of one output, with its gradient, and its metrics."""
        backend, loss, weight = self.backend, head.loss, head.weight
        sums, gradient = self._sums(head), buffers.gradient
        scale = 1.0 if loss.reduction == "sum" else 1.0 / buffers.rows
        y_true, y_pred = buffers.y_true, buffers.y_pred
        measures = [
            (m.metric, targets, predictions, weights if m.weighted else None, self.totals[m.at])
            for m, targets, predictions in buffers.measuring
        ]
        conversions = buffers.conversions

        def lose() -> None:
            backend.loss(loss, y_true, y_pred, weights, scale, gradient, sums)
            if weight != 1.0 and gradient is not None:
                backend.affine(gradient, weight, 0.0, gradient)
            for given, function, into in conversions:
                backend.bias_activation(given, None, function, into)
            for measure in measures:
                backend.metric(*measure)

        return lose

    # -- what it adds up

    def reset_totals(self) -> None:
        """Begin a new epoch's (or evaluation's) sums."""
        self.backend.write(self.totals, self.trainer.zeros)
        for reset in self.trainer.own_resets:
            reset()

    def logs(self) -> dict[str, float]:
        """Losses and metrics since the last reset. Waits for the device."""
        return self.trainer.logs_of(self.backend.read(self.totals))
