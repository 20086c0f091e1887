"""What one step is: the compiled, built model bound to its arrays.

The training step is eager Python over backend operations: gather a batch, run the
layers forward, the loss with its gradient, the layers backward, one update, advance
the control block. The backend may record and replay it; there is no other
description of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import activations
from .. import metrics as metrics_module
from ..arena import Arena
from ..backends.base import Array, Backend, Program
from ..backends.control import BAD_BATCH, BATCHES, UPDATES, Control
from ..backends.order import Order
from ..backends.precision import usable
from ..optimizers import Optimizer
from ..plan import Plan, Pool, Workspace
from ..registry import is_own
from .data import Spec
from .matching import fuse, resolve_metric
from .memory import Cache, room_for_batch
from .rows import Rows

LOSS_TOTALS = 3  # sum of losses, rows, rows that are right
CACHED_PROGRAMS = 8  # batch sizes of streamed batches that are kept ready


@dataclass
class Measure:
    """A metric of the model and where its state lies in the totals."""

    name: str
    metric: Any
    weighted: bool
    at: slice
    counted_by_loss: bool


class Batch:
    """The arrays of one batch size: the workspace and what the loss is given."""

    def __init__(self, trainer: Trainer, size: int, training: bool) -> None:
        spec = trainer.spec
        pool = trainer.pools[training]
        self.workspace = Workspace(
            trainer.plan,
            trainer.backend,
            spec.dtype,
            size,
            pool,
            training,
            activations.linear if trainer.fused else None,
            trainer.control,
            trainer.seed,
            trainer.precision,
        )
        self.size = size
        self.rows = size * spec.rows_per_sample
        self.y = pool.array("targets", (size, *spec.target_shape), spec.target_dtype)
        weights_shape = (size,) if spec.rows_per_sample == 1 else (size, spec.rows_per_sample)
        self.weights = pool.array("weights", weights_shape, spec.dtype)
        width = spec.output_shape[-1]
        self.y_pred = self.workspace.y.reshape(-1, width)
        self.y_true = self.y.reshape(-1) if trainer.loss.sparse else self.y.reshape(-1, width)
        self.gradient = self.workspace.dy.reshape(-1, width) if training else None
        self.probabilities = self.y_pred
        if trainer.fused and any(not m.counted_by_loss for m in trainer.measures):
            self.probabilities = pool.array("probabilities", self.y_pred.shape, spec.dtype)


class Trainer:
    """A plan with loss, metrics and optimizer on an arena.

    Args:
        plan: the layers in their order.
        arena: their parameters; gets the optimizer's slots.
        spec: shapes and dtype of the data.
        optimizer, metrics, weighted_metrics: as compiled; ``spec.loss`` is the loss.
        seed: key of the shuffled order and of the random streams.
        precision: wished for in products, see `usable`.
    """

    def __init__(
        self,
        plan: Plan,
        arena: Arena,
        spec: Spec,
        optimizer: Optimizer | None,
        metrics: list[Any],
        weighted_metrics: list[Any],
        seed: int,
        precision: str | None = None,
    ) -> None:
        self.plan = plan
        self.arena = arena
        self.spec = spec
        self.backend: Backend = arena.backend
        self.optimizer = optimizer
        self.seed = seed
        self.precision = usable(precision, self.backend, spec.dtype)
        self.passes = 0  # passes over the data begun so far
        self.control = Control(self.backend)
        self.test_control = Control(self.backend)
        self.loss, self.fused = fuse(spec.loss, plan.output_activation)
        self.spec = replace(spec, loss=self.loss)
        self.pools = {True: Pool(self.backend), False: Pool(self.backend)}
        self.measures = self._measures(metrics, weighted_metrics)
        size = self.measures[-1].at.stop if self.measures else LOSS_TOTALS
        self.totals: dict[bool, Array] = {
            training: self.backend.zeros((size,), np.float64) for training in (True, False)
        }
        self._on_batch: dict[tuple[int, bool, bool], tuple[Batch, Program]] = {}
        self._on_rows: WeakKeyDictionary[Rows, dict[Any, tuple[Batch, Program]]]
        self._on_rows = WeakKeyDictionary()
        self._trainable: list[bool] = []
        self._zeros = np.zeros(size)
        self.last_batch: Batch | None = None
        metrics = [m.metric for m in self.measures]
        self._formulas = [self.loss, optimizer, *metrics, *plan.formulas]
        self._settings: list[tuple[str, Any]] = []
        self.listable = all(map(is_own, self._formulas))
        if optimizer is not None:
            arena.add_slots(optimizer.slot_names)
            optimizer.attach(self.control)
        self.refresh()

    def _measures(self, metrics: list[Any], weighted: list[Any]) -> list[Measure]:
        measures: list[Measure] = []
        at = LOSS_TOTALS
        for given, is_weighted in [(m, False) for m in metrics] + [(m, True) for m in weighted]:
            metric, name = resolve_metric(given, self.loss, self.spec.output_shape)
            if metric.sparse is not None and metric.sparse != self.loss.sparse:
                raise ValueError(
                    f"The metric {metric.name!r} reads "
                    f"{'class numbers' if metric.sparse else 'a row of targets a sample'}, the "
                    f"loss {self.loss.name!r} "
                    f"{'class numbers' if self.loss.sparse else 'a row of targets'}; name the "
                    f"metric 'accuracy' to get the one that fits."
                )
            taken = ["loss", *(m.name for m in measures)]
            if name in taken and is_weighted:
                name = f"weighted_{name}"
            base, number = name, 1
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            counted = (
                self.loss.counts_matches
                and not is_weighted
                and type(metric)
                in (metrics_module.CategoricalAccuracy, metrics_module.SparseCategoricalAccuracy)
            )
            size = 0 if counted else metric.state_size
            measures.append(Measure(name, metric, is_weighted, slice(at, at + size), counted))
            at += size
        return measures

    # -- steps

    def refresh(self) -> bool:
        """Read anew which parameters are trained; True if that changed since last time."""
        trainable = [p.trainable for p in self.arena.parameters]
        if trainable == self._trainable:
            return False
        self._trainable = trainable
        self.arena.refresh()
        self.forget_programs()
        return True

    def forget_programs(self) -> None:
        self._on_batch.clear()
        self._on_rows.clear()

    def follow_settings(self) -> None:
        """Forget the programs if the numbers have changed that they were made with.

        Such are a dropout rate or an optimizer's momentum; the learning rate is none.
        """
        settings = [
            (name, value)
            for formula in self._formulas
            for name, value in getattr(formula, "__dict__", {}).items()
            if isinstance(value, (bool, int, float, str, np.generic)) and name != "_learning_rate"
        ]
        if settings != self._settings:
            self._settings = settings
            self.forget_programs()

    def program(self, size: int, training: bool, source: Rows, order: Order) -> Program:
        """A program that takes the next ``size`` rows of ``source`` each time.

        It is kept as long as ``source`` lives.
        """
        programs = self._on_rows.setdefault(source, {})
        key = size, training, order.rows, order.seed
        entry = programs.pop(key, None) or self._new_program(size, training, source, order)
        while len(programs) >= CACHED_PROGRAMS:
            del programs[next(iter(programs))]
        programs[key] = entry  # the last place: most recently used
        batch, program = entry
        if training:
            self.last_batch = batch
        return program

    def _new_program(
        self, size: int, training: bool, source: Rows, order: Order
    ) -> tuple[Batch, Program]:
        batch = Batch(self, size, training)
        workspace, backend = batch.workspace, self.backend
        control = self.control if training else self.test_control
        # The arrays, not `source`: the program must not keep alive what keeps it.
        x, y, weights = source.x, source.y, source.weights
        finish = self._step(batch, training, weights is not None)

        def step() -> None:
            backend.gather(x, order, control, workspace.x, workspace.scale, workspace.offset)
            backend.gather(y, order, control, batch.y)
            if weights is not None:
                backend.gather(weights, order, control, batch.weights)
            finish()

        return batch, backend.capture(step, self.listable)

    def room(self, size: int, training: bool, *caches: Cache) -> Any:
        """See `room_for_batch`."""
        caches = (*caches, self._on_batch, self._on_rows, *self.pools.values())
        return room_for_batch(size, self.plan, self.backend, self.spec.dtype, training, *caches)

    def run_batch(self, rows: Rows, training: bool) -> None:
        """One step on a batch that the host brings."""
        with self.room(len(rows), training):
            self._run_batch(rows, training)

    def _run_batch(self, rows: Rows, training: bool) -> None:
        key = (len(rows), training, rows.weights is not None)
        entry = self._on_batch.pop(key, None)
        if entry is None:
            batch = Batch(self, len(rows), training)
            entry = batch, self.backend.capture(self._step(batch, training, key[2]), self.listable)
            while len(self._on_batch) >= CACHED_PROGRAMS:
                del self._on_batch[next(iter(self._on_batch))]
                self.backend.release()  # work arrays of its size
        self._on_batch[key] = entry  # the last place: most recently used
        batch, program = entry
        if training:
            self.last_batch = batch
        write, workspace = self.backend.affine, batch.workspace
        write(rows.x, workspace.scale, workspace.offset, workspace.x)
        write(rows.y, 1.0, 0.0, batch.y)
        if rows.weights is not None:
            write(rows.weights, 1.0, 0.0, batch.weights)
        program.run(1)

    def _step(self, batch: Batch, training: bool, weighted: bool) -> Callable[[], None]:
        """The step from a filled batch on."""
        backend, workspace, loss = self.backend, batch.workspace, self.loss
        control = self.control if training else self.test_control
        totals = self.totals[training]
        counted = any(m.counted_by_loss for m in self.measures)
        loss_totals = totals[: LOSS_TOTALS if counted else LOSS_TOTALS - 1]
        weights = batch.weights.reshape(-1) if weighted else None
        scale = 1.0 if loss.reduction == "sum" else 1.0 / batch.rows
        normalized = weighted and loss.reduction == "mean_with_sample_weight"
        activated = batch.probabilities is not batch.y_pred
        measures = [m for m in self.measures if not m.counted_by_loss]
        states = [totals[m.at] for m in measures]
        clipping = self.optimizer.clipping if self.optimizer else None
        updates = training and bool(self.arena.runs)

        def step() -> None:
            if normalized:
                xp = backend.xp  # here, so that a listing notices that it is used
                total = xp.sum(weights)
                total = total + (total == 0)  # no weight at all: the loss is 0, not 0 / 0
                xp.multiply(weights, batch.rows / total, out=weights)
            workspace.forward()
            backend.loss(
                loss, batch.y_true, batch.y_pred, weights, scale, batch.gradient, loss_totals
            )
            if measures:
                if activated:
                    backend.bias_activation(
                        batch.y_pred, None, self.plan.output_activation, batch.probabilities
                    )
                for measure, state in zip(measures, states, strict=True):
                    backend.metric(
                        measure.metric,
                        batch.y_true,
                        batch.probabilities,
                        weights if measure.weighted else None,
                        state,
                    )
            if updates:
                workspace.backward()
                if clipping:
                    backend.clip_gradients(self.arena, *clipping)
                backend.update(self.optimizer, self.arena, control)
            backend.advance(control, batch.size, loss_totals)

        return step

    # -- what it adds up

    def reset_totals(self, training: bool = True) -> None:
        """Begin a new epoch's (or evaluation's) sums."""
        self.backend.write(self.totals[training], self._zeros)

    def logs(self, training: bool = True) -> dict[str, float]:
        """Loss and metrics since the last reset. Waits for the device."""
        totals = self.backend.read(self.totals[training])
        rows = totals[1]
        result = {"loss": float(totals[0] / rows) if rows else 0.0}
        for measure in self.measures:
            if measure.counted_by_loss:
                result[measure.name] = float(totals[2] / rows) if rows else 0.0
            else:
                result[measure.name] = measure.metric.compute(totals[measure.at])
        return result

    def bad_batch(self) -> int | None:
        """The first training batch (of all so far) whose loss was not finite."""
        number = int(self.control.get()[BAD_BATCH])
        return None if number < 0 else number

    # -- exact resume

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything besides the weights that the next step depends on."""
        tensors = {"counters": self.control.get(), "totals": self.backend.read(self.totals[True])}
        for name, slot in self.arena.slots.items():
            for p in self.arena.parameters:
                if p.trained:
                    tensors[f"slot/{name}/{p.path}"] = self.backend.read(
                        self.arena.segment(slot, p)
                    )
        document = {
            "seed": self.seed,
            "passes": self.passes,
            "learning_rate": self.optimizer.learning_rate if self.optimizer else None,
        }
        return tensors, document

    def set_state(self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            ValueError: naming an entry that is missing, surplus or of the wrong shape.
        """
        own, own_document = self.state()
        for missing in sorted(set(own) ^ set(tensors)):
            raise ValueError(
                f"Training state: entry {missing!r} is "
                f"{'missing' if missing in own else 'not known'}."
            )
        for name in set(own_document) - set(document):
            raise ValueError(f"Training state: entry {name!r} is missing.")
        for name, array in own.items():
            if tensors[name].shape != array.shape:
                raise ValueError(
                    f"Training state: entry {name!r} has shape {tensors[name].shape}; "
                    f"{array.shape} is expected."
                )
        self.seed, self.passes = int(document["seed"]), int(document["passes"])
        if self.optimizer is not None:
            self.optimizer.learning_rate = document["learning_rate"]
        write = self.backend.write
        self.control.restore(tensors["counters"])
        write(self.totals[True], tensors["totals"])
        for name, slot in self.arena.slots.items():
            for p in self.arena.parameters:
                if p.trained:
                    write(self.arena.segment(slot, p), tensors[f"slot/{name}/{p.path}"])
        self.forget_programs()

    @property
    def batches(self) -> int:
        """Training batches so far."""
        return int(self.control.get()[BATCHES])

    @property
    def updates(self) -> int:
        """Optimizer updates so far."""
        return int(self.control.get()[UPDATES])
