"""Terms of an objective: outputs of a model with a loss, their targets and metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.overrides import replaces
from gpunn.core.plan import Plan
from gpunn.core.workspace import Pool, Workspace
from gpunn.feeding.spec import Spec, TargetSpec
from gpunn.losses import Loss

from .matching import fuse, loss_names, reported_name, resolve_metric
from .metric_inputs import MetricInputs, ModelOutput, metric_inputs

LOSS_TOTALS = 3  # sum of losses, rows, correct rows


@dataclass
class Measure:
    """A metric of the model and the position of its state in the totals."""

    name: str
    metric: Any
    weighted: bool
    at: slice
    counted_by_loss: bool
    reading: MetricInputs


@dataclass
class LossTerm:
    """A term of the objective: an output with its loss, its weight and its metrics.

    Attributes:
        number: Number of the output.
        loss: The loss that the step uses.
        fused: Whether the loss is fused with the output's activation.
        weight: Weight of its loss in the sum.
        at: Start of its sums in the totals.
        notes: Notes for the user about how the metrics read it.
        is_masked: Whether the output has a mask, which excludes steps.
    """

    number: int
    target: TargetSpec
    loss: Loss
    fused: bool
    activation: Any
    weight: float
    at: int
    measures: list[Measure]
    notes: list[str] = field(default_factory=list)
    is_masked: bool = False

    @property
    def end(self) -> int:
        """End of its sums in the totals."""
        return self.measures[-1].at.stop if self.measures else self.at + LOSS_TOTALS


def _as_entries(
    mask: Array, entries: tuple[int, ...], target: TargetSpec, k: int
) -> tuple[Array, tuple[int, ...]]:
    """Return a mask (batch, ...) and the shape of the loss's ``entries``, so that they broadcast.

    A mask of the first axes of a sample counts for all entries that lie behind it.
    """
    if mask.shape == entries:
        return mask, entries
    sample, given = tuple(target.output_shape), mask.ndim - 1
    for n in range(given, len(sample)):
        if math.prod(sample[:n]) == target.steps and mask.shape[1:] == sample[:given]:
            after = (1,) * (n - given)
            return mask.reshape(mask.shape + after), (len(mask), *sample[:n])
    raise ValueError(
        f"output {k} has a mask of shape {mask.shape}, but the loss has an entry for each of "
        f"{entries}: they must be equal."
    )


class TargetBuffers:
    """Inputs of the loss and the metrics of one output, for one batch size.

    Built-in losses and metrics read rows, one for each entry of all axes but the last. Custom ones
    read samples. ``whole`` is the number of rows of the batch, on all ranks.
    """

    def __init__(
        self, term: LossTerm, workspace: Workspace, pool: Pool, dtype: str, whole: int
    ) -> None:
        target, size, k = term.target, workspace.batch, term.number
        self.rows = size * target.rows_per_sample  # rows of the loss
        self.all_rows = size * target.steps
        # The same of the whole batch, of which other ranks have the rest.
        self.whole_rows, self.whole_steps = whole * target.rows_per_sample, whole * target.steps
        shape = (size, *target.target_shape)
        self.y = pool.array(f"targets {k}", shape, target.target_dtype(dtype))
        by_step = (size,) if target.steps == 1 else (size, target.steps)
        self.weights = pool.array(f"weights {k}", by_step, dtype)
        self.normalized = None  # weights with the mean 1, if the loss divides by their sum
        self.mask: Array = workspace.masks[k] if workspace.masks else None
        if self.mask is not None:  # the weights of the steps that it keeps
            self.masked = pool.array(f"masked {k}", by_step, dtype)
            self.mask, self.mask_shape = _as_entries(self.mask, by_step, target, k)
            self.masked_weights = pool.array(f"masked weights {k}", by_step, dtype)
        if term.loss.reduction == "mean_with_sample_weight" or self.mask is not None:
            self.normalized = pool.array(f"normalized weights {k}", by_step, dtype)
        width = math.prod(target.output_shape) // target.rows_per_sample
        self.y_pred = workspace.ys[k].reshape(self.rows, width)
        # No -1 in shapes: a rank may have no row.
        each = math.prod(target.target_shape) // target.rows_per_sample
        self.y_true = self.y.reshape(-1 if term.loss.sparse else (self.rows, each))
        self.gradient = workspace.dys[k].reshape(self.rows, width) if workspace.dys else None
        self._sample = target.output_shape
        features = math.prod(target.output_shape)  # of a sample
        rows = workspace.ys[k].reshape(self.all_rows, features // target.steps)
        # Values computed for the metrics, by name: source, function, destination.
        self.converted: dict[str, tuple[Array, Any, Array]] = {}
        self.labels: list[tuple[Array, Array]] = []  # targets, and the same as class indices
        self.measuring = []  # targets and predictions that each metric reads
        for m in term.measures:
            if m.counted_by_loss:
                continue
            predictions = self._through(m.reading.predictions, rows, f"predictions {k}", pool)
            if target.any_shape and not m.metric._of_tensors:
                targets = self._targets_of(m.metric, rows, pool, k)
            else:
                targets = self._through(m.reading.targets, self.y_true, f"targets {k}", pool)
            if m.metric._of_tensors:
                targets, predictions = targets.reshape(shape), predictions.reshape(size, features)
            self.measuring.append((m, targets, predictions))

    def _targets_of(self, metric: Any, rows: Array, pool: Pool, k: int) -> Array:
        """Return the targets of a built-in metric used with a custom loss, which takes targets of
        any shape.

        Raises:
            ValueError: if the number of target entries is not what the metric reads.
        """
        each_row = self.y.size == self.all_rows
        labels = metric.sparse or (metric.sparse is None and each_row and rows.shape[1] > 1)
        if each_row if labels else self.y.size == rows.size:
            if not labels:
                return self.y.reshape(rows.shape)
            into = pool.array(f"class numbers {k}", (self.all_rows,), "int32")
            self.labels.append((self.y.reshape(-1), into))
            return into
        raise ValueError(
            f"The metric {metric.name!r} reads {'a class index' if labels else 'a target'} for "
            f"each {'row' if labels else 'value'} of predictions (batch, "
            f"{', '.join(map(str, self._sample))}); the targets of a sample have the shape "
            f"{self.y.shape[1:]}. Use a custom metric function."
        )

    def _through(self, function: Any, array: Array, name: str, pool: Pool) -> Array:
        """Return the array for a function's result; without a function, the array itself."""
        if function is None:
            return array
        name = f"{function.__name__} of {name}"
        if name not in self.converted:
            into = pool.array(name, array.shape, array.dtype)
            self.converted[name] = array, function, into
        return self.converted[name][2]


def make_terms(
    plan: Plan, spec: Spec, metrics: Sequence[list[Any]], weighted_metrics: Sequence[list[Any]],
    loss_weights: Sequence[float] | None = None,
) -> list[LossTerm]:
    """Return the loss terms of a model, one for each output for which ``spec`` holds a loss.

    Raises:
        ValueError: if loss, activation and metrics do not match.
    """
    terms: list[LossTerm] = []
    taken = ["loss", *loss_names(t.name for t in spec.targets)]
    for k, target in enumerate(spec.targets):
        if target.loss is None:
            continue
        node = plan.outputs[k]
        activation = plan.activation(node)
        loss, fused = fuse(target.loss, activation)
        # Another node reads the activation's output, or a custom layer computes it.
        if fused and (
            len(plan.readers(node)) > 1 or replaces(type(plan.nodes[node].layer), "forward")
        ):
            loss, fused = target.loss, False
        at = terms[-1].end if terms else 0
        weight = 1.0 if loss_weights is None else loss_weights[k]
        masked = bool(plan.masks) and plan.masks[k] is not None
        term = LossTerm(k, target, loss, fused, activation, weight, at, [], is_masked=masked)
        term.measures = _measures(term, metrics[k], weighted_metrics[k], taken)
        taken += [measure.name for measure in term.measures]
        terms.append(term)
    return terms


def _measures(
    term: LossTerm, metrics: list[Any], weighted: list[Any], taken: list[str]
) -> list[Measure]:
    measures: list[Measure] = []
    loss, at = term.loss, term.at + LOSS_TOTALS
    shape = term.target.output_shape
    output = ModelOutput(term.target.loss, term.activation, term.fused, (shape or (1,))[-1])
    for given, is_weighted in [(m, False) for m in metrics] + [(m, True) for m in weighted]:
        metric, name = resolve_metric(given, loss, shape)
        free = loss._of_tensors or metric.sparse is None
        if not free and metric.sparse != loss.sparse:
            raise ValueError(
                f"The metric {metric.name!r} reads "
                f"{'class indices' if metric.sparse else 'a row of targets per sample'}, but the "
                f"loss {loss.name!r} reads "
                f"{'class indices' if loss.sparse else 'a row of targets'}. Pass "
                f"'accuracy' to get the metric that fits."
            )
        of = getattr(metric, "loss", None)
        if isinstance(of, Loss) and not (of._of_tensors or metric._of_tensors):
            term.target.check_axis(f"The metric {metric.name!r}", of.axis)
        reading, notes = metric_inputs(metric, given, output)
        term.notes += [note for note in notes if note not in term.notes]
        names = [*taken, *(m.name for m in measures)]
        name = reported_name(term.target.label, name, is_weighted, names)
        plain = not (is_weighted or term.is_masked)
        counted = loss.counts_matches and plain and metric.of_largest
        size = 0 if counted else metric.state_size
        measures.append(Measure(name, metric, is_weighted, slice(at, at + size), counted, reading))
        at += size
    return measures
