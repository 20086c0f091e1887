"""Losses and metrics of steps by hand: of each output, or of several together.

They have the names that `fit` gives them without steps by hand. A model with a loss of several
outputs, ``compile(loss=[of_all, {"a": "mse", "b": "mae"}])``, trains by its `train_step`, as one
that a class defines would.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpunn import losses
from gpunn.common import registry
from gpunn.common.arguments import check_number
from gpunn.common.nested import TreeDef, is_group
from gpunn.common.overrides import is_framework
from gpunn.losses import Loss
from gpunn.losses.loss import FunctionLoss
from gpunn.metrics import Mean, Metric
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current
from gpunn.training.matching import (
    Compiled,
    free_name,
    labels_of,
    loss_names,
    reported_name,
    resolve_metric,
)
from gpunn.training.metric_inputs import MetricInputs, ModelOutput, metric_inputs


@dataclass
class Measured:
    """A compiled metric, whether it is weighted, its name in the logs, and how it reads a batch."""

    metric: Metric
    weighted: bool
    name: str
    reading: MetricInputs

    def read(self, targets: Any, predictions: Any) -> tuple[Any, Any]:
        """Return what the metric compares, as in a `fit` without steps by hand."""
        of_targets, of_predictions = self.reading.targets, self.reading.predictions
        return (
            targets if of_targets is None else of_targets(targets),
            predictions if of_predictions is None else of_predictions(predictions),
        )


class Outputs:
    """The outputs of a model as `compile` knows them.

    Attributes:
        names: of several outputs; [""] for a single one, and for those that are not known yet.
        labels: what is before the names of their metrics.
    """

    def __init__(self, model: Any) -> None:
        self.names = model._training.target_names()
        several = len(self.names) > 1
        graph = model._builder.known_graph("outputs") if several else None
        self.labels = labels_of(graph, self.names) if several else self.names
        self._form = graph.output_form if graph is not None else TreeDef()

    def each(self, y_pred: Any) -> list[Any]:
        """Return the outputs in the order of `compile`."""
        if isinstance(y_pred, Mapping) and set(y_pred) == set(self.names):
            return [y_pred[name] for name in self.names]
        return list(TreeDef.of(y_pred).unpack(y_pred))

    def like(self, given: Any, y_pred: Any) -> list[Any]:
        """Return the entry of ``given`` for each output, in the order of `each`."""
        several = isinstance(y_pred, (list, tuple, Mapping))
        given = self._form.flat(given, "y", missing=True)
        if isinstance(given, Mapping):
            for names in (self.names, y_pred if isinstance(y_pred, Mapping) else ()):
                if set(given) <= set(names):
                    return [given.get(name) for name in names]
            given = list(given.values())
        if isinstance(given, (list, tuple)) and several:
            return list(given)
        return [given] * len(self.each(y_pred))


def measured(
    compiled: Compiled, outputs: Outputs, shapes: Sequence[tuple[int, ...]],
    activations: Sequence[Any],
) -> list[list[Measured]]:
    """Return the metrics of each output, of samples of these shapes, after these activations."""
    taken, objects = ["loss", *loss_names(outputs.names)], list[Metric]()

    def made(
        given: Any, loss: Any, shape: Any, activation: Any, label: str, weighted: bool
    ) -> Measured:
        if loss is None and isinstance(given, str) and given in ("accuracy", "acc"):
            raise ValueError(
                f"metrics: {given!r} depends on the loss, and compile was given none: name the "
                f"metric, such as 'sparse_categorical_accuracy'."
            )
        found, name = resolve_metric(given, loss, shape)
        if any(found is other for other in objects):
            found = copy.deepcopy(found)  # each output has a mean of its own
        found._ignored = None if loss is None else loss.ignore_class  # as a label it is no error
        reported = reported_name(label, name, weighted, taken)
        if label and isinstance(given, Metric):  # which keeps its name for the next `compile`
            found.name = free_name(name, [str(metric.name) for metric in objects])
        else:
            found.name = reported
        taken.append(reported)
        objects.append(found)
        reading = MetricInputs()
        if loss is not None:
            output = ModelOutput(loss, activation, False, (shape or (1,))[-1])
            reading, _ = metric_inputs(found, given, output)  # `compile` has shown the notes
        return Measured(found, weighted, reported, reading)

    parts = zip(
        compiled.losses, shapes, activations, compiled.metrics, compiled.weighted_metrics,
        outputs.labels, strict=False,
    )  # fmt: skip
    return [
        [
            *(made(m, loss, shape, activation, label, False) for m in metrics),
            *(made(m, loss, shape, activation, label, True) for m in weighted),
        ]
        for loss, shape, activation, metrics, weighted, label in parts
    ]


def means_of_losses(compiled: Compiled, outputs: Outputs) -> list[Mean | None]:
    """Return the mean of each output's loss, if there are several; None for one without a loss."""
    several = sum(loss is not None for loss in compiled.losses) > 1
    return [
        Mean(name=f"{name}_loss") if several and loss is not None and name else None
        for loss, name in zip(compiled.losses, outputs.names, strict=True)
    ]


def count(mean: Mean, value: Any, rows: int) -> None:
    """Add the loss of a batch to a mean, weighted by its rows as in Keras, where the step counts:
    a function to differentiate does not."""
    trace = current()
    if value.has_values or (trace is not None and trace.mode.is_step):
        mean.update_state(value, sample_weight=rows)


def results_of(metrics: Iterable[Any], names: Mapping[int, str]) -> dict[str, Any]:
    """Return the results of metrics by their names, or by those for their ``id``."""
    found: dict[str, Any] = {}
    for metric in metrics:
        found |= named(metric, metric.result(), names)
    return found


def named(metric: Any, value: Any, names: Mapping[int, str]) -> Mapping[str, Any]:
    """Return the result of a metric by its name, or by those for its ``id``; or all its results."""
    return value if isinstance(value, Mapping) else {names.get(id(metric), metric.name): value}


@dataclass(eq=False)
class JointLoss:
    """A loss of the outputs at a place in their structure: of a group of them, or of one.

    Attributes:
        path: Keys and places on the way to them.
        weight: Its factor in the sum.
    """

    path: tuple[Any, ...]
    loss: Loss
    weight: float
    name: str


class JointLosses:
    """The losses that `compile` was given for outputs of this structure.

    Attributes:
        means: Means of the losses for the logs, if there are several.

    Args:
        loss: Losses in lists and dictionaries, some of them of groups of outputs.
        loss_weights: Their factors, in the same structure or in a list; None if all are 1.
    """

    def __init__(self, form: TreeDef, names: Sequence[str], loss: Any, loss_weights: Any) -> None:
        self._form, self.entries = form, list[JointLoss]()
        self.loss, self.weights = loss, loss_weights
        self.is_joint = False  # whether one of them is of a group
        self._add(form, form.pack(iter(names)), loss, loss_weights, ())
        several = self.entries if len(self.entries) > 1 else []
        self.means = [Mean(name=f"{entry.name}_loss") for entry in several]

    @classmethod
    def of(cls, form: TreeDef, names: Sequence[str], loss: Any, weights: Any) -> JointLosses | None:
        """Return the losses if one of them is of a group of outputs, as Keras takes it; else None:
        each output has its own, or there is an error to be raised elsewhere."""
        if form.kind is None or not is_several(loss):
            return None
        try:
            found = cls(form, names, loss, weights)
        except (ValueError, TypeError):
            groups = [] if isinstance(loss, Mapping) else [x for x in loss if is_several(x)]
            if any(isinstance(group, Mapping) for group in groups):
                raise  # no other form has dictionaries in a list
            return None
        return found if found.is_joint else None

    def _add(
        self, form: TreeDef, names: Any, loss: Any, weights: Any, path: tuple[Any, ...]
    ) -> None:
        """Add the losses for the outputs at a path: their structure and names."""
        if loss is None:
            return
        if not is_several(loss):
            made = losses.get(loss)
            if form.kind is not None:
                own = isinstance(made, FunctionLoss) or not is_framework(type(made))
                if not own:  # which compares one array with another
                    raise ValueError(f"loss: {made.name!r} is of one output, not of several.")
                self.is_joint = True
            weight = 1.0 if weights is None else check_number("loss_weights", weights)
            self.entries.append(JointLoss(path, made, weight, _name(form, names, path)))
            return
        kind = dict if isinstance(loss, Mapping) else type(loss)
        each = list(loss.values()) if kind is dict else list(loss)
        factors: Any = [None] * len(each) if weights is None else _like(each, weights)
        flat = not any(map(is_several, each)) and len(each) == len(form.unpack(names))
        if kind is not dict and flat:  # one for each output
            if form.kind is None:
                return self._add(form, names, each[0], factors[0], path)
            loss, factors = form.pack(iter(each)), form.pack(iter(factors))
        elif kind is not dict and form.kind is not kind:  # each for all of them
            for entry, factor in zip(each, factors, strict=True):
                self._add(form, names, entry, factor, path)
            return
        elif form.kind is not kind:
            raise ValueError(f"loss: there are no such outputs at {path}.")
        elif kind is dict:
            factors = dict(zip(loss, factors, strict=True))
        keys = form.keys if form.kind is dict else range(len(names))
        parts = dict(zip(keys, form.parts or (TreeDef(),) * len(keys), strict=True))
        for key in loss if form.kind is dict else range(len(loss)):
            if key not in parts:
                raise ValueError(
                    f"loss: there is no output {key!r}; {', '.join(map(repr, keys))} are expected."
                )
            self._add(parts[key], names[key], loss[key], factors[key], (*path, key))

    def values(self, y: Any, y_pred: Any, sample_weight: Any) -> list[Tensor]:
        """Return the value of each loss, without its factor."""
        y_true = self._form.pack(iter(self._form.unpack(_arranged(self._form, y))))
        found = []
        for entry in self.entries:
            weight = sample_weight
            if is_group(weight):
                weight = _at(_arranged(self._form, weight), entry.path)
                if is_group(weight):
                    raise ValueError(
                        f"sample_weight has an entry for each output, but the loss {entry.name!r} "
                        f"is of several: pass one array for all."
                    )
            value = entry.loss(_at(y_true, entry.path), _at(y_pred, entry.path), weight)
            found.append(convert(value))
        return found

    def compute(self, model: Any, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        """Implement `Model.compute_loss`; each loss is counted."""
        values = self.values(y, y_pred, sample_weight)
        rows = next(iter(self._form.unpack(y_pred))).shape[0]
        for mean, value in zip(self.means, values, strict=False):
            count(mean, value, rows)
        terms = [value * entry.weight for value, entry in zip(values, self.entries, strict=True)]
        return sum([*terms[1:], *model.losses], terms[0])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` as JSON-serializable values."""
        def described(loss: Any) -> Any:
            if isinstance(loss, Mapping) and is_several(loss):
                return {key: described(entry) for key, entry in loss.items()}
            if is_several(loss):
                return [described(entry) for entry in loss]
            return None if loss is None else registry.serialize(losses.get(loss))

        return {"loss": described(self.loss), "loss_weights": self.weights}


def is_several(given: Any) -> bool:
    """Whether there are several losses, not a single one or its configuration."""
    config = isinstance(given, Mapping) and {"class_name", "config"} <= set(given)
    return isinstance(given, (list, tuple, Mapping)) and not config


def _like(entries: Sequence[Any], weights: Any) -> list[Any]:
    """Return the weights of several losses, in their order."""
    given = list(weights.values()) if isinstance(weights, Mapping) else weights
    if not isinstance(given, (list, tuple)) or len(given) != len(entries):
        raise ValueError("loss_weights must have a weight for each loss.")
    return list(given)


def _name(form: TreeDef, names: Any, path: tuple[Any, ...]) -> str:
    """Return the name of a loss in logs, as Keras's."""
    if form.kind is None:  # a place in a list has no name of its own
        own = str(names).rpartition("/")[2]  # those of groups in groups have their path before
        path = (*path[:-1], own) if path and isinstance(path[-1], int) else path or (own,)
    return "/".join(map(str, path)) or "_".join(map(str, form.unpack(names)))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _arranged(form: TreeDef, given: Any) -> Any:
    """Return values in a structure, in which dictionaries have the order of the outputs' keys."""
    if form.kind is None:
        return given
    parts = form.parts or (TreeDef(),) * len(given)
    if form.kind is dict:
        return {key: _arranged(p, given[key]) for key, p in zip(form.keys, parts, strict=True)}
    return form.kind(_arranged(p, x) for p, x in zip(parts, given, strict=True))
