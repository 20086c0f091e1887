"""Whether custom parts compute the same for the rows of each rank as for a whole batch.

A rank sees only its own rows. A loss that subtracts the mean of its batch, say, would be another
loss there. So before a training over several ranks, a few rows are computed at once and in two
parts: outputs of layers, losses with their gradients, and metrics must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from gpunn.backends.contract.control import Control
from gpunn.common.registry import is_own, is_traced
from gpunn.core.plan import Call
from gpunn.core.workspace import Pool
from gpunn.distribution.communicator import ALONE, Communicator
from gpunn.feeding.rows import Rows, name_of

from .step import Batch, ModelStep
from .trainer import Trainer

ROWS = 7  # an odd number: the parts differ in size
TOLERANCE = 1e-3


class _Part(Communicator):
    """One of two ranks that do not communicate."""

    size = 2

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank


def rehearse(trainer: Trainer, rows: Rows) -> None:
    """Check that no part of the model mixes the rows of a batch.

    A class that sets ``rows_are_independent = True`` is not checked. `BatchNormalization` does: its
    statistics cover each rank's rows or, with ``synchronized=True``, all rows.

    Raises:
        ValueError: naming the layer, loss or metric.
    """
    trainer = cast(Trainer, trainer.for_rows(rows))
    nodes = [node.layer for node in trainer.plan.nodes]
    metrics = [m.metric for term in trainer.terms for m in term.measures]
    parts = [*nodes, *(term.loss for term in trainer.terms), *metrics]
    size = min(ROWS, len(rows))
    if size < 2 or all(is_own(part) and not is_traced(part) for part in parts):
        return
    state = trainer.backend.read(trainer.storage.state)
    try:
        whole = _Rehearsal(trainer, rows, size, ALONE)
        whole.run()
        halves = [_Rehearsal(trainer, rows, size, _Part(k)) for k in range(2)]
        totals = np.sum([half.run(whole) for half in halves], axis=0)
        _compare_added_losses(whole, halves)
    finally:
        trainer.backend.write(trainer.storage.state, state)
    expected = trainer.backend.read(whole.totals)
    for term in trainer.terms:
        for name, part, at in (
            (term.loss.name, term.loss, slice(term.at, term.at + 1)),
            *((m.name, m.metric, m.at) for m in term.measures),
        ):
            if not part.rows_are_independent and not _same(totals[at], expected[at]):
                kind = "loss" if part is term.loss else "metric"
                raise ValueError(
                    f"The {kind} {name!r} of a batch is not that of its parts, added up: each of "
                    f"several ranks has only its own rows. {_ADVICE[kind]}"
                )


_ADVICE = {
    "loss": "Return one value for each row; or set rows_are_independent = True in its class.",
    "metric": "Let its state be sums over rows, or compute it after training.",
    "layer": "Set rows_are_independent = True in its class if that is meant.",
}


class _Rehearsal:
    """Forward pass, losses and metrics of a shard of the first rows of the data."""

    def __init__(self, trainer: Trainer, rows: Rows, size: int, ranks: Communicator) -> None:
        self._backend = backend = trainer.backend.isolated()
        self.totals = backend.zeros(trainer.zeros.shape, np.float64)
        pool = Pool(backend)
        batch = Batch(trainer, backend, Control(backend), pool, ranks.shard(size), True)
        names = frozenset(rows.arrays)
        self._step, self._batch = ModelStep(batch, self.totals, names), batch
        shard, workspace = batch.shard, batch.workspace
        self._mine = slice(shard.first, shard.first + shard.rows)
        with backend.stream_lock:  # copied, since windows are a view of their series
            arrays = {n: array[:size][self._mine].copy() for n, array in rows.arrays.items()}
        workspace.put([arrays[name_of("x", k)] for k in range(len(workspace.xs))])
        for name, into in batch.buffers_of(names):
            backend.convert(arrays[name], into)

    def run(self, whole: _Rehearsal | None = None) -> np.ndarray:
        """Compute everything, and compare it with the run of the whole batch; return the totals."""
        backend = self._backend
        with backend.stream_lock, np.errstate(all="ignore"):
            own, theirs = self._batch.workspace, (whole or self)._batch.workspace
            same = {id(c): other for c, other in zip(own.calls, theirs.calls, strict=True)}
            for function, call in own._forward:
                other = same.get(id(call))  # None for a conversion between two nodes
                if whole is None or other is None:
                    function(call)
                else:
                    self._run_node(function, call, other)
            for number, loss in enumerate(self._step.losses):
                if whole is None:
                    loss.normalize_weights()
                else:
                    self._take_normalized(whole, number)
                loss.compute()
            if whole is not None:
                self._compare_gradients(whole)
        return backend.read(self.totals)

    def _run_node(self, function: Any, call: Call, other: Call) -> None:
        """Run a node, compare its results, and continue with the results of the whole batch."""
        layer, read = call.layer, self._backend.read
        if not layer.rows_are_independent:
            function(call)
            if not _same(read(call.y), read(other.y)[self._mine]):
                raise ValueError(
                    f"{layer.name}: the output for a row depends on other rows of the batch, and "
                    f"each of several ranks has only its own rows. {_ADVICE['layer']}"
                )
        self._backend.xp.copyto(call.y, other.y[self._mine])
        if call.integers is not None:
            self._backend.xp.copyto(call.integers, other.integers[self._mine])

    def _take_normalized(self, whole: _Rehearsal, number: int) -> None:
        """Take the normalized weights, which the ranks compute together."""
        own, theirs = (r._batch.target_buffers[number].normalized for r in (self, whole))
        if own is not None and theirs is not None:
            self._backend.xp.copyto(own, theirs[self._mine])

    def _compare_gradients(self, whole: _Rehearsal) -> None:
        read = self._backend.read
        buffers = zip(self._batch.target_buffers, whole._batch.target_buffers, strict=True)
        for term, (own, theirs) in zip(self._batch.objective.terms, buffers, strict=True):
            if own.gradient is None or term.loss.rows_are_independent:
                continue
            rows = term.target.rows_per_sample
            mine = slice(self._mine.start * rows, self._mine.stop * rows)
            if not _same(read(own.gradient), read(theirs.gradient)[mine]):
                raise ValueError(
                    f"The loss {term.loss.name!r} mixes the rows of a batch, and each of several "
                    f"ranks has only its own rows. {_ADVICE['loss']}"
                )


def _compare_added_losses(whole: _Rehearsal, halves: Sequence[_Rehearsal]) -> None:
    runs = [run._batch for run in (whole, *halves)]
    for calls in zip(*(batch.workspace.calls for batch in runs), strict=True):
        layer = calls[0].layer
        if not calls[0].adds_loss or layer.rows_are_independent:
            continue
        read = whole._backend.read
        losses = [
            read(call.loss) * batch.shard.rows / batch.shard.whole
            for call, batch in zip(calls, runs, strict=True)
        ]
        if not _same(sum(losses[1:]), losses[0]):
            raise ValueError(
                f"{layer.name}: the loss that it adds for a batch is not the mean of those for its "
                f"parts, and each of several ranks has only its own rows. Add one value for each "
                f"row, whose sum counts, or a mean over the rows."
            )


def _same(part: Any, expected: Any) -> bool:
    return np.allclose(part, expected, TOLERANCE, TOLERANCE, equal_nan=True)
