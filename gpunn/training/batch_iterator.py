"""The batches of a data set, epoch by epoch, and the runs of programs on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Program
from gpunn.backends.contract.control import PASS, POSITION
from gpunn.backends.shared.interrupts import end_if_asked, perform
from gpunn.backends.shared.lockstep import joint_of, lockstep
from gpunn.backends.shared.order import Order
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.distribution.communicator import Communicator
from gpunn.feeding.arrays import check_file
from gpunn.feeding.batches import Batches
from gpunn.feeding.rows import Rows

from .programs import OnRows, Programs
from .trainer import Trainer

if TYPE_CHECKING:
    from gpunn.feeding.streaming import Chunks

# Seconds for which a program runs without a pause. Between two runs the progress bar is updated,
# Ctrl-C takes effect, and predictions of other threads can read the weights.
CHUNK_SECONDS = 0.1
EPOCHS_AT_ONCE = 256  # most epochs of a run

Piece = tuple[Callable[[], Program] | Rows, int, int]
"""A function that returns a program, or a batch from the host; the number of steps; the rows of a
step."""


class Epoch(NamedTuple):
    """A pass over rows in memory: ``steps`` of a program, and one of ``rest`` if its last batch is
    smaller."""

    program: OnRows
    steps: int
    rest: OnRows | None


@dataclass(eq=False)
class BatchIterator:
    """A data set as a sequence of `Piece`, epoch by epoch.

    Args:
        shuffle: Whether each pass has its own order.
        limit: Steps per epoch; None for all batches.
        seed: Seed of the order; None for the seed of the run, which a checkpoint restores.
    """

    trainer: Trainer
    data: Rows | Batches
    batch_size: int
    training: bool
    shuffle: bool = False
    limit: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self.position = 0  # number of rows used so far in the current pass
        self.began = False
        self.exhausted = False
        self.passes = 0  # passes of evaluations; `Progress` counts the passes of training
        self._resumed = False  # whether the iterator begins within an epoch
        self._prepared = False
        self._ran = False  # whether it ran a step
        self._whole: Epoch | None = None  # see `_repeats`
        self._chunks: Chunks | None = None  # if the rows do not fit into the device's memory
        self._iterator: Iterator[Rows] | None = None
        self._sharded = isinstance(self.data, Batches) and self.data.sharded
        self._last: Rows | None = None  # of a source that yields this rank's rows
        # For streams, the passes and batches before this run: to tell what a resumed run has read.
        streams = self.training and isinstance(self.data, Batches)
        progress = self.trainer.progress
        self._before = (progress.passes, progress.batches) if streams else (0, 0)
        self.read(self.data)

    def read(self, data: Rows | Batches) -> None:
        """Set the data; call it before any of them are used."""
        self.data = data
        self._order: Order | None = None
        if isinstance(data, Rows) and data.copies is not None:
            data.copies.readers.add(self)

    def steps(self) -> int | None:
        """Return the number of batches in a pass; None if the source has no length."""
        if isinstance(self.data, Rows):
            return math.ceil(len(self.data) / self.batch_size)
        try:
            return len(self.data.source)
        except TypeError:
            return None

    def remaining_steps(self, done: int) -> int | None:
        """Return the remaining steps of an epoch after the first ``done``; None if unlimited."""
        return None if self.limit is None else self.limit - done

    def samples(self) -> int | None:
        return len(self.data) if isinstance(self.data, Rows) else None

    def resume(self, position: int, epochs: int, batches: int) -> None:
        """Continue the pass that the control block describes, after ``epochs`` epochs of the run
        and ``batches`` batches of the next one."""
        if isinstance(self.data, Rows):
            if not 0 <= position <= len(self.data):
                raise ValueError(f"There is no row {position} in data of {len(self.data)} rows.")
            if batches or 0 < position < len(self.data):
                self.position, self.began = position, True
            return
        progress, data, done = self.trainer.progress, self.data, self.trainer.progress.batches
        passes = progress.passes - self._before[0]  # passes that this run had begun
        if not passes:
            return
        data.catch_up(epochs, passes - 1)
        skip = done - (self._before[1] if data.once else progress.pass_began)
        self._iterator = data.begin(progress.passes - 1, self.order_seed, skip)
        self._resumed = batches > 0

    def catch_up(self, evaluations: int) -> None:
        """Continue after this number of evaluations of the run."""
        self.passes = evaluations
        if isinstance(self.data, Batches):
            self.data.catch_up(evaluations, evaluations)

    def restart(self) -> None:
        """Start the next epoch at the first row or batch, if the source can be read again."""
        self.began = False
        if isinstance(self.data, Batches) and not self.data.once:
            self._iterator = None

    @property
    def order_seed(self) -> int | None:
        if not self.shuffle:
            return None
        return self.trainer.progress.seed if self.seed is None else self.seed

    def epoch(self, programs: Programs, limit: int | None) -> Iterator[Piece]:
        """Return the pieces of one epoch: at most ``limit`` steps, and at most one pass."""
        pieces = self._row_pieces if isinstance(self.data, Rows) else self._stream_pieces
        return pieces(programs, limit)

    def _row_pieces(self, programs: Programs, limit: int | None) -> Iterator[Piece]:
        assert isinstance(self.data, Rows)
        if self._order is None:
            self._order = self.data.order(self.order_seed)
        rows = self._order.rows
        if not self.began:
            self._begin_pass(programs)
        remaining = math.inf if limit is None else limit
        while self.position < rows and remaining > 0:
            source, order, stop = self._load_chunk(programs, self.data, self._order)
            size = min(self.batch_size, stop - self.position)
            steps = int(min((stop - self.position) // size, remaining))
            yield partial(programs.program, size, source, order), steps, size
            self.position += steps * size
            remaining -= steps
        if self.position >= rows:
            self.began = False

    def _begin_pass(self, programs: Programs) -> None:
        if self.training:
            programs.control.begin_pass(self.trainer.progress.passes)
            self.trainer.progress.passes += 1
        else:
            programs.control.set(POSITION, 0)
        self.position, self.began = 0, True

    def _load_chunk(self, programs: Programs, rows: Rows, order: Order) -> tuple[Rows, Order, int]:
        """Return the rows that the next steps read, their order, and the position to stop at."""
        if rows.device is None:
            return rows, order, order.rows
        if self._chunks is None:
            from gpunn.feeding.streaming import Chunks

            self._chunks = Chunks(rows, order, self.batch_size, self.trainer.spec.dtype)
        # The current pass is the last one that was begun.
        stop = self._chunks.bring(self.position, self.trainer.progress.passes - 1, programs.control)
        return self._chunks.rows, self._chunks.order, stop

    def clear(self) -> None:
        """Free the device memory of the data."""
        self._chunks = None

    def _stream_pieces(self, programs: Programs, limit: int | None) -> Iterator[Piece]:
        assert isinstance(self.data, Batches)
        self.data.tell("on_epoch_begin")
        count = 0
        resumed, self._resumed = self._resumed, False
        while limit is None or count < limit:
            begins = self._iterator is None
            self._iterator = self._iterator or self._begin_stream(programs, self.data)
            rows = next(self._iterator, None)
            if self._sharded:
                from .agreement import join_batch

                rows = self._last = join_batch(programs.ranks, rows, self._last)
            elif programs.ranks.size > 1:
                from .agreement import check_batch

                check_batch(programs.ranks, count, rows)
            if rows is None:
                self._iterator = None
                self.exhausted = self.data.once
                if count or begins or resumed or self.exhausted:
                    break
                continue  # the last epoch used the last batch: begin from the start
            yield rows, 1, len(rows)
            count += 1
        self.data.tell("on_epoch_end")

    def _begin_stream(self, programs: Programs, data: Batches) -> Iterator[Rows]:
        if not self.training:
            self.passes += 1
            return data.begin(self.passes - 1)
        progress = self.trainer.progress
        programs.control.begin_pass(progress.passes)
        progress.pass_began = progress.batches
        progress.passes += 1
        return data.begin(progress.passes - 1, self.order_seed)

    def prepared(self, programs: Programs) -> AbstractContextManager[None]:
        """Return a ``with`` block for epochs without user code in between: preparations are made
        once for all of them. Without it, `run` makes them for each epoch."""
        self._follow(programs)
        self._prepared = True
        return self.trainer.backend.parallel_region()

    def _follow(self, programs: Programs) -> bool:
        """Update the programs to the parts' current settings; return whether any were invalid."""
        self.trainer.look()
        return programs.follow()

    def run(self, programs: Programs, callbacks: Any, first_batch: int, model: Any) -> int:
        """Run one epoch; return the number of steps."""
        end_if_asked()
        if self._whole is not None:
            return self._repeat(programs, self._whole)
        if isinstance(self.data, Rows):
            for name, array in self.data.mapped:
                check_file(array, name)
        if not (self._prepared and self.trainer.is_simple):
            self._follow(programs)
        region = nullcontext() if self._prepared else self.trainer.backend.parallel_region()
        rows = self.data if isinstance(self.data, Rows) else None
        with region, programs.memory_for(self.batch_size, rows, self):
            try:
                steps = self._run(programs, callbacks, first_batch, model)
                programs.wait()  # for a last batch from the host
            finally:
                if self._chunks is not None:
                    self._chunks.settle()
        if self._prepared and not self.began:
            self._whole = self._repeats(programs)
        return steps

    def _repeats(self, programs: Programs) -> Epoch | None:
        """Return the programs of an epoch, if so short a one can be repeated without the checks in
        between."""
        rows, order, size = self.data, self._order, self.batch_size
        if not isinstance(rows, Rows) or order is None or rows.mapped or rows.device is not None:
            return None
        steps, rest = divmod(order.rows, size)
        short = self.limit is None and 0 < steps <= programs.steps_at_once.get(size, 0)
        if not (short and programs.ranks.size == 1 and self.trainer.is_simple):
            return None
        of = rows, order
        return Epoch(
            programs.program(size, *of), steps, programs.program(rest, *of) if rest else None
        )

    def _repeat(self, programs: Programs, epoch: Epoch, passes: Program | None = None) -> int:
        """Run the programs of an epoch, or the one of several such ``passes``."""
        self._begin_pass(programs)
        programs.run(passes or epoch.program, epoch.steps)
        if epoch.rest is not None and passes is None:
            programs.run(epoch.rest, 1)
        programs.backend.synchronize()
        self.began = False
        return epoch.steps + (epoch.rest is not None)

    def run_epochs(
        self, programs: Programs, most: int, record: Callable[[np.ndarray], None]
    ) -> None:
        """Run up to ``most`` epochs at once if the program can, and then record the sums of each.

        Ctrl-C takes effect after that.
        """
        if self._whole is None or not most:
            return
        program, steps, rest = self._whole
        size, started = self.batch_size, time.perf_counter()
        at_once = programs.steps_at_once[size]
        count = min(most, EPOCHS_AT_ONCE, max(1, at_once // steps))
        sums = np.empty((count, *programs.totals.shape))
        first, of = self.trainer.progress.passes, (programs.control, programs.totals)
        passes = programs.backend.in_passes(program, *of, sums, first, rest)
        if passes is not None:
            perform([partial(self._run_passes, programs, passes, self._whole, sums, record)], 1)
            _adapt(programs, program, size, count * steps, started, at_once)

    def _run_passes(
        self, programs: Programs, passes: Program, epoch: Epoch, sums: np.ndarray,
        record: Callable[[np.ndarray], None],
    ) -> None:
        first, order = self.trainer.progress.passes, self._order
        assert order is not None
        programs.reset_totals()
        try:
            self._repeat(programs, epoch, passes)
        finally:
            counters = programs.control.get()
            done = int(counters[PASS]) - first
            self.trainer.progress.passes = first + done + 1
            sums[done] = programs.backend.read(programs.totals)
            whole = counters[POSITION] == order.rows  # whether the last pass is
            programs.show((epoch.rest if whole and epoch.rest else epoch.program).batch)
            for row in sums[: done + whole]:
                record(row)

    def _run(self, programs: Programs, callbacks: Any, first_batch: int, model: Any) -> int:
        training, ranks = self.training, programs.ranks
        begin, end, next_watched = _batch_hooks(callbacks, training)
        progress = training and callbacks is not None and callbacks.needs_progress
        done = first_batch * self.batch_size
        batch, called = first_batch, False  # called: whether user code ran since the last step
        for piece, steps, size in self.epoch(programs, self.remaining_steps(first_batch)):
            program = None
            while steps > 0:
                end_if_asked()
                until, at_once = next_watched(batch), programs.steps_at_once.get(size, 1)
                if not self._ran and lockstep() is not None:
                    # Kernels of several networks may round in another way. A new program does its
                    # first step by itself; one that is used again, as it finds these rows where
                    # others were, has to do likewise.
                    at_once = 1
                if ranks.size > 1:  # one of them may watch a batch, or be slower
                    until, at_once = _agreed(ranks, until, at_once)
                watched = until == batch
                now = 1 if watched else min(steps, steps if until is None else until - batch)
                # The progress is also reported after the first step of an epoch.
                now = min(now, 1 if progress and batch == first_batch else at_once)
                started = time.perf_counter()
                if watched:
                    begin(batch, {})
                if watched or called or isinstance(piece, Rows):
                    program = None if self._follow(programs) else program
                if isinstance(piece, Rows):
                    programs.wait()  # for the batch before: the host has made this one meanwhile
                    programs.run_batch(piece, self._sharded)
                else:
                    program = program or piece()
                    programs.run(program, now)
                batch, steps, done = batch + now, steps - now, done + now * size
                called, self._ran = watched or progress, True
                if watched:
                    if ranks.size > 1:
                        from .agreement import average_state

                        average_state(ranks, self.trainer.built)  # a callback may save it
                    end(batch - 1, programs.logs())
                elif not isinstance(piece, Rows):
                    programs.wait()
                    _adapt(programs, program, size, now, started, at_once)
                if progress:
                    programs.add_up()  # all ranks do; a progress bar on one reads the sums
                    callbacks.on_train_progress(done, self.samples())
                stops = model.stop_training if training else model.stop_evaluating
                if ranks.size > 1:
                    stops = ranks.any(stops)
                if stops:
                    if training:
                        model.stop_training = True  # another rank may have stopped
                    # The rest of the pass stays unread, as in Keras.
                    return batch - first_batch
        return batch - first_batch


def _adapt(
    programs: Programs, program: Program | None, size: int, steps: int, started: float, before: int
) -> None:
    """Adapt how many steps run at once, at most twice as many as before, to the time they took."""
    if lockstep() is not None and (joint := joint_of(program)) is not None:
        programs.adapt(size, joint.steps_at_once)  # as all members of the group
        return
    fit = int(steps * CHUNK_SECONDS / max(time.perf_counter() - started, 1e-9))
    programs.adapt(size, min(fit, 2 * before))


def _agreed(ranks: Communicator, until: int | None, at_once: int) -> tuple[int | None, int]:
    """Return the next batch that any rank watches, and the least number of steps at once."""
    from gpunn.common.stored import MOST

    first, least = ranks.least(MOST if until is None else until, at_once)
    return None if first == MOST else first, least


def _batch_hooks(callbacks: Any, training: bool) -> tuple[Any, Any, Any]:
    """Return the callbacks' batch hooks, and a function that returns the number of the next batch
    for which a callback must be called."""
    if callbacks is None:
        return _ignore, _ignore, lambda batch: None
    if training:
        return (
            callbacks.on_train_batch_begin,
            callbacks.on_train_batch_end,
            callbacks.next_train_batch,
        )
    needed = callbacks.needs_test_batches
    return (
        callbacks.on_test_batch_begin,
        callbacks.on_test_batch_end,
        lambda batch: batch if needed else None,
    )


def _ignore(batch: int, logs: dict[str, float]) -> None:
    """Of no callback."""
