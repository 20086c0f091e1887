"""What the steps of a model measure: the metrics of `compile` and the loss of each output, under
the names that `fit` gives them without steps by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpunn.common.nested import TreeDef
from gpunn.metrics import Mean, Metric
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
