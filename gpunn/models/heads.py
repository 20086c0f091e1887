"""The outputs of a model that have a loss: what each is compared with and measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import metrics as metrics_module
from ..losses import Loss
from ..plan import Plan
from ..workspace import Pool, Workspace
from .data import Spec, Target
from .matching import fuse, resolve_metric

LOSS_TOTALS = 3  # sum of losses, rows, rows that are right


@dataclass
class Measure:
    """A metric of the model and where its state lies in the totals."""

    name: str
    metric: Any
    weighted: bool
    at: slice
    counted_by_loss: bool


@dataclass
class Head:
    """An output with its loss and metrics.

    Attributes:
        number: of the output.
        target: what it is compared with.
        loss: as the step uses it.
        fused: whether that takes over the output's activation.
        activation: of the output.
        weight: of its loss in the sum of all.
        at: where its sums begin in the totals.
        measures: its metrics.
    """

    number: int
    target: Target
    loss: Loss
    fused: bool
    activation: Any
    weight: float
    at: int
    measures: list[Measure]

    @property
    def end(self) -> int:
        """Where its sums end in the totals."""
        return self.measures[-1].at.stop if self.measures else self.at + LOSS_TOTALS


class Answers:
    """What the loss of one output is given, in one batch size."""

    def __init__(self, head: Head, workspace: Workspace, pool: Pool, dtype: str) -> None:
        target, size, k = head.target, workspace.batch, head.number
        self.rows = size * target.rows_per_sample
        shape = (size, *target.target_shape)
        self.y = pool.array(f"targets {k}", shape, target.target_dtype(dtype))
        each = target.rows_per_sample
        self.weights = pool.array(f"weights {k}", (size,) if each == 1 else (size, each), dtype)
        width = target.output_shape[-1]
        self.y_pred = workspace.ys[k].reshape(-1, width)
        self.y_true = self.y.reshape(-1) if head.loss.sparse else self.y.reshape(-1, width)
        self.gradient = workspace.dys[k].reshape(-1, width) if workspace.dys else None
        self.probabilities = self.y_pred
        if head.fused and any(not m.counted_by_loss for m in head.measures):
            self.probabilities = pool.array(f"probabilities {k}", self.y_pred.shape, dtype)


def make_heads(
    plan: Plan,
    spec: Spec,
    metrics: Sequence[list[Any]],
    weighted_metrics: Sequence[list[Any]],
    loss_weights: Sequence[float] | None = None,
) -> list[Head]:
    """The heads of a model: of each output that has a loss.

    Args:
        plan: of the model.
        spec: whose targets hold the losses.
        metrics, weighted_metrics: as compiled, a list for each output.
        loss_weights: of each output; 1 by default.

    Raises:
        ValueError: if loss, activation and metrics do not belong together.
    """
    heads: list[Head] = []
    taken = ["loss", *(f"{t.name}_loss" for t in spec.targets if t.name)]
    for k, target in enumerate(spec.targets):
        if target.loss is None:
            continue
        node = plan.outputs[k]
        activation = plan.activation(node)
        loss, fused = fuse(target.loss, activation)
        if fused and len(plan.readers(node)) > 1:  # somebody else reads what it gives
            loss, fused = target.loss, False
        at = heads[-1].end if heads else 0
        weight = 1.0 if loss_weights is None else loss_weights[k]
        head = Head(k, target, loss, fused, activation, weight, at, [])
        head.measures = _measures(head, metrics[k], weighted_metrics[k], taken)
        taken += [measure.name for measure in head.measures]
        heads.append(head)
    return heads


def _measures(
    head: Head, metrics: list[Any], weighted: list[Any], taken: list[str]
) -> list[Measure]:
    measures: list[Measure] = []
    loss, at = head.loss, head.at + LOSS_TOTALS
    prefix = f"{head.target.name}_" if head.target.name else ""
    for given, is_weighted in [(m, False) for m in metrics] + [(m, True) for m in weighted]:
        metric, name = resolve_metric(given, loss, head.target.output_shape)
        if metric.sparse is not None and metric.sparse != loss.sparse:
            raise ValueError(
                f"The metric {metric.name!r} reads "
                f"{'class numbers' if metric.sparse else 'a row of targets a sample'}, the "
                f"loss {loss.name!r} "
                f"{'class numbers' if loss.sparse else 'a row of targets'}; name the "
                f"metric 'accuracy' to get the one that fits."
            )
        names = [*taken, *(m.name for m in measures)]
        if prefix + name in names and is_weighted:
            name = f"weighted_{name}"
        name = prefix + name
        base, number = name, 1
        while name in names:
            name, number = f"{base}_{number}", number + 1
        counted = (
            loss.counts_matches
            and not is_weighted
            and type(metric)
            in (metrics_module.CategoricalAccuracy, metrics_module.SparseCategoricalAccuracy)
        )
        size = 0 if counted else metric.state_size
        measures.append(Measure(name, metric, is_weighted, slice(at, at + size), counted))
        at += size
    return measures
