"""The steps of a model, as a subclass may replace them: what Keras's do, with tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from gpunn.common.config import runs_eagerly
from gpunn.common.nested import TreeDef
from gpunn.common.signatures import signature
from gpunn.core.tracked_metrics import metrics_of_layers
from gpunn.distribution.communicator import Shard
from gpunn.metrics import Mean, Metric
from gpunn.metrics.metric import counting
from gpunn.metrics.own import takes_weights
from gpunn.ops.conversion import convert
from gpunn.ops.running.step_function import Function
from gpunn.ops.running.tape import GradientTape
from gpunn.ops.tensor import Tensor
from gpunn.training.matching import Compiled, in_reports

from .draws import draws_of
from .measured import (
    Measured,
    Outputs,
    count,
    means_of_losses,
    measured,
    results_of,
)


class Steps:
    """The metrics and the compiled steps of a model; each call of `compile` makes new ones."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.loss = Mean(name="loss")
        self.trainer: Any = None  # the `OwnTrainer`, once a call of the model uses it
        self.losses: list[Mean | None] = []  # of each output, once a step has computed them
        self._measures: list[list[Measured]] | None = None
        self._functions: dict[Any, Function] = {}

    def function(self, name: str, shard: Shard | None = None) -> Function:
        """Return the method of this name, compiled unless the model runs eagerly; for a rank, that
        on its shard of the rows."""
        in_python = self._model.run_eagerly or runs_eagerly()
        key = name, in_python, shard
        if key not in self._functions:
            given = self._model._training.settled()
            losses = [loss for loss in given.losses if loss is not None]
            method = getattr(self._model, name)
            draws = draws_of(self._model._training.progress).of(name)
            undoing = partial(_undoing, self._model)
            self._functions[key] = Function(method, losses, in_python, draws, undoing)
        return self._functions[key]

    def forget_rows(self) -> None:
        """Free what the steps hold for the rows of arrays."""
        for function in self._functions.values():
            function.forget_rows()

    def measures(self, y_pred: Any = None) -> list[list[Measured]]:
        """Return the compiled metrics of each output; none before the outputs are known."""
        compiled = self._model._training.settled()
        if self._measures is None and compiled is not None:
            outputs = Outputs(self._model)
            shapes = self._shapes(outputs, y_pred)
            if not shapes:
                return []
            plan = self._model._builder.plan
            ends = [] if plan is None else [plan.activation(node) for node in plan.outputs]
            known = ends if len(ends) == len(shapes) else [None] * len(shapes)
            self._measures = measured(compiled, outputs, shapes, known)
        return self._measures or []

    def _shapes(self, outputs: Outputs, y_pred: Any) -> list[tuple[int, ...]]:
        if y_pred is not None:
            return [tuple(t.shape[1:]) for t in outputs.each(y_pred)]
        plan = self._model._builder.plan
        return [] if plan is None else [tuple(shape) for shape in plan.output_shapes]

    @property
    def measured(self) -> list[Measured]:
        """The compiled metrics of all outputs, in the order of reports."""
        measures = self.measures()
        return in_reports([one for each in measures for one in each], len(measures) > 1)

    def losses_of(self, compiled: Compiled) -> list[Mean | None]:
        """Return the means of the losses of several outputs, as `fit` lists them."""
        if len(self.losses) != len(compiled.losses):
            self.losses = means_of_losses(compiled, Outputs(self._model))
        return self.losses


@contextmanager
def _undoing(model: Any) -> Iterator[None]:
    """Return a ``with`` block for a step in Python. An error takes back what layers have changed,
    such as moving averages, on devices where it ends the step."""
    storages = {id(p.storage): p.storage for p in model.weights if p.storage is not None}
    kept = [(a, a.state.copy()) for a in storages.values() if a.backend.stops and a.state.size]
    try:
        yield
    except BaseException:
        for storage, state in kept:
            with storage.access.writing():
                storage.backend.write(storage.state, state)
        raise


def steps_of(model: Any) -> Steps:
    """Return the steps of a model that is compiled."""
    training = model._training
    if training.compiled is None:
        raise ValueError(
            f"{model.name} is not compiled: call compile(optimizer=..., loss=...) first."
        )
    if training.steps is None:
        training.steps = Steps(model)
    return training.steps


def unpacked(data: Any) -> tuple[Any, Any, Any]:
    """Return the inputs, targets and weights of a batch; None for what it lacks."""
    parts = data if isinstance(data, tuple) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"a batch is x, (x, y) or (x, y, weight); got {len(parts)} parts.")
    x, y, weight = (*parts, None, None)[:3]
    return x, y, weight


def train_step(model: Any, data: Any) -> dict[str, Any]:
    """Implement `Model.train_step`; see there."""
    x, y, weight = unpacked(data)
    with GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = _loss(model, x, y, y_pred, weight, True)
        scaled = loss * (getattr(model.optimizer, "loss_scale_factor", None) or 1.0)
    _count(model, loss, x)
    weights = model.trainable_variables
    if not weights:
        raise ValueError(f"{model.name}: there are no weights to train.")
    model.optimizer.apply(tape.gradient(scaled, weights), weights)
    return model.compute_metrics(x, y, y_pred, weight)


def test_step(model: Any, data: Any) -> dict[str, Any]:
    """Implement `Model.test_step`; see there."""
    x, y, weight = unpacked(data)
    y_pred = model(x, training=False)
    _count(model, _loss(model, x, y, y_pred, weight, False), x)
    return model.compute_metrics(x, y, y_pred, weight)


def predict_step(model: Any, data: Any) -> Any:
    """Implement `Model.predict_step`; see there."""
    return model(unpacked(data)[0], training=False)


def _loss(model: Any, x: Any, y: Any, y_pred: Any, weight: Any, training: bool) -> Tensor:
    """Call `compute_loss`, which may lack its later arguments."""
    given = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": weight, "training": training}
    taken = signature(model.compute_loss).parameters
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return convert(model.compute_loss(**given))
    return convert(model.compute_loss(**{k: v for k, v in given.items() if k in taken}))


def _count(model: Any, loss: Tensor, x: Any) -> None:
    """Add a batch to the mean of the loss, weighted by its rows as in Keras."""
    rows = next(iter(TreeDef.of(x).unpack(x))).shape[0]
    count(steps_of(model).loss, loss, rows)


def compute_loss(model: Any, y: Any, y_pred: Any, weight: Any) -> Tensor:
    """Implement `Model.compute_loss`; see there."""
    terms = [*compiled_losses(model, y, y_pred, weight), *model.losses]
    if not terms:
        raise ValueError(
            f"{model.name} has no loss: pass one to compile, add one with add_loss, or write "
            f"compute_loss(x, y, y_pred, sample_weight)."
        )
    return sum(terms[1:], convert(terms[0]))


def compiled_losses(model: Any, y: Any, y_pred: Any, weight: Any) -> list[Any]:
    """Return the loss of each output, by `compile`, times its weight; each is counted."""
    compiled = model._training.settled()
    if y is None or y_pred is None or compiled is None or not any(compiled.losses):
        return []
    by_name = Outputs(model)
    outputs = by_name.each(y_pred)
    factors = compiled.loss_weights or [1.0] * len(outputs)
    losses, means = compiled.losses, steps_of(model).losses_of(compiled)
    if len(losses) == 1:
        losses, means = losses * len(outputs), means * len(outputs)
    targets, weights = by_name.like(y, y_pred), by_name.like(weight, y_pred)
    terms: list[Any] = []
    parts = zip(losses, targets, outputs, weights, factors, means, strict=False)
    for loss, t, p, w, factor, mean in parts:
        if loss is not None:
            value = loss(t, p, w)
            if mean is not None:
                count(mean, value, p.shape[0])
            terms.append(value if factor == 1.0 else value * factor)
    return terms


class CompiledLoss:
    """The loss of `compile`; see `Model.compiled_loss`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(
        self, y: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = None
    ) -> Tensor:
        terms = compiled_losses(self._model, y, y_pred, sample_weight)
        terms += list(regularization_losses or ())
        if not terms:
            raise ValueError(f"{self._model.name} was compiled without a loss: name one.")
        loss = sum(terms[1:], convert(terms[0]))
        _count(self._model, loss, y_pred)
        return loss


class CompiledMetrics:
    """The metrics of `compile`; see `Model.compiled_metrics`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def metrics(self) -> list[Metric]:
        return [one.metric for one in steps_of(self._model).measured]

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        update_compiled(self._model, y, y_pred, sample_weight)

    def result(self) -> dict[str, Any]:
        return result_of(self._model, self.metrics)


def compute_metrics(model: Any, y: Any, y_pred: Any, weight: Any) -> dict[str, Any]:
    """Implement `Model.compute_metrics`; see there."""
    if y is not None:
        update_compiled(model, y, y_pred, weight)
    return model.get_metrics_result()


def update_compiled(model: Any, y: Any, y_pred: Any, weight: Any = None) -> None:
    """Add a batch to the compiled metrics."""
    measures, outputs = steps_of(model).measures(y_pred), Outputs(model)
    given = outputs.like(y, y_pred), outputs.each(y_pred), outputs.like(weight, y_pred)
    for own, t, p, w in zip(measures, *given, strict=False):
        for one in own:
            weight, compared = w if one.weighted else None, one.read(t, p)
            if takes_weights(one.metric):  # of a user's own class, too
                weight = counting(p, weight)
            if weight is not None:
                one.metric.update_state(*compared, weight)
            else:
                one.metric.update_state(*compared)


def metrics_of(model: Any) -> list[Any]:
    """Implement `Model.metrics`; see there."""
    training = model._training
    found: list[Any] = []
    if training.compiled is not None:
        own = steps_of(model)
        if any(training.compiled.losses) or "train_step" not in model._own_steps:
            found.append(own.loss)
        found += [mean for mean in own.losses if mean is not None]
        found += [one.metric for one in own.measured]
    others = metrics_of_layers(model, model._layers_inside)
    return [*found, *(m for m in others if all(m is not known for known in found))]


def result_of(model: Any, metrics: Any) -> dict[str, Any]:
    """Return the results of metrics by the names that `fit` lists them by."""
    return results_of(metrics, reported_names(model))


def reported_names(model: Any) -> dict[int, str]:
    """Return the names of compiled metrics in the logs, by their ``id``."""
    training = model._training
    own = [] if training.compiled is None else steps_of(model).measured
    return {id(one.metric): one.name for one in own}


def ordered(model: Any, logs: dict[str, float]) -> dict[str, float]:
    """Return what a step returned in the order of `Model.evaluate`, as in Keras: metrics as
    `Model.metrics` lists them, then the rest by name."""
    names = reported_names(model)
    known = [names.get(id(metric), metric.name) for metric in model.metrics]
    return {name: logs[name] for name in dict.fromkeys([*known, *sorted(logs)]) if name in logs}
