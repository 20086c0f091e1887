"""The training of a model that defines its own steps: what `Trainer` is to others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.control import Control
from gpunn.callbacks import CallbackList
from gpunn.common.nested import TreeDef, found_in
from gpunn.common.stored import OWN_STEPS, check_array
from gpunn.core.holder import ParameterHolder
from gpunn.core.operators import Kept
from gpunn.distribution import launch
from gpunn.distribution.communicator import ALONE, Communicator
from gpunn.feeding.batches import PREDICT_BATCH, Batches
from gpunn.feeding.classes import check_class_weight, nearest_classes
from gpunn.optimizers import Optimizer
from gpunn.optimizers.on_arrays import Update
from gpunn.training import agreement
from gpunn.training.fitting import rows_of_a_batch
from gpunn.training.predictor import predict as predict_batches
from gpunn.training.trainer import Trainer
from gpunn.training.training import Training

from .draws import draws_of
from .programs import OwnPrograms
from .rows import OwnRows, source_of
from .steps import Steps, steps_of

OF_LOGS = f"{OWN_STEPS}log/"  # before the names of what the last step returned


class OwnTrainer:
    """The training state of a model that defines its own steps.

    Attributes:
        training: What `compile` configured.
        progress: That of ``training``.
        control: The counters of its batches and passes, on the host.
    """

    spec = None
    evaluation_batch = 32  # as a `test_step` may depend on it
    takes_x_alone = True
    is_simple = False
    layer_metrics = ()

    def __init__(self, model: Any, steps: Steps) -> None:
        self.model, self.steps = model, steps
        self.training: Training = model._training
        self.progress = self.training.progress
        self.backend = get_backend("numpy")
        self.control = Control(self.backend)
        self.programs: OwnPrograms | None = None  # of the last training
        self.logs: dict[str, float] = {}  # of the last step before the training was resumed
        self.evaluations = self  # each evaluation has programs of its own
        self._counter = threading.RLock()  # of the thread whose steps the metrics count
        self._outside: dict[str, int] | None = None  # before a fit that is to be resumed

    @property
    def optimizer(self) -> Any:
        """The optimizer of `compile`, or None."""
        return self.training.optimizer

    def look(self) -> None:
        """Nothing: a step looks by itself at what it uses."""

    def bad_batch(self) -> None:
        """Return None: a step that a model defines does not say which batch was bad."""

    # -- data

    @property
    def input_count(self) -> int:
        """Number of the model's inputs; 1 if it is not known."""
        declared = self.model._builder.declared_inputs()
        return 1 if declared is None else len(declared)

    def source(
        self, x: Any, y: Any, weight: Any, class_weight: Any, argument: str
    ) -> tuple[OwnTrainer, Any]:
        """Return the trainer, and the data as rows or batches."""
        name = "validation_data" if argument == "validation_data" else "x"
        rows = source_of(x, y, weight, class_weight, name)
        if launch.current().size > 1 and isinstance(rows, Batches) and rows.sharded:
            raise ValueError(
                f"{name} yields the rows of this rank alone, which {self.model.name}'s train_step "
                f"cannot take: give every rank the same batches, of which it takes its share."
            )
        return self, rows

    def labels(self, rows: Any) -> np.ndarray | None:
        """Return the class of each row (rows,), if a single loss compares classes."""
        compiled = self.training.settled()
        losses = [] if compiled is None else compiled.losses
        y = rows.arrays.get("y")
        fuses = getattr(losses[0], "fuses", None) if len(losses) == 1 else None
        if y is None or not fuses:
            return None
        one_each = y.size == len(y) or (fuses == "Softmax" and y.ndim == 2)
        return nearest_classes(y) if one_each else None

    # -- training and evaluation

    @property
    def built(self) -> Trainer:
        """The trainer of the model, with the weights and counters that ranks compare."""
        if self.model._builder.plan is None:
            raise ValueError(
                f"{self.model.name} must be built before several processes train it: give it an "
                f"Input, or call it on a batch."
            )
        return self.training.current_trainer()

    def receive(self, ranks: Communicator) -> None:
        """Continue as rank 0 does, whose counters the model's trainer was sent."""
        draws = draws_of(self.progress)
        restore = draws.restoring(ranks.first(draws.state()))
        if ranks.rank:
            restore(self.progress.seed)
        self.progress.continue_with(self.control)

    @contextmanager
    def train(self, ranks: Communicator = ALONE) -> Iterator[OwnPrograms]:
        """Return a ``with`` block for training over these ranks."""
        _ = self.training.trainer  # in a copy: it has the counters of the original
        self.progress.continue_with(self.control)
        self.programs = programs = OwnPrograms(self, "train_step")
        programs.join(ranks)
        if ranks.size > 1:
            ranks.reserve()
        try:
            with self._counting():
                yield programs
        finally:
            if ranks.size > 1:
                ranks.release()
            programs.release()
            self._outside = None

    def call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``work(programs, *arguments)`` of an evaluation.

        Raises:
            RuntimeError: if another thread counts by the metrics, which all steps share.
        """
        with self._counting():
            return work(OwnPrograms(self, "test_step"), *arguments)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Return a ``with`` block in which this thread alone counts by the metrics."""
        if not self._counter.acquire(blocking=False):
            raise RuntimeError(
                f"Another thread trains or evaluates {self.model.name!r}, whose own steps share "
                f"their metrics. Wait until that has ended, or use a copy: "
                f"from_config(get_config())."
            )
        try:
            yield
        finally:
            self._counter.release()

    def finish(self) -> None:
        """End a training: weights become their averages, if the optimizer keeps any."""
        optimizer = self.optimizer
        if optimizer is not None and optimizer.use_ema:
            known = optimizer._slots.is_stepped  # the step may leave some to another optimizer
            if variables := [v for v in self.model.trainable_variables if known(v)]:
                Update.of(optimizer, variables).finish(variables)

    # -- exact resume

    def check_state(self) -> None:
        """Check that a checkpoint holds all that the next step depends on.

        Raises:
            ValueError: if another optimizer trains a part of the model.
        """
        for holder in _holders(self.model):
            for name, value in vars(holder).items():
                if any(o is not self.optimizer for o in found_in(value, Optimizer)):
                    raise ValueError(self._lacks(f"the state of its optimizer {name!r}"))
        self._outside = self._found_outside()

    def _found_outside(self) -> dict[str, int]:
        """Return what a step may change and no checkpoint holds, each with a number that changes
        with it: optimizers of models inside, variables, and weights of models beside its own."""
        kept, found = {id(w) for w in self.model.weights}, dict[str, int]()
        for holder in _holders(self.model):
            optimizer = getattr(holder, "optimizer", None)
            if isinstance(optimizer, Optimizer) and optimizer is not self.optimizer:
                found[f"the state of the optimizer of {holder.name}"] = optimizer.steps_done
            variables = [*holder.weights, *found_in(list(vars(holder).values()), Kept)]
            for v in {id(v): v for v in variables if id(v) not in kept}.values():
                kept.add(id(v))
                name = getattr(v, "path", None) or v.name
                found[f"{name} of {holder.name}"] = crc32(np.asarray(v).tobytes())
        return found

    def _lacks(self, what: str) -> str:
        return (
            f"A checkpoint of {self.model.name} lacks {what}, so that fit cannot be resumed from "
            f"it. Leave BackupAndRestore and LearningRateFinder out, save its networks by "
            f"themselves after each epoch, and continue with initial_epoch."
        )

    def _metrics(self) -> dict[str, Any]:
        """Return the metrics of the model that its trainer does not keep, by their entries of a
        file.

        Those of the outputs' losses, which the first step makes, change no other's number.
        """
        losses = [mean for mean in self.steps.losses if mean is not None]
        apart = [*self.training.current_trainer().layer_metrics, *losses]
        others = [m for m in self.model.metrics if all(m is not one for one in apart)]
        return {
            f"{OWN_STEPS}{kind}/{number}": metric
            for kind, metrics in (("metric", others), ("loss", losses))
            for number, metric in enumerate(metrics)
        }

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the training state, with the sums of metrics and the logs of the last step."""
        if self._outside is not None:
            for what, number in self._found_outside().items():
                if self._outside.get(what) != number:
                    raise ValueError(self._lacks(f"{what}, which the step changes"))
        tensors, document = self.training.state()
        if not tensors:
            return tensors, document
        if self.programs is not None:
            tensors |= {name: metric._sums() for name, metric in self._metrics().items()}
            logs = self.programs.known_logs()
            tensors |= {f"{OF_LOGS}{name}": np.array([value]) for name, value in logs.items()}
        return tensors, document | draws_of(self.progress).state()

    def set_state(self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError: for what `state` never returns.
        """
        self.training.set_state(tensors, document, partial(self._restoring, tensors, document))

    def _restoring(
        self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]
    ) -> Callable[[], None]:
        """Check what `state` adds to the state of the trainer; return what restores it."""
        restore_draws = draws_of(self.progress).restoring(document)
        trained = self.programs is not None  # before, these steps have neither sums nor logs
        own = {n: a for n, a in tensors.items() if trained and n.startswith(OWN_STEPS)}
        compiled = self.training.settled()
        if compiled is not None and any(name.startswith(f"{OWN_STEPS}loss/") for name in own):
            self.steps.losses_of(compiled)
        metrics = self._metrics() if own else {}
        logs, sums = dict[str, float](), list[tuple[Any, np.ndarray]]()
        for name, array in own.items():
            place = f"training/tensors/{name}"
            if name in metrics:
                metric = metrics[name]
                sums.append((metric, check_array(array, metric._sums().shape, "f", place)))
            elif name.startswith(OF_LOGS):
                logs[name.removeprefix(OF_LOGS)] = float(check_array(array, (1,), "f", place)[0])
            else:
                raise ValueError(f"the entry {place!r} is not known.")
        for name in metrics:
            if name not in own:
                raise ValueError(f"the entry 'training/tensors/{name}' is missing.")

        def restore() -> None:
            self.progress.continue_with(self.control)
            restore_draws(self.progress.seed)
            self.logs = logs
            weights, optimizer = self.model.trainable_variables, self.optimizer
            averages = trained and optimizer is not None and optimizer.use_ema
            if averages and weights and self.progress.batches:
                Update.of(optimizer, weights).record_step()  # it was made before, also for `finish`
            for metric, array in sums:
                metric._put_sums(array)

        return restore


def _holders(model: Any) -> list[Any]:
    """Return a model, and the layers and models that it holds, at any depth."""
    found, waiting = dict[int, Any](), [model]
    while waiting:
        holder = waiting.pop()
        if id(holder) not in found:
            found[id(holder)] = holder
            waiting += found_in(list(vars(holder).values()), ParameterHolder)
            waiting += holder._layers_inside
    return [*found.values()]


def trainer_of(model: Any) -> OwnTrainer:
    """Return the trainer of a model that defines its own steps, and is compiled."""
    steps = steps_of(model)
    if steps.trainer is None:
        steps.trainer = OwnTrainer(model, steps)
    return steps.trainer


def on_batch(model: Any, name: str, x: Any, y: Any, weight: Any, by_class: Any) -> dict[str, float]:
    """Run `train_step` or `test_step` on one batch."""
    if by_class is not None:
        check_class_weight(by_class, is_whole=False)
    method = name.replace("step", "on_batch")
    with model._training.exclusively(method):
        trainer = trainer_of(model)
        rows = trainer.source(x, y, weight, by_class, method)[1]
        batch = rows if isinstance(rows, OwnRows) else next(rows.begin(0))
        if name == "test_step":
            return trainer.call(OwnPrograms.on_batch, batch)
        ranks = launch.current()
        if ranks.size > 1:
            agreement.compare_data(ranks, trainer.built, batch)
            if trainer.programs is None or trainer.programs.ranks is not ranks:
                agreement.compare_models(ranks, trainer.built)
                agreement.send_state(ranks, trainer.built)
                trainer.receive(ranks)
        with trainer.train(ranks) as programs:
            return programs.on_batch(batch)


def predict(
    trainer: OwnTrainer, x: Any, size: int | None, steps: int | None, callbacks: Any
) -> Any:
    """Predict by a model's `predict_step`; see `gpunn.Model.predict`."""
    step, rows = trainer.steps.function("predict_step"), source_of(x, None, None, None)
    if isinstance(rows, OwnRows):
        size = rows_of_a_batch(size if size or steps else PREDICT_BATCH, rows, steps)
    listeners = CallbackList(callbacks, model=trainer.model, steps=steps)
    form = SimpleNamespace()

    def forward(batch: Any) -> list[np.ndarray]:
        y = step.start(batch).values()
        found = TreeDef.of(y)
        form.kind, form.pack = found.kind, found.pack
        return [np.asarray(part) for part in found.unpack(y)]

    with listeners.released_at_error():
        batches = ((batch,) for batch in islice(_batches(rows, size), steps))
        return predict_batches(forward, batches, listeners, form)


def _batches(rows: Any, size: int | None) -> Iterator[Any]:
    """Yield the batches of a pass as a step gets them."""
    if isinstance(rows, OwnRows) and size:
        yield from (rows.batch(slice(at, at + size)) for at in range(0, len(rows), size))
    if isinstance(rows, OwnRows):
        return
    rows.tell("on_epoch_begin")
    yield from (batch.whole() for batch in rows.begin(0))
    rows.tell("on_epoch_end")
