"""What one step is: the compiled, built model bound to its arrays.

The training step is eager Python over backend operations: gather a batch, run the
layers forward, the loss with its gradient, the layers backward, one update, advance
the control block. The backend may record and replay it; there is no other
description of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import activations
from ..arena import Arena
from ..backends.base import Array, Backend, Program
from ..backends.control import BAD_BATCH, BATCHES, UPDATES, Control
from ..backends.order import Order
from ..backends.precision import usable
from ..losses import Loss
from ..optimizers import Optimizer
from ..optimizers.schedules.base import HostRates
from ..plan import Plan
from ..registry import is_own
from ..workspace import Pool, Workspace
from .data import Spec
from .heads import LOSS_TOTALS, Answers, Head, Measure, make_heads
from .memory import Cache, room_for_batch
from .rows import Rows, name_of

CACHED_PROGRAMS = 8  # batch sizes of streamed batches that are kept ready


class Batch:
    """The arrays of one batch size: the workspace and what the losses are given."""

    def __init__(self, trainer: Trainer, size: int, training: bool) -> None:
        pool, dtype = trainer.pools[training], trainer.spec.dtype
        self.workspace = Workspace(
            trainer.plan,
            trainer.backend,
            dtype,
            size,
            pool,
            training,
            trainer.replaced,
            trainer.control,
            trainer.seed,
            trainer.precision,
            [head.number for head in trainer.heads],
        )
        self.size = size
        self.answers = [Answers(head, self.workspace, pool, dtype) for head in trainer.heads]


class Trainer:
    """A plan with losses, metrics and optimizer on an arena.

    Args:
        plan: the layers in their order.
        arena: their parameters; gets the optimizer's slots.
        spec: shapes and dtype of the data; its targets hold the losses.
        optimizer: as compiled.
        metrics, weighted_metrics: as compiled, a list for each output.
        seed: key of the shuffled order and of the random streams.
        precision: wished for in products, see `usable`.
        loss_weights: of each output's loss in the sum of all; 1 by default.
    """

    def __init__(
        self,
        plan: Plan,
        arena: Arena,
        spec: Spec,
        optimizer: Optimizer | None,
        metrics: Sequence[list[Any]],
        weighted_metrics: Sequence[list[Any]],
        seed: int,
        precision: str | None = None,
        loss_weights: Sequence[float] | None = None,
    ) -> None:
        self.plan = plan
        self.arena = arena
        self.backend: Backend = arena.backend
        self.optimizer = optimizer
        self.seed = seed
        self.precision = usable(precision, self.backend, spec.dtype)
        self.passes = 0  # passes over the data begun so far
        self.control = Control(self.backend)
        self.test_control = Control(self.backend)
        self.pools = {True: Pool(self.backend), False: Pool(self.backend)}
        self.heads = make_heads(plan, spec, metrics, weighted_metrics, loss_weights)
        losses = {head.number: head.loss for head in self.heads}
        targets = [replace(t, loss=losses.get(k)) for k, t in enumerate(spec.targets)]
        self.spec = replace(spec, targets=tuple(targets))
        self.replaced = {plan.outputs[h.number]: activations.linear for h in self.heads if h.fused}
        # Where the loss is not that of one head, it has two places of its own: of the penalties
        # on weights, and of what tells a bad batch.
        self._apart = len(self.heads) > 1 or self.heads[0].weight != 1.0
        size = self.heads[-1].end + 2 * self._apart
        self.totals: dict[bool, Array] = {
            training: self.backend.zeros((size,), np.float64) for training in (True, False)
        }
        self._on_batch: dict[tuple[int, bool, frozenset[str]], tuple[Batch, Program]] = {}
        self._on_rows: WeakKeyDictionary[Rows, dict[Any, tuple[Batch, Program]]]
        self._on_rows = WeakKeyDictionary()
        self._treatments: list[tuple[Any, ...]] = []
        self._zeros = np.zeros(size)
        self.last_batch: Batch | None = None
        used = [m.metric for head in self.heads for m in head.measures]
        self._formulas = [*losses.values(), optimizer, *used, *plan.formulas]
        self._adjustable = [f for f in self._formulas if hasattr(f, "__dict__")]
        self._values: list[Any] = []  # of their attributes, when they were last looked at;
        self._settings: list[tuple[str, Any]] = []  # what a step depends on of them,
        self._rates: list[tuple[Any, ...]] = []  # and of the optimizer's schedules
        if optimizer is not None:
            optimizer.add_slots(arena)
            optimizer.attach(self.control)
        self.refresh()

    # What most models have one of.

    @property
    def loss(self) -> Loss:
        """The loss of the first output that has one, as the step uses it."""
        return self.heads[0].loss

    @property
    def fused(self) -> bool:
        """Whether that takes over the output's activation."""
        return self.heads[0].fused

    @cached_property
    def measures(self) -> list[Measure]:
        """The metrics of all outputs, in the order in which they are reported."""
        measures = [measure for head in self.heads for measure in head.measures]
        several = len(self.spec.targets) > 1  # Keras sorts them then
        return sorted(measures, key=lambda m: m.name) if several else measures

    # -- steps

    def refresh(self) -> bool:
        """Read anew which parameters are trained and how; True if that changed since last time."""
        treatments = [p.treatment for p in self.arena.parameters]
        if treatments == self._treatments:
            return False
        self._treatments = treatments
        treating = [t for p in self.arena.parameters for t in (p.regularizer, p.constraint)]
        self.listable = all(map(is_own, [*self._formulas, *treating]))
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
        values = list(chain.from_iterable([vars(f).values() for f in self._adjustable]))
        schedules = self.optimizer.schedules if self.optimizer else {}
        rates = [(at, type(s), s.functor, *s.parameters) for at, s in schedules.items()]
        before, self._values = self._values, values
        same = len(values) == len(before) and all(map(is_, values, before))  # mostly so
        if same and rates == self._rates:
            return
        settings = [
            (name, value)
            for formula in self._adjustable
            for name, value in vars(formula).items()
            if isinstance(value, (bool, int, float, str, np.generic)) and name != "_learning_rate"
        ]
        if settings != self._settings or rates != self._rates:
            self._settings, self._rates = settings, rates
            self.forget_programs()
            if self.optimizer is not None:
                self.optimizer.attach(self.control)

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
        arrays = source.arrays
        finish = self._step(batch, training, frozenset(arrays))
        gathers = [
            (arrays[name_of("x", k)], x, *scaling)
            for k, (x, scaling) in enumerate(zip(workspace.xs, workspace.scalings, strict=True))
        ] + [(arrays[name], into, 1.0, 0.0) for name, into in self._targets_of(batch, arrays)]

        def step() -> None:
            for rows, into, scale, offset in gathers:
                backend.gather(rows, order, control, into, scale, offset)
            finish()

        return batch, self._capture(step, training)

    def _capture(self, step: Callable[[], None], training: bool) -> Program:
        """A program of ``step``; the host sets what a schedule without a functor computes."""
        program = self.backend.capture(step, self.listable)
        optimizer = self.optimizer if training else None
        by_host = optimizer and any(s.functor is None for s in optimizer.schedules.values())
        return HostRates(program, optimizer) if by_host else program

    def _targets_of(self, batch: Batch, given: Collection[str]) -> list[tuple[str, Array]]:
        """Where targets and weights of a batch go, by their names in `Rows`."""
        found = []
        for head, answers in zip(self.heads, batch.answers, strict=True):
            found.append((name_of("y", head.number), answers.y))
            if (name := name_of("weights", head.number)) in given:
                found.append((name, answers.weights))
        return found

    def room(self, size: int, training: bool, *caches: Cache) -> Any:
        """See `room_for_batch`."""
        caches = (*caches, self._on_batch, self._on_rows, *self.pools.values())
        return room_for_batch(size, self.plan, self.backend, self.spec.dtype, training, *caches)

    def run_batch(self, rows: Rows, training: bool) -> None:
        """One step on a batch that the host brings."""
        with self.room(len(rows), training):
            self._run_batch(rows, training)

    def _run_batch(self, rows: Rows, training: bool) -> None:
        names = frozenset(rows.arrays)
        key = (len(rows), training, names)
        entry = self._on_batch.pop(key, None)
        if entry is None:
            batch = Batch(self, len(rows), training)
            entry = batch, self._capture(self._step(batch, training, names), training)
            while len(self._on_batch) >= CACHED_PROGRAMS:
                del self._on_batch[next(iter(self._on_batch))]
                self.backend.release()  # work arrays of its size
        self._on_batch[key] = entry  # the last place: most recently used
        batch, program = entry
        if training:
            self.last_batch = batch
        workspace, arrays = batch.workspace, rows.arrays
        workspace.put([arrays[name_of("x", k)] for k in range(len(workspace.xs))])
        for name, into in self._targets_of(batch, names):
            self.backend.affine(arrays[name], 1.0, 0.0, into)
        program.run(1)

    def _step(self, batch: Batch, training: bool, given: Collection[str]) -> Callable[[], None]:
        """The step from a filled batch on; ``given``: the names of its arrays."""
        backend, workspace = self.backend, batch.workspace
        control = self.control if training else self.test_control
        totals = self.totals[training]
        begin, losses = [], []
        for head, answers in zip(self.heads, batch.answers, strict=True):
            weighted = name_of("weights", head.number) in given
            weights = answers.weights.reshape(-1) if weighted else None
            if weighted and head.loss.reduction == "mean_with_sample_weight":
                begin.append(self._normalizing(weights, answers.rows))
            losses.append(self._losing(head, answers, weights, totals))
        penalties = bad = self._sums(self.heads[0], totals)
        sums: list[Array] = []
        if self._apart:
            penalties, bad = totals[-2:], totals[-1:]
            sums = [totals[head.at : head.at + 1] for head in self.heads] + [totals[-2:-1]]
        rows = batch.answers[0].rows
        optimizer = self.optimizer if training and self.arena.runs else None
        factor = optimizer.loss_scale_factor if optimizer else None
        penalized = bool(self.arena.penalized)

        def step() -> None:
            for normalize in begin:
                normalize()
            workspace.forward()
            for lose in losses:
                lose()
            if optimizer is not None:
                if factor:
                    for answers in batch.answers:
                        backend.affine(answers.gradient, factor, 0.0, answers.gradient)
                workspace.backward()
                if factor:
                    backend.affine(self.arena.gradients, 1 / factor, 0.0, self.arena.gradients)
                if penalized:
                    backend.regularize(self.arena, rows, True, penalties)
                optimizer.step(self.arena, control)
            elif penalized:
                backend.regularize(self.arena, rows, False, penalties)
            for number, total in enumerate(sums):  # one that is not finite makes their sum so
                backend.affine(total, 1.0, 0.0, bad, accumulate=number > 0)
            backend.advance(control, batch.size, bad)

        return step

    @staticmethod
    def _sums(head: Head, totals: Array) -> Array:
        """The sums that a head's loss adds to."""
        counted = any(m.counted_by_loss for m in head.measures)
        return totals[head.at : head.at + (LOSS_TOTALS if counted else LOSS_TOTALS - 1)]

    def _normalizing(self, weights: Array, rows: int) -> Callable[[], None]:
        """Make the mean of the weights 1."""
        backend = self.backend

        def normalize() -> None:
            xp = backend.xp  # here, so that a listing notices that it is used
            total = xp.sum(weights)
            total = total + (total == 0)  # no weight at all: the loss is 0, not 0 / 0
            xp.multiply(weights, rows / total, out=weights)

        return normalize

    def _losing(
        self, head: Head, answers: Answers, weights: Array | None, totals: Array
    ) -> Callable[[], None]:
        """The loss of one output, with its gradient, and its metrics."""
        backend, loss, weight = self.backend, head.loss, head.weight
        sums, gradient = self._sums(head, totals), answers.gradient
        scale = 1.0 if loss.reduction == "sum" else 1.0 / answers.rows
        measures = [m for m in head.measures if not m.counted_by_loss]
        states = [totals[m.at] for m in measures]
        activated = answers.probabilities is not answers.y_pred
        y_true, y_pred = answers.y_true, answers.y_pred

        def lose() -> None:
            backend.loss(loss, y_true, y_pred, weights, scale, gradient, sums)
            if weight != 1.0 and gradient is not None:
                backend.affine(gradient, weight, 0.0, gradient)
            if activated and measures:
                backend.bias_activation(y_pred, None, head.activation, answers.probabilities)
            for measure, state in zip(measures, states, strict=True):
                given = weights if measure.weighted else None
                backend.metric(measure.metric, y_true, answers.probabilities, given, state)

        return lose

    # -- what it adds up

    def reset_totals(self, training: bool = True) -> None:
        """Begin a new epoch's (or evaluation's) sums."""
        self.backend.write(self.totals[training], self._zeros)

    def logs(self, training: bool = True) -> dict[str, float]:
        """Losses and metrics since the last reset. Waits for the device."""
        totals = self.backend.read(self.totals[training])
        sums = totals.tolist()

        def mean(place: int, head: Head) -> float:
            rows: float = sums[head.at + 1]
            return sums[head.at + place] / rows if rows else 0.0

        losses = [mean(0, head) for head in self.heads]
        result = {"loss": losses[0]}
        if self._apart:
            weights = [head.weight for head in self.heads]
            penalty = sums[-2] / rows if (rows := sums[self.heads[0].at + 1]) else 0.0
            result["loss"] = penalty + sum(
                w * loss for w, loss in zip(weights, losses, strict=True)
            )
        if len(losses) > 1:  # as in Keras, without their weights
            for head, loss in zip(self.heads, losses, strict=True):
                result[f"{head.target.name}_loss"] = loss
        values = {
            measure.name: mean(2, head)
            if measure.counted_by_loss
            else measure.metric.compute(totals[measure.at])
            for head in self.heads
            for measure in head.measures
        }
        for measure in self.measures:
            result[measure.name] = values[measure.name]
        return result

    @property
    def log_names(self) -> list[str]:
        """The names in `logs`, in their order."""
        several = [f"{head.target.name}_loss" for head in self.heads] if len(self.heads) > 1 else []
        return ["loss", *several, *(measure.name for measure in self.measures)]

    def bad_batch(self) -> int | None:
        """The first training batch (of all so far) whose loss was not finite."""
        number = int(self.control.get()[BAD_BATCH])
        return None if number < 0 else number

    # -- exact resume

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything besides the weights that the next step depends on."""
        tensors = {"counters": self.control.get(), "totals": self.backend.read(self.totals[True])}
        for name, slot in self.arena.slots.items():
            for path, p in self.plan.parameters.items():
                if p.trained:
                    tensors[f"slot/{name}/{path}"] = self.backend.read(self.arena.segment(slot, p))
        document = {
            "seed": self.seed,
            "passes": self.passes,
            "learning_rate": self.optimizer.fixed_learning_rate if self.optimizer else None,
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
        if self.optimizer is not None and self.optimizer.fixed_learning_rate is not None:
            self.optimizer.learning_rate = document["learning_rate"]
        write = self.backend.write
        self.control.restore(tensors["counters"])
        write(self.totals[True], tensors["totals"])
        for name, slot in self.arena.slots.items():
            for path, p in self.plan.parameters.items():
                if p.trained:
                    write(self.arena.segment(slot, p), tensors[f"slot/{name}/{path}"])
        self.forget_programs()

    @property
    def batches(self) -> int:
        """Training batches so far."""
        return int(self.control.get()[BATCHES])

    @property
    def updates(self) -> int:
        """Optimizer updates so far."""
        return int(self.control.get()[UPDATES])
