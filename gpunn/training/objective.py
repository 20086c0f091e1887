"""What a step of a compiled model computes: its losses, metrics and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gpunn import activations
from gpunn import metrics as metrics_module
from gpunn.backends.contract.backend import Backend
from gpunn.backends.shared.precision import usable
from gpunn.common.overrides import replaces
from gpunn.core.arena import Arena
from gpunn.core.plan import Plan
from gpunn.feeding.spec import Spec
from gpunn.optimizers import Optimizer

from .heads import Head, Measure, make_heads


@dataclass(eq=False)
class Objective:
    """The losses, metrics and optimizer of a plan whose parameters lie in an arena.

    Args:
        plan: the layers in their order.
        arena: their parameters.
        spec: shapes and dtype of the data; its targets hold the losses.
        optimizer: as compiled.
        metrics, weighted_metrics: as compiled, a list for each output.
        seed: key of the shuffled order and of the random streams.
        precision: asked for in products, see `usable`.
        loss_weights: of each output's loss in the sum of all; 1 by default.

    Attributes:
        heads: the outputs that have a loss; none where only layers add losses.
        replaced: by number of a node, the activation in place of its own: linear where the
            loss is fused with it.
        separate_total: whether the loss is another than that of one head: then the totals end
            with the sum of the penalties on weights, and with the sum that shows a bad batch.
        rows_at: where the number of rows is in the totals.
        zeros: what the totals begin with.
        version: another number than before as soon as programs are no longer valid.
        traceable: whether all layers and formulas are the framework's own, see
            `Backend.program`.
    """

    plan: Plan
    arena: Arena
    spec: Spec
    optimizer: Optimizer | None
    metrics: InitVar[Sequence[list[Any]]]
    weighted_metrics: InitVar[Sequence[list[Any]]]
    seed: int
    precision: str | None = None
    loss_weights: InitVar[Sequence[float] | None] = None

    traceable = False
    version = 0

    def __post_init__(
        self,
        metrics: Sequence[list[Any]],
        weighted_metrics: Sequence[list[Any]],
        loss_weights: Sequence[float] | None,
    ) -> None:
        self.backend: Backend = self.arena.backend
        self.precision = usable(self.precision, self.backend, self.spec.dtype)
        self.losses = [target.loss for target in self.spec.targets]
        self._measured = _made(metrics), _made(weighted_metrics), loss_weights
        self._match()

    def _match(self) -> None:
        """Find out how losses and metrics read the outputs. Again where a part has changed.

        Raises:
            ValueError: if they do not belong together, or if what is summed up has changed.
        """
        targets = [
            replace(target, loss=loss)
            for target, loss in zip(self.spec.targets, self.losses, strict=True)
        ]
        spec = replace(self.spec, targets=tuple(targets))
        heads = make_heads(self.plan, spec, *self._measured)
        self._check_sums(heads)
        self.heads = heads
        used = {head.number: head.loss for head in heads}
        shown = {h.number for h in heads if any(m.metric.has_call for m in h.measures)}
        targets = [
            replace(t, loss=used.get(k), exact=k in shown) for k, t in enumerate(targets)
        ]
        self.spec = replace(spec, targets=tuple(targets))
        outputs = self.plan.outputs
        self.replaced = {outputs[h.number]: activations.linear for h in heads if h.fused}
        self.separate_total = len(heads) != 1 or heads[0].weight != 1.0
        self.rows_at = heads[0].at + 1 if heads else 0
        end = heads[-1].end if heads else 1
        self.zeros = np.zeros(end + 2 * self.separate_total)
        metrics = [m.metric for head in heads for m in head.measures]
        self.own_resets = [m.reset_state for m in metrics if replaces(type(m), "reset_state")]
        self.formulas: list[Any] = [
            *used.values(), self.optimizer, *metrics, *self.plan.formulas
        ]  # fmt: skip
        vars(self).pop("measures", None)

    def _check_sums(self, heads: Sequence[Head]) -> None:
        """Refuse heads whose sums lie elsewhere than those that there are."""
        before = getattr(self, "heads", heads)
        for head, known in zip(heads, before, strict=True):
            for measure, same in zip(head.measures, known.measures, strict=True):
                if measure.at != same.at:
                    raise ValueError(
                        f"The metric {measure.name!r} was changed: it needs another number of "
                        f"sums than the one that was compiled. Call compile again."
                    )

    @property
    def loss_scale(self) -> float:
        """What gradients are multiplied by between the losses and the weights."""
        return (self.optimizer.loss_scale_factor if self.optimizer else None) or 1.0

    @cached_property
    def measures(self) -> list[Measure]:
        """The metrics of all outputs, in the order in which they are reported."""
        measures = [measure for head in self.heads for measure in head.measures]
        several = len(self.spec.targets) > 1  # Keras sorts them then
        return sorted(measures, key=lambda m: m.name) if several else measures

    def logs_of(self, totals: np.ndarray) -> dict[str, float]:
        """Losses and metrics of these sums."""
        sums = totals.tolist()

        def mean(place: int, head: Head) -> float:
            rows: float = sums[head.at + 1]
            return sums[head.at + place] / rows if rows else 0.0

        losses = [mean(0, head) for head in self.heads]
        if self.separate_total:
            weights = [head.weight for head in self.heads]
            penalty = sums[-2] / rows if (rows := sums[self.rows_at]) else 0.0
            result = {
                "loss": penalty + sum(w * loss for w, loss in zip(weights, losses, strict=True))
            }
        else:
            result = {"loss": losses[0]}
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
        """The names in `logs_of`, in their order."""
        several = [f"{head.target.name}_loss" for head in self.heads] if len(self.heads) > 1 else []
        return ["loss", *several, *(measure.name for measure in self.measures)]


def _made(metrics: Sequence[list[Any]]) -> list[list[Any]]:
    """Metrics as they were compiled, of each output, but for configurations and functions: of
    these a metric is made, which stays the same."""
    return [[m if isinstance(m, str) else metrics_module.get(m) for m in each] for each in metrics]
