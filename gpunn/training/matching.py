"""Matching of losses, activations and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gpunn import losses
from gpunn import metrics as metrics_module
from gpunn.common import registry
from gpunn.common.arguments import check_number
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.names import warn
from gpunn.losses import Loss
from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert
from gpunn.ops.reductions import argmax
from gpunn.ops.shapes import squeeze
from gpunn.ops.tensor import Tensor
from gpunn.structure.graph import by_name

Named = TypeVar("Named", bound=Any)
PARTS = ("loss", "loss_weights", "metrics", "weighted_metrics")
"""The arguments of `compile` that belong to the outputs, in the order of `Compiled.of`."""


@dataclass
class Compiled:
    """The arguments of `compile` for the outputs, one entry for each output.

    Attributes:
        losses: The losses; None for an output without a loss.
        loss_weights: Factors in the sum of the losses; None if none were given.
        metrics, weighted_metrics: Lists, as given.
        joint: The losses in place of these, if there is one of several outputs together.
    """

    losses: list[Loss | None]
    loss_weights: list[float] | None
    metrics: list[list[Any]]
    weighted_metrics: list[list[Any]]
    joint: Any = None

    @classmethod
    def of(
        cls, names: Sequence[str], loss: Any, loss_weights: Any, metrics: Any,
        weighted_metrics: Any, joint: Any = None,
    ) -> Compiled:
        """Collect the arguments for outputs with these names; a single output's name is empty.

        Raises:
            ValueError: for unknown, surplus or missing entries, and for metrics without a loss.
        """
        found = cls(
            metrics=given_metrics("metrics", metrics, names),
            weighted_metrics=given_metrics("weighted_metrics", weighted_metrics, names),
            loss_weights=given_loss_weights(loss_weights, names), losses=given_losses(loss, names),
            joint=joint,
        )
        for k, name in enumerate(names if joint is None else ()):
            measured = found.metrics[k] or found.weighted_metrics[k]
            if found.losses[k] is None and measured and len(names) > 1:
                raise ValueError(
                    f"The output {name!r} has metrics but no loss, so it has no targets. "
                    f"Give it a loss, with 0 in loss_weights if it should not count."
                )
        return found

    @property
    def loss(self) -> Any:
        """The loss, or the losses of several outputs; None if no output has one."""
        if self.joint is not None:
            return self.joint.loss
        if not any(self.losses):
            return None
        return self.losses[0] if len(self.losses) == 1 else self.losses

    @property
    def measures(self) -> bool:
        """Whether there is a metric."""
        return any(self.metrics) or any(self.weighted_metrics)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `compile`, with the parts themselves."""
        joint = self.joint
        return {
            "loss": _each(self.losses) if joint is None else joint.loss,
            "loss_weights": self.loss_weights if joint is None else joint.weights,
            "metrics": _each(self.metrics),
            "weighted_metrics": _each(self.weighted_metrics),
        }

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` as JSON-serializable values."""

        def described(m: Any) -> Any:
            return m if isinstance(m, str) else registry.serialize(metrics_module.get(m))

        def named(given: list[list[Any]]) -> Any:
            return _each([list(map(described, metrics)) for metrics in given])

        return {
            "loss": _each([registry.serialize(loss) for loss in self.losses]),
            "loss_weights": self.loss_weights,
            "metrics": named(self.metrics),
            "weighted_metrics": named(self.weighted_metrics),
            **({} if self.joint is None else self.joint.get_config()),
        }


def _each(values: list[Any]) -> Any:
    return values if len(values) > 1 else values[0]


def _several(given: Any) -> bool:
    """Whether there is an entry for each output, not a single object or its config."""
    config = isinstance(given, Mapping) and set(given) == {"class_name", "config"}
    return isinstance(given, (list, tuple, Mapping)) and not config


def for_several(loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> bool:
    """Whether an argument of `compile` has an entry for each of several outputs."""
    if any(isinstance(given, (list, tuple, Mapping)) for given in (loss, loss_weights)):
        return True
    return any(
        isinstance(given, Mapping)
        or (isinstance(given, (list, tuple)) and any(e is None or _several(e) for e in given))
        for given in (metrics, weighted_metrics)
    )


def given_losses(given: Any, names: Sequence[str]) -> list[Loss | None]:
    """Return the loss of each output from the argument of `compile`.

    Raises:
        ValueError: for unknown names, too many or too few losses, and a loss without a
            reduction.
    """
    if len(names) == 1 and _several(given) and len(given) == 1:
        given = next(iter(given.values() if isinstance(given, Mapping) else given))
    each = by_name(names, given, "loss", missing=True) if _several(given) else [given] * len(names)
    alone = [e[0] if isinstance(e, (list, tuple)) and len(e) == 1 else e for e in each]
    found = [None if loss is None else losses.get(loss) for loss in alone]
    for loss in found:
        if loss is not None and loss.reduction in (None, "none"):
            raise ValueError(f"{loss.name} has reduction='none': training needs a single number.")
    return found


def given_loss_weights(given: Any, names: Sequence[str]) -> list[float] | None:
    """Return the weight of each output's loss; None if none was given.

    Raises:
        ValueError, TypeError: for too many or too few weights, or one that is not a finite number.
    """
    if given is None:
        return None
    if len(names) == 1 and not _several(given):
        given = [given]
    elif len(names) == 1 and isinstance(given, Mapping):
        given = list(given.values())
    each = by_name(names, given, "loss_weights", missing=True)
    weights = [1.0 if w is None else check_number("loss_weights", w) for w in each]
    if not all(map(math.isfinite, weights)):
        raise ValueError(f"loss_weights must be finite numbers; got {given!r}.")
    return weights


def given_metrics(argument: str, given: Any, names: Sequence[str]) -> list[list[Any]]:
    """Return the metrics of each output.

    Raises:
        ValueError: for unknown names, or too many or too few entries.
    """
    if given is None:
        return [[] for _ in names]
    if len(names) == 1:
        if isinstance(given, Mapping) and len(given) == 1:
            of_output = next(iter(given.values()))
            given = of_output if isinstance(of_output, (list, tuple)) else [of_output]
        if isinstance(given, (list, tuple)) and len(given) == 1 and isinstance(given[0], list):
            given = given[0]
        if not isinstance(given, (list, tuple)):
            raise ValueError(f"{argument} must be a list, [{given!r}]; got {given!r}.")
        each: list[Any] = [given]
    else:
        each = by_name(names, given, argument, missing=True)
    found = [
        [] if entry is None else list(entry) if isinstance(entry, (list, tuple)) else [entry]
        for entry in each
    ]
    for entries in found:
        for entry in entries:
            if entry not in ("accuracy", "acc"):
                metrics_module.get(entry)
    return found


def fuse(loss: Loss, activation: Any) -> tuple[Loss, bool]:
    """Return the loss that the step uses, and whether it is fused with the output's activation.

    Raises:
        ValueError: if the loss and the activation disagree about logits.
    """
    if loss.fuses is None:
        return loss, False
    functor = getattr(activation, "functor", None)
    if loss.from_logits:  # type: ignore[attr-defined]
        if functor == loss.fuses:
            raise ValueError(
                f"{loss.name} has from_logits=True, but the model ends in {functor.lower()}: it "
                f"gives probabilities. Leave out from_logits (the two are fused anyway), or the "
                f"last activation."
            )
        return loss, False
    if loss.fuses_with(activation):
        return loss.on_logits(), True  # type: ignore[attr-defined]
    properties = getattr(activation, "properties", None)
    if properties is not None and not (properties.range[0] >= 0 and properties.range[1] <= 1):
        name = activation.__name__
        raise ValueError(
            f"{loss.name} takes probabilities, but the model ends in {name}. End it "
            f"with activation={loss.fuses.lower()!r}, or, if its outputs are logits, pass "
            f"{type(loss).__name__}(from_logits=True)."
        )
    return loss, False


def resolve_metric(given: Any, loss: Loss, output_shape: tuple[int, ...]) -> tuple[Any, str]:
    """Return the metric object for an argument of ``compile``, and its name in reports.

    ``"accuracy"`` becomes the accuracy that fits the loss and the output.
    """
    if given in ("accuracy", "acc") and isinstance(given, str):
        if loss.sparse:
            return metrics_module.SparseCategoricalAccuracy(), given
        if output_shape[-1:] in ((), (1,)):
            return metrics_module.BinaryAccuracy(), given
        if loss._of_tensors and loss.predictions is None:  # targets of any kind
            made = metrics_module.MeanMetricWrapper(accuracy_of_any, given)
            made.build(output_shape)
            return made, given
        return metrics_module.CategoricalAccuracy(), given
    metric: Any = metrics_module.get(given)
    metric.build(output_shape)
    return metric, given if isinstance(given, str) else metric.name


def free_name(name: str, taken: Sequence[str]) -> str:
    """Return a name for reports that is not taken: with a number at its end, if need be.

    >>> free_name("auc", ["loss", "auc", "auc_1"])
    'auc_2'
    """
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def reported_name(label: str, name: str, weighted: bool, taken: Sequence[str]) -> str:
    """Return the name of an output's metric in reports, which is not taken.

    >>> reported_name("a", "mae", True, ["loss", "a_mae"])
    'a_weighted_mae'
    """
    prefix = f"{label}_" if label else ""
    repeated = weighted and prefix + name in taken
    return free_name(f"{prefix}weighted_{name}" if repeated else prefix + name, taken)


def in_reports(measures: Sequence[Named], several: bool) -> list[Named]:
    """Return metrics in the order of reports. With several outputs they are sorted by their names,
    as in Keras."""
    return sorted(measures, key=lambda m: m.name) if several else list(measures)


def loss_names(names: Iterable[str]) -> list[str]:
    """Return the names of the loss of each output in reports, where there are several."""
    return [f"{name}_loss" for name in names if name]


def labels_of(graph: Any, names: Sequence[str]) -> list[str]:
    """Return what is before the names of each output's metrics in reports: the output's key, or
    the name of its layer, which other outputs may share."""
    keyed = bool(graph.output_form.keys or graph.output_form.parts)
    return [
        name if keyed or not name else tensor.name
        for name, tensor in zip(names, graph.outputs, strict=True)
    ]


def accuracy_of_any(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Whether the largest prediction is at the true class, for class indices or target rows."""
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] > 1:
        y_true = argmax(y_true, -1)
    elif y_true.ndim == y_pred.ndim:
        y_true = squeeze(y_true, -1)
    return equal(convert(y_true, "int32"), argmax(y_pred, -1))


def warn_of_zero_gradients(layers: Iterable[Any]) -> None:
    """Warn about layers whose activation has zero gradient, if they or earlier layers train."""
    trained = False
    for layer in layers:
        trained = trained or any(p.trainable for p in layer.parameters)
        activation: Any = getattr(layer, "activation", None)
        if trained and getattr(activation, "zero_gradient", False):
            name = activation.__name__
            smooth = "tanh" if name == "sign" else "sigmoid"
            warn(
                f"The layer {layer.name!r} ends in {name}, whose derivative is 0 everywhere: "
                f"neither it nor any layer before it learns by gradient descent. Train with "
                f"{smooth!r} and replace it by {name!r} afterwards, or train a single layer "
                f"with the perceptron rule."
            )
