"""How metrics read the inputs of a loss, decided once when a model is compiled.

A loss declares which predictions and targets it takes, and a metric declares what it needs. If
they differ, the metric reads its inputs through a function, or is rejected.
"""

from __future__ import annotations

from typing import Any

from gpunn import activations
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.core.plan import Plan
from gpunn.losses import Loss


@dataclass(frozen=True)
class MetricInputs:
    """Functions applied to the inputs of a metric; None: the inputs of the loss unchanged.

    Attributes:
        predictions: Function of the loss's predictions. If the output's activation is fused with
            the loss, these are its inputs.
        targets: Function of the targets.
    """

    predictions: Any = None
    targets: Any = None


@dataclass(frozen=True)
class ModelOutput:
    """The properties of an output that determine how its metrics read it; ``fused``: whether the
    compiled loss is fused with the activation."""

    loss: Loss
    activation: Any
    fused: bool
    width: int | None  # None: any number

    @property
    def gives(self) -> str | None:
        """The kind of the predictions, as in `Loss.predictions`; None: any values."""
        properties = getattr(self.activation, "properties", None)
        if properties is not None and properties.range[0] >= 0 and properties.range[1] <= 1:
            return "probabilities"
        return self.loss.predictions if self.loss.predictions in ("logits", "scores") else None

    @property
    def independent(self) -> bool:
        """Whether several outputs are independent binary decisions, not one joint decision."""
        together = getattr(self.activation, "functor", None) == "Softmax"
        return self.width != 1 and self.loss.link == "Sigmoid" and not together


def metric_inputs(metric: Any, given: Any, output: ModelOutput) -> tuple[MetricInputs, list[str]]:
    """Return how a metric, ``given`` to ``compile`` and built for this output, reads it, and notes
    about it for the user.

    Raises:
        ValueError: for a metric that cannot measure this output.
    """
    loss, notes = output.loss, []
    if loss.sparse and metric.remedy is not None and output.width != 1:
        raise ValueError(
            f"The metric {metric.name!r} compares each of the {output.width or 'many'} outputs "
            f"with its own target, but {loss.name} reads class indices. {metric.remedy}"
        )
    if metric.predictions == "logits" and output.gives == "probabilities":
        raise ValueError(
            f"The metric {metric.name!r} has from_logits=True, but the model ends in "
            f"{output.activation.__name__}: it gives probabilities. Leave out from_logits."
        )
    predictions = output.activation if output.fused else None
    targets = None
    changes = []
    if metric.predictions == "probabilities" and output.gives in ("logits", "scores"):
        if loss.link is None:
            notes.append(
                f"The metric {metric.name!r} compares probabilities with its thresholds; with "
                f"{loss.name} it reads scores, which are not probabilities."
            )
        else:
            predictions = activations.get(loss.link.lower())
            changes.append(
                f"{loss.link.lower()}(outputs), since {loss.name} "
                + ("has from_logits=True" if output.gives == "logits" else "decides at 0")
            )
    if metric.predictions == "numbers" and output.gives:
        notes.append(
            f"The metric {metric.name!r} reads class numbers: as in Keras, it takes a prediction "
            f"of 0.9 for class 0. Use BinaryIoU for a sigmoid, and sparse_y_pred=False for one "
            f"output for each class."
        )
    if metric.targets == "bits" and loss.targets == "signs":
        targets = activations.relu
        changes.append("targets of 0 instead of -1")
    if changes:
        notes.append(
            f"The metric {metric.name!r} reads {', and '.join(changes)}. Keras passes it the "
            f"values unchanged, so its result differs there."
        )
    if given in ("accuracy", "acc") and isinstance(given, str) and output.independent:
        notes.append(
            f"{given!r} of {output.width or 'many'} outputs that {loss.name} treats separately is "
            f"the share of rows whose largest output is at the largest target, as in Keras. Use "
            f"'binary_accuracy' for the share of correct outputs."
        )
    return MetricInputs(predictions, targets), notes


def constant_outputs(plan: Plan) -> list[str]:
    """Return notes about layers whose output is always 1."""
    return [
        f"The layer {node.name!r} applies softmax to a single output: the result is always 1, and "
        f"the layer cannot learn. Did you mean activation='sigmoid'?"
        for node in plan.nodes
        if node.output_shape[-1:] == (1,)
        and getattr(getattr(node.layer, "activation", None), "functor", None) == "Softmax"
    ]
