"""The steps that a model defines itself, as the loops of `gpunn.training` run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from gpunn.backends.contract.control import BATCHES, PASS, POSITION, Control
from gpunn.backends.shared.order import Order
from gpunn.common.overrides import replaces
from gpunn.distribution.communicator import ALONE, Communicator, Shard, using_shard
from gpunn.ops.running.compiled_step import CompiledStep, OnRows, Result
from gpunn.ops.running.step_function import Function
from gpunn.structure.non_finite import origin
from gpunn.training import agreement
from gpunn.training.predicting import on_device

from .measured import named
from .rows import OwnRows
from .steps import ordered, reported_names


class OwnPrograms:
    """A model's own step, as the loops run it.

    Args:
        trainer: An `OwnTrainer`.
        name: The method: ``"train_step"`` or ``"test_step"``.

    Attributes:
        ranks: The ranks that share the rows of each batch.
    """

    def __init__(self, trainer: Any, name: str) -> None:
        self.trainer, self._name = trainer, name
        self.ranks = ALONE
        self.training = name == "train_step"
        self.control = trainer.control if self.training else Control(trainer.backend)
        self.steps_at_once: dict[int, int] = {}  # of each batch size
        self._result: Result | None = None
        self._logs: dict[str, float] = {}
        self._read: Result | None = None  # the last one that was read, and its numbers
        self._own: dict[str, float] = {}
        self._part = 1.0  # this rank's part of the rows of the last step
        self._measured: list[str] = []  # which of these are results of metrics
        self._rows: OwnRows | None = None
        self.in_python = False  # whether the last step was no program

    def join(self, ranks: Communicator) -> None:
        """Share the rows of each batch with these ranks from now on."""
        self.ranks = ranks

    def shard(self, rows: int) -> Shard | None:
        """Return this rank's shard of a batch; of one that has fewer rows than there are ranks,
        each computes all."""
        ranks = self.ranks
        if ranks.size == 1:
            return None
        return ranks.shard(rows) if rows >= ranks.size else Shard(ranks, 0, rows, rows * ranks.size)

    @contextmanager
    def using_shard(self, shard: Shard | None, rows: int) -> Iterator[None]:
        """Return a ``with`` block for steps on a shard of these rows. Of rows that each rank
        computes, only rank 0 keeps what metrics count."""
        self._part = 1.0 if shard is None else shard.rows / shard.whole
        forgets = shard is not None and rows < self.ranks.size and self.ranks.rank > 0
        metrics = self.trainer.model.metrics if forgets else []
        before = {id(metric): metric._sums() for metric in metrics}
        with using_shard(shard):
            yield
        for metric in self.trainer.model.metrics if forgets else ():
            metric._put_sums(before.get(id(metric), np.zeros_like(metric._sums())))

    def step(self, shard: Shard | None = None) -> Function:
        """Return the step, for a shard of the rows."""
        return self.trainer.steps.function(self._name, shard)

    def follow(self) -> bool:
        """Return False: a step looks by itself at what it uses."""
        return False

    @contextmanager
    def memory_for(self, size: int, rows: Any, *caches: Any) -> Iterator[None]:
        """Return a ``with`` block for steps; what is being sent has arrived at its end."""
        try:
            yield
        finally:
            if rows is not None:
                rows.settle()

    def wait(self) -> None:
        """Nothing: results are waited for when they are read."""

    def adapt(self, size: int, steps: int) -> None:
        """Set how many steps run at once: one in Python, which may stop the training."""
        self.steps_at_once[size] = 1 if self.in_python else max(1, steps)

    # -- steps

    def program(self, size: int, source: OwnRows, order: Order) -> StepsOnRows:
        """Return a program whose steps each process the next ``size`` rows of ``source``."""
        self._rows = source
        self._see(source)
        return StepsOnRows(self, size, source, order)

    def run(self, program: StepsOnRows, steps: int) -> None:
        program.run(steps)

    def run_batch(self, rows: OwnRows, sharded: bool = False) -> None:
        """Run one step on a batch from the host."""
        self._see(rows)
        shard, batch = self.shard(len(rows)), rows.whole()
        if shard is not None:
            batch = rows.batch(slice(shard.first, shard.first + shard.rows))
        with self.using_shard(shard, len(rows)):
            self.count(1, len(rows), self.step(shard).start(batch))

    def _see(self, rows: OwnRows) -> None:
        """Keep a row of a model that may have to be built although no step calls it."""
        model = self.trainer.model
        if model._builder.plan is not None or model._training.first_x is not None:
            return
        if replaces(type(model), "call"):
            model._training.first_x = rows.first_x()

    def on_batch(self, rows: OwnRows) -> dict[str, float]:
        """Run one step on a batch from the host; return its logs."""
        self.reset_totals()
        self.run_batch(rows)
        return self.logs()

    def count(self, steps: int, rows: int, result: Result | None = None) -> None:
        """Count steps; ``result``: what the last one returned, if there was no error."""
        self._result = self._result if result is None else result
        if self.training:
            self.control.counters[BATCHES] += steps
        self.control.counters[POSITION] += rows

    def release(self) -> None:
        """Free the data, and copies of them that the next fit does not refill."""
        rows, self._rows = self._rows, None
        if rows is not None and rows.has_large_copies:
            self.trainer.steps.forget_rows()

    # -- logs

    def reset_totals(self) -> None:
        """Reset the metrics for a new epoch or evaluation."""
        self.trainer.model.reset_metrics()

    def add_up(self) -> dict[str, float]:
        """Return the results of the metrics of all ranks by their names, and let rank 0 have their
        sums: a checkpoint then holds the sums of one process."""
        if self.ranks.size == 1:
            return {}
        returned, is_new = self._returned()
        own, found, names = dict[str, Any](), dict[str, Any](), reported_names(self.trainer.model)
        for metric in self.trainer.model.metrics:
            sums = metric._sums()
            own |= named(metric, metric._value(sums), names)
            self.ranks.sum(sums)
            metric._put_sums(sums if self.ranks.rank == 0 else np.zeros_like(sums))
            found |= named(metric, metric._value(sums), names)
        own, found = numbers(own), numbers(found)
        if is_new:
            self._measured = self.ranks.first([
                name for name, x in returned.items()
                if name in own and np.isclose(x, own[name], 1e-5, 1e-7, True)
            ])
        return found

    def _returned(self) -> tuple[dict[str, float], bool]:
        """Return what the last step returned on this rank, and whether nobody has asked before."""
        if self._result is None or self._result is self._read:
            return self._own, False
        self._read, self._own = self._result, logs_of(self._result, self._name)
        return self._own, True

    def logs(self) -> dict[str, float]:
        """Return what the last step returned, as numbers; waits for the device.

        Of several ranks, results of metrics cover all rows, and other numbers are the mean of
        the ranks by their rows. What a step returns by a metric's name may be another number.
        """
        if self._result is None:
            found = dict(self.trainer.logs) if self.training else {}
            return found if self.ranks.size == 1 else self.ranks.first(found)
        if self.ranks.size > 1:
            added = self.add_up()
            agreement.compare_names(self.ranks, f"what {self._name} returns", self._own)
            means = np.array([*self._own.values()]) * self._part
            self.ranks.sum(means)
            found = dict(zip(self._own, means.tolist(), strict=True))
            found |= {name: added[name] for name in self._measured}
        else:
            found = logs_of(self._result, self._name)
        self._logs = found
        return dict(found) if self.training else ordered(self.trainer.model, found)

    def known_logs(self) -> dict[str, float]:
        """Return the logs; of several ranks, those that they have computed last."""
        return self.logs() if self.ranks.size == 1 else self._logs

    def bad_layer(self, feed: Any = None, whole: bool = False) -> str | None:
        """Return a sentence about the layer that makes values which are not finite of a batch."""
        training = self.trainer.training
        with suppress(Exception):  # an error of this search must not hide the loss
            rows = feed.data
            for first in range(0, len(rows) if isinstance(rows, OwnRows) else 0, feed.batch_size):
                batch = rows.batch(slice(first, first + feed.batch_size))
                x = batch[0] if isinstance(batch, tuple) else batch
                predictor, xs = on_device(training.predictor_for(x), x)
                bound = predictor.plan, predictor.storage, xs
                found = origin(*bound, training=self.training, seed=training.progress.seed)
                if found is not None:
                    return found.explained(first + found.row if whole else None)
        return None


class StepsOnRows:
    """Steps on the next rows of arrays: many at once, as soon as they are a program."""

    def __init__(self, of: OwnPrograms, size: int, rows: OwnRows, order: Order) -> None:
        self._of, self._size, self._rows, self._order = of, size, rows, order

    def run(self, steps: int) -> None:
        shard = self._of.shard(self._size)
        with self._of.using_shard(shard, self._size):
            self._run(steps, shard)

    def _run(self, steps: int, shard: Shard | None) -> None:
        of, rows, size, step = self._of, self._rows, self._size, self._of.step(shard)
        first, own = (0, size) if shard is None else (shard.first, shard.rows)
        while steps:
            number, position = (int(n) for n in of.control.counters[[PASS, POSITION]])
            program = step.program_for(rows.batch(slice(0, own)))
            found, most = None, 1
            if program is not None:
                found, most = self._gathering(program, first, number, position)
            of.in_python = found is None
            now = min(steps, most)
            if found is None:
                begin = position + first
                result = step.start(rows.batch(self._order.indices(number)[begin : begin + own]))
            else:
                try:
                    result = found.run(now)
                except BaseException:
                    of.count(done := found.done(), done * size)
                    raise
            of.count(now, now * size, result)
            steps -= now

    def _gathering(
        self, program: CompiledStep, first: int, number: int, position: int
    ) -> tuple[OnRows | None, int]:
        """Return a program that gathers the next rows, and how many steps it may run at once; None
        for rows that it cannot gather."""
        rows, size, order, chunks = self._rows, self._size, self._order, None
        placed = rows.placed(program.backend)
        if placed is None:  # they do not fit
            chunks = rows.streamed(program.backend, order, size)
            placed, order = [*chunks.rows.arrays.values()], chunks.order
        found = program.on_rows(placed, order, first, size)
        if found is None:
            return None, 1
        found.begin(number, position)
        stop = self._order.rows
        if chunks is not None:
            stop = chunks.bring(position, number, found.control)
        return found, (stop - position) // size


def logs_of(result: Result, method: str) -> dict[str, float]:
    """Return what a step returned, a dictionary, as numbers by name."""
    found = result.values()
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{method} must return a dictionary of numbers by name, such as "
            f"{{'loss': loss}}; got {type(found).__name__}."
        )
    return numbers(found)


def numbers(values: Mapping[Any, Any]) -> dict[str, float]:
    """Return values as numbers, arrays as their means."""
    return {str(name): float(np.mean(value, dtype=np.float64)) for name, value in values.items()}
