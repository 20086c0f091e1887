"""Step programs that `fit` and `evaluate` run, and their arrays."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Program
from gpunn.backends.contract.control import BAD_BATCH, BATCHES, PASS, POSITION, Control
from gpunn.backends.shared.order import Order
from gpunn.common.config import eagerly, runs_eagerly
from gpunn.common.registry import is_traced
from gpunn.core import tracked_metrics
from gpunn.core.plan import KEPT_SHAPES
from gpunn.core.workspace import Pool
from gpunn.distribution.communicator import ALONE, Communicator, Shard
from gpunn.feeding.memory import Cache, memory_for_batch
from gpunn.feeding.rows import Rows, name_of

from .objective import Objective
from .step import Batch, ModelStep

CACHED_PROGRAMS = 8  # on rows, and on batch sizes of streamed batches, of samples of one shape
KEPT_BATCHES = 2  # batch sizes whose arrays other data reuse: an epoch's regular and last batch
Entry = tuple[Batch, Program]


class OnRows:
    """A program, with the arrays of its batch and the rows that it reads: they are in memory as
    long as this object exists."""

    def __init__(self, program: Program, batch: Batch, rows: Rows) -> None:
        self.program, self.batch, self.rows = program, batch, rows

    def run(self, steps: int) -> None:
        self.program.run(steps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)


class Programs:
    """Programs of training, or of one evaluation, and their arrays.

    One call at a time uses them: concurrent evaluations each have their own.

    Args:
        before: Earlier programs whose control block and sums they continue, if any.

    Attributes:
        ranks: The ranks that share the rows of each batch.
    """

    def __init__(
        self, objective: Objective, training: bool, before: Programs | None = None
    ) -> None:
        backend = objective.backend
        self.objective = objective
        self.training = training
        self.ranks = ALONE
        self.backend = backend.isolated()
        self.control: Control = before.control if before else Control(backend)
        zeros = objective.zeros.shape, np.float64
        self.totals: Array = before.totals if before else backend.zeros(*zeros)
        self.pool = Pool(self.backend)
        self.undo: Any = None  # an `Undo`
        checks = any(map(is_traced, objective.formulas))
        if training and checks and backend.stops and objective.storage.state.size:
            from gpunn.core.undo import Undo  # which most trainings do not need

            self.undo = Undo(objective.storage, self.control, self.backend)
        self.last_batch: Batch | None = None
        self.steps_at_once: dict[int, int] = {}  # of each batch size, see `loops`
        self._batches: dict[tuple[Any, ...], Batch] = {}  # arrays of each batch shape
        self._on_batch: dict[tuple[Any, ...], Entry] = {}
        self._on_rows: dict[Any, Entry] = {}  # by the locations of the rows
        varies = objective.plan.unknown
        self._most_batches = KEPT_SHAPES if varies else KEPT_BATCHES
        self._most_programs = KEPT_SHAPES if varies else CACHED_PROGRAMS
        self._version = objective.version

    def join(self, ranks: Communicator) -> None:
        """Share the rows of each batch with these ranks from now on."""
        if ranks is not self.ranks:
            self.forget_programs()
            self.ranks = ranks

    def follow(self) -> bool:
        """Discard programs that are no longer valid; return whether there may have been any."""
        version = self.objective.version
        if self._version == version:
            return False
        self.forget_programs()
        self._version = version  # last: an interrupt before must not leave invalid programs
        return True

    def forget_programs(self) -> None:
        for cache in (self._batches, self._on_batch, self._on_rows):
            cache.clear()
        self.backend.forget_kept()

    def memory_for(self, size: int, rows: Rows | None, *caches: Cache) -> Any:
        """See `memory_for_batch`. ``rows``: of which a batch is, or None if these may vary."""
        objective = self.objective if rows is None else self.objective.for_rows(rows)
        if objective.plan.unknown:
            return nullcontext()  # each of its batches asks for its own
        caches = (*caches, self._batches, self._on_batch, self._on_rows, self.pool)
        bound = objective.plan, self.backend, objective.spec.dtype
        return memory_for_batch(size, *bound, self.training, *caches)

    # -- programs

    def program(self, size: int, source: Rows, order: Order) -> OnRows:
        """Return a program that processes the next ``size`` rows of ``source`` in each step.

        It is cached without the rows. The next call with rows in the same place gets it too,
        whatever they are by then.
        """
        key = source.locations, size, order.rows, order.seed, self._eager
        entry = self._on_rows.pop(key, None)
        if entry is None:
            arrays = {name: self.backend.borrowed(a) for name, a in source.arrays.items()}
            objective, shard = self.objective.for_rows(source), self.ranks.shard(size)
            entry = self._program_of(objective, shard, arrays.keys(), arrays, order)
        while len(self._on_rows) >= self._most_programs:
            del self._on_rows[next(iter(self._on_rows))]
        self._on_rows[key] = entry  # the last place: most recently used
        batch, program = entry
        return OnRows(program, batch, source)

    def on_batch(self, rows: Rows) -> dict[str, float]:
        """Run one step on a batch from the host; return loss and metrics."""
        self.follow()
        self.reset_totals()
        self.run_batch(rows)
        return self.logs()

    def run_batch(self, rows: Rows, sharded: bool = False) -> None:
        """Run one step on a batch from the host; on this rank's shard of it, if ``sharded``."""
        with self.memory_for(len(rows), rows):
            self._run_batch(rows, sharded)

    def _run_batch(self, rows: Rows, sharded: bool) -> None:
        names = frozenset(rows.arrays)
        if sharded:
            shard, mine = self.ranks.shard_of(len(rows)), slice(None)
        else:
            shard = self.ranks.shard(len(rows))
            mine = slice(shard.first, shard.first + shard.rows)
        objective = self.objective.for_rows(rows)
        key = shard, objective.plan.input_shapes, names, self._eager
        entry = self._on_batch.pop(key, None)
        if entry is None:
            entry = self._program_of(objective, shard, names)
            while len(self._on_batch) >= self._most_programs:
                del self._on_batch[next(iter(self._on_batch))]
                self.backend.release()  # work arrays of its size
        self._on_batch[key] = entry  # the last place: most recently used
        batch, program = entry
        self.show(batch)
        workspace, arrays = batch.workspace, rows.arrays
        workspace.put([arrays[name_of("x", k)][mine] for k in range(len(workspace.xs))])
        for name, into in batch.buffers_of(names):
            self.backend.convert(arrays[name][mine], into)
        self.run(program, 1)

    def run(self, program: Program, steps: int) -> None:
        """Run a program, during which no other thread writes the weights."""
        if isinstance(program, OnRows):
            self.show(program.batch)
        if self._eager and not runs_eagerly():
            with eagerly(True):
                return self.run(program, steps)
        access = self.objective.storage.access
        with access.writing() if self.training else access.reading():
            try:
                program.run(steps)
            except BaseException:
                if self.undo is not None:
                    self.undo.take_back()
                raise

    def show(self, batch: Batch) -> None:
        """Let these arrays be those of the last batch."""
        self.last_batch = batch
        if self.training:
            self.objective.storage.row_gradients = batch.workspace.by_rows

    @property
    def _eager(self) -> bool:
        return self.objective.spec.eager or runs_eagerly()

    def _program_of(
        self, objective: Objective, shard: Shard, given: Collection[str],
        source: Mapping[str, Array] | None = None, order: Order | None = None,
    ) -> Entry:
        """Return the arrays of a batch shape and its step program; arguments as in `ModelStep`."""
        batch = self._batch(objective, shard)
        step = ModelStep(batch, self.totals, given, source, order, self.undo)
        with eagerly(self._eager):
            whole = self.objective
            unread = () if whole.progress.keeps_outputs else batch.workspace.unread
            program = self.backend.program(step, whole.traceable, whole.launch_modes, unread)
        optimizer = objective.optimizer if self.training else None
        # The host computes a schedule without a functor before each step.
        by_host = optimizer and any(s.functor is None for s in optimizer.schedules.values())
        if not by_host:
            return batch, program
        from gpunn.optimizers.schedules.schedule import HostRates

        return batch, HostRates(program, optimizer)

    def _batch(self, objective: Objective, shard: Shard) -> Batch:
        """Return the arrays of a batch shape.

        Programs on any data share them, so that user-defined code is traced only once.
        """
        key = shard, objective.plan.input_shapes, self._eager
        batch = self._batches.pop(key, None)
        if batch is None:
            of = objective, self.backend, self.control, self.pool
            batch = Batch(*of, shard, self.training)
            while len(self._batches) >= self._most_batches:
                del self._batches[next(iter(self._batches))]
        self._batches[key] = batch  # the last place: most recently used
        return batch

    def wait(self) -> None:
        """Wait for the device: Ctrl-C does not interrupt work on a GPU."""
        self.backend.synchronize()

    def adapt(self, size: int, steps: int) -> None:
        """Set how many steps on batches of a size run at once."""
        self.steps_at_once[size] = max(1, steps)

    # -- the sums

    def reset_totals(self) -> None:
        """Reset the sums for a new epoch or evaluation."""
        self.backend.write(self.totals, self.objective.zeros)
        for reset in self.objective.own_resets:
            reset()

    def add_up(self) -> np.ndarray:
        """Return the sums of all ranks, and let rank 0 have them: a checkpoint then holds the sums
        of one process. Waits for the device."""
        totals = self.backend.read(self.totals)
        if self.ranks.size > 1:
            self.ranks.sum(totals)
            mine = totals if self.ranks.rank == 0 else self.objective.zeros
            self.backend.write(self.totals, mine)
        return totals

    def logs(self) -> dict[str, float]:
        """Return losses and metrics since the last reset, of the rows of all ranks, which all call
        this. Waits for the device."""
        logs, layers = self.objective.logs_of(self.add_up()), self.objective.layer_metrics
        return logs | tracked_metrics.logs_of(layers, self.ranks) if layers else logs

    def known_logs(self) -> dict[str, float]:
        """Return losses and metrics of the sums that this rank has. Waits for the device."""
        totals, layers = self.backend.read(self.totals), self.objective.layer_metrics
        logs = self.objective.logs_of(totals)
        return logs | tracked_metrics.logs_of(layers, ALONE) if layers else logs

    # -- a loss that is not finite

    def bad_layer(self, feed: Any = None, whole: bool = False) -> str | None:
        """Return a sentence about the layer that made a loss not finite, if one did so by itself.

        Args:
            feed: The `BatchIterator` of the data; None for the last batch alone.
            whole: Whether these are all rows of x, in its order.
        """
        from gpunn.structure.non_finite import origin  # which most trainings do not need

        of, last, counters = self.objective, self.last_batch, self.control.get()
        batch = int(counters[BAD_BATCH])
        # An error of this search must not hide the loss.
        with suppress(Exception):
            xs, rows = None, None
            if feed is not None and isinstance(feed.data, Rows):
                rows = _rows_of_batch(feed, counters)
                on_host, count = feed.data.device is not None, len(of.plan.input_shapes)
                with of.backend.stream_lock:
                    taken = feed.data.take(rows if on_host else of.backend.upload(rows))
                xs = [taken.read(of.backend, name_of("x", k)) for k in range(count)]
            elif last is not None and batch == counters[BATCHES] - 1:
                xs = last.workspace.xs
            if xs is not None:
                options: Any = {"seed": of.seed, "number": batch, "scaled": rows is None}
                found = origin(of.plan, of.storage, xs, training=self.training, **options)
                if found is not None:
                    row = int(rows[found.row]) if whole and rows is not None else None
                    return found.explained(row)
        return None


def _rows_of_batch(feed: Any, counters: np.ndarray) -> np.ndarray:
    """Return the indices of the rows of the first batch whose loss was not finite."""
    order, size = feed.data.order(feed.order_seed), feed.batch_size
    number, of_pass = int(counters[PASS]), math.ceil(order.rows / size)
    back = int(counters[BATCHES] - 1 - counters[BAD_BATCH])  # batches after it
    at = math.ceil(counters[POSITION] / size) - 1 - back
    number, at = number + at // of_pass, at % of_pass
    return order.indices(number)[at * size : (at + 1) * size]
