"""The objective of a compiled model: its losses, metrics and penalties."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import InitVar, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from gpunn import activations
from gpunn import metrics as metrics_module
from gpunn.backends.contract.backend import Backend
from gpunn.backends.shared.precision import usable
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.overrides import replaces
from gpunn.core.plan import KEPT_SHAPES, Plan
from gpunn.core.storage import ParameterStorage
from gpunn.feeding.rows import Rows, name_of
from gpunn.feeding.spec import Resolve, Spec
from gpunn.optimizers import Optimizer

from .loss_terms import LossTerm, Measure, make_terms
from .matching import Compiled, in_reports
from .progress import Progress


@dataclass(eq=False)
class Objective:
    """The losses, metrics and optimizer of a plan whose parameters are in a parameter storage.

    Args:
        spec: Shapes and dtype of the data; its targets hold the losses.
        compiled: The metrics of each output, and the weights of their losses in the sum.
        progress: Has the key of the shuffled order and of the random streams.
        precision: Requested precision of matrix products, see `usable`.
        holds: Returns the metrics that the model and its layers hold.

    Attributes:
        terms: The outputs that have a loss; empty if only layers add losses.
        replaced: By node number, the activation used instead of the node's own: linear if it
            is fused with the loss.
        separate_total: Whether the loss is a sum of several losses, or weighted. The totals then
            end with the sum of the penalties on weights and the sum that shows a bad batch.
        layer_metrics: These metrics. Calls of layers update them.
        rows_at: Position of the number of rows in the totals.
        zeros: Initial values of the totals.
        resolve: Returns the spec for given shapes; None if all axes are known.
        version: Changes when programs are no longer valid.
        traceable: Whether all layers and formulas are built-in, see `Backend.program`.
        launch_modes: The launch modes of its steps so far, see `Backend.program`.
    """

    plan: Plan
    storage: ParameterStorage
    spec: Spec
    optimizer: Optimizer | None
    compiled: InitVar[Compiled]
    progress: Progress
    precision: str | None = None
    holds: Callable[[], list[Any]] = list

    traceable = False
    version = 0

    def __post_init__(self, compiled: Compiled) -> None:
        self.backend: Backend = self.storage.backend
        self.launch_modes: dict[str, str] = {}
        self.precision = usable(self.precision, self.backend, self.spec.dtype)
        self.losses = [target.loss for target in self.spec.targets]
        metrics = _made(compiled.metrics), _made(compiled.weighted_metrics)
        self._measured = *metrics, compiled.loss_weights
        self._resolved = lru_cache(KEPT_SHAPES)(self._resolve)
        self.resolve: Resolve | None = self._spec_of if self.plan.unknown else None
        self._match()

    @property
    def seed(self) -> int:
        """Key of the shuffled order and of the random streams."""
        return self.progress.seed

    def for_rows(self, rows: Rows) -> Objective:
        """Return the objective for the shapes of these rows, see `of`."""
        if not self.plan.unknown:
            return self
        names = (name_of("x", k) for k in range(len(self.plan.input_shapes)))
        return self.of(tuple(tuple(rows.arrays[name].shape[1:]) for name in names))

    def of(self, shapes: tuple[tuple[int, ...], ...]) -> Objective:
        """Return the objective for samples of these shapes, one for each input: itself, unless axes
        may have any length."""
        return self._resolved(shapes) if self.plan.unknown else self

    def _spec_of(self, shapes: tuple[tuple[int, ...], ...]) -> Spec:
        return self.of(shapes).spec

    def _resolve(self, shapes: tuple[tuple[int, ...], ...]) -> Objective:
        """Return an objective for samples of these shapes, with the same storage and optimizer."""
        made, spec = copy.copy(self), self.spec
        made.plan = plan = self.plan.of(shapes)
        inputs = tuple((name, shape) for (name, _), shape in zip(spec.inputs, shapes, strict=True))
        targets = tuple(
            replace(target, output_shape=shape, varies=None in target.output_shape[:-1])
            for target, shape in zip(spec.targets, plan.output_shapes, strict=True)
        )
        made.spec = replace(spec, inputs=inputs, targets=targets)
        made.resolve = None
        made.losses = list(map(_apart, self.losses))
        metrics, weighted, loss_weights = self._measured
        of = [[list(map(_apart, each)) for each in given] for given in (metrics, weighted)]
        made._measured = of[0], of[1], loss_weights
        made._match()
        return made

    def _match(self) -> None:
        """Determine how losses and metrics read the outputs; called again if a part changes.

        Raises:
            ValueError: if they do not match, or if the layout of the sums has changed.
        """
        targets = [
            replace(target, loss=loss)
            for target, loss in zip(self.spec.targets, self.losses, strict=True)
        ]
        spec = replace(self.spec, targets=tuple(targets))
        terms = make_terms(self.plan, spec, *self._measured)
        self._check_sums(terms)
        self.terms = terms
        used = {term.number: term.loss for term in terms}
        shown = {h.number for h in terms if any(m.metric._of_tensors for m in h.measures)}
        targets = [replace(t, loss=used.get(k), exact=k in shown) for k, t in enumerate(targets)]
        self.spec = replace(spec, targets=tuple(targets))
        outputs = self.plan.outputs
        self.replaced = {outputs[h.number]: activations.linear for h in terms if h.fused}
        self.separate_total = len(terms) != 1 or terms[0].weight != 1.0
        self.rows_at = terms[0].at + 1 if terms else 0
        end = terms[-1].end if terms else 1
        self.zeros = np.zeros(end + 2 * self.separate_total)
        metrics = [m.metric for term in terms for m in term.measures]
        self.layer_metrics = self.holds()
        self.own_resets = [m.reset_state for m in metrics if replaces(type(m), "reset_state")]
        self.own_resets += [metric.reset_state for metric in self.layer_metrics]
        self.formulas: list[Any] = [
            *used.values(), self.optimizer, *metrics, *self.layer_metrics, *self.plan.formulas
        ]
        vars(self).pop("measures", None)

    def _check_sums(self, terms: Sequence[LossTerm]) -> None:
        """Reject terms whose sums are at other positions than the existing ones."""
        before = getattr(self, "terms", terms)
        for term, known in zip(terms, before, strict=True):
            for measure, same in zip(term.measures, known.measures, strict=True):
                if measure.at != same.at:
                    raise ValueError(
                        f"The metric {measure.name!r} was changed: it needs a different number of "
                        f"sums than the compiled metric. Call compile again."
                    )

    @property
    def loss_scale(self) -> float:
        """The factor on gradients between the losses and the weights."""
        return (self.optimizer.loss_scale_factor if self.optimizer else None) or 1.0

    @cached_property
    def measures(self) -> list[Measure]:
        """The metrics of all outputs, in the order in which they are reported."""
        measures = [measure for term in self.terms for measure in term.measures]
        several = len(self.spec.targets) > 1  # Keras sorts them in this case
        return in_reports(measures, several)

    def logs_of(self, totals: np.ndarray) -> dict[str, float]:
        """Compute losses and metrics from these sums."""
        sums = totals.tolist()

        def mean(place: int, term: LossTerm) -> float:
            rows: float = sums[term.at + 1]
            return sums[term.at + place] / rows if rows else 0.0

        losses = [mean(0, term) for term in self.terms]
        if self.separate_total:
            weights = [term.weight for term in self.terms]
            penalty = sums[-2] / rows if (rows := sums[self.rows_at]) else 0.0
            result = {
                "loss": penalty + sum(w * loss for w, loss in zip(weights, losses, strict=True))
            }
        else:
            result = {"loss": losses[0]}
        if len(losses) > 1:  # unweighted, as in Keras
            for term, loss in zip(self.terms, losses, strict=True):
                result[f"{term.target.name}_loss"] = loss
        values = {
            measure.name: mean(2, term)
            if measure.counted_by_loss
            else measure.metric.compute(totals[measure.at])
            for term in self.terms
            for measure in term.measures
        }
        for measure in self.measures:
            result[measure.name] = values[measure.name]
        return result

    @property
    def log_names(self) -> list[str]:
        """The names in the logs, in order."""
        measured = (measure.name for measure in self.measures)
        others = (metric.name for metric in self.layer_metrics)
        return [*dict.fromkeys([*self.loss_names, *measured, *others])]

    @property
    def loss_names(self) -> list[str]:
        """The names of the loss, and of the losses of several outputs."""
        several = [f"{term.target.name}_loss" for term in self.terms] if len(self.terms) > 1 else []
        return ["loss", *several]


def _apart(part: Any) -> Any:
    """Return a copy of a custom loss or metric, which keeps the shapes that it is traced for."""
    if not getattr(part, "_of_tensors", False):
        return part
    made = copy.copy(part)
    for name in ("on_arrays", "_of_samples", "_of_steps"):  # these refer to the original
        vars(made).pop(name, None)
    return made


def _made(metrics: Sequence[list[Any]]) -> list[list[Any]]:
    """Return the compiled metrics of each output; configurations and functions become metric
    objects, which stay the same."""
    return [[m if isinstance(m, str) else metrics_module.get(m) for m in each] for each in metrics]
