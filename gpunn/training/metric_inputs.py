"""How metrics read what a loss is given: compared once, when a model is compiled.

A loss says what predictions and targets it takes, a metric what it needs. Where the two differ
the metric reads them through a function, or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpunn import activations
from gpunn.core.plan import Plan
from gpunn.losses import Loss


@dataclass(frozen=True)
class MetricInputs:
    """The functions through which a metric reads; None: as they are given to the loss.

    Attributes:
        predictions: of what the loss is given, which is what comes before the output's
            activation where the two are fused.
        targets: of the targets.
    """

    predictions: Any = None
    targets: Any = None


@dataclass(frozen=True)
class ModelOutput:
    """What the readings of an output's metrics follow from.

    Attributes:
        loss: as compiled.
        activation: of the output, or None.
        fused: whether the loss takes over that activation.
        width: of a prediction.
    """

    loss: Loss
    activation: Any
    fused: bool
    width: int

    @property
    def gives(self) -> str | None:
        """What the predictions are, in the words of `Loss.predictions`; None: any numbers."""
        properties = getattr(self.activation, "properties", None)
        if properties is not None and properties.range[0] >= 0 and properties.range[1] <= 1:
            return "probabilities"
        return self.loss.predictions if self.loss.predictions in ("logits", "scores") else None

    @property
    def independent(self) -> bool:
        """Whether several outputs answer a question each, not one question together."""
        together = getattr(self.activation, "functor", None) == "Softmax"
        return self.width > 1 and self.loss.link == "Sigmoid" and not together


def metric_inputs(metric: Any, given: Any, output: ModelOutput) -> tuple[MetricInputs, list[str]]:
    """How a metric reads an output, and what there is to be said of it.

    Args:
        metric: built for the output.
        given: what ``compile`` was given for it.
        output: that it measures.

    Raises:
        ValueError: for a metric that cannot tell anything of this output.
    """
    loss, notes = output.loss, []
    if loss.sparse and metric.remedy is not None and output.width > 1:
        raise ValueError(
            f"The metric {metric.name!r} compares each of the {output.width} outputs with a "
            f"target of its own, but {loss.name} reads class numbers. {metric.remedy}"
        )
    if metric.predictions == "logits" and output.gives == "probabilities":
        raise ValueError(
            f"The metric {metric.name!r} has from_logits=True, but the model ends in "
            f"{output.activation.__name__}: it gives probabilities. Leave out from_logits."
        )
    predictions = output.activation if output.fused else None
    targets = None
    said = []
    if metric.predictions == "probabilities" and output.gives in ("logits", "scores"):
        if loss.link is None:
            notes.append(
                f"The metric {metric.name!r} compares probabilities with its thresholds; beside "
                f"{loss.name} it reads scores, which are none."
            )
        else:
            predictions = activations.get(loss.link.lower())
            said.append(
                f"{loss.link.lower()}(outputs), since {loss.name} "
                + ("has from_logits=True" if output.gives == "logits" else "decides at 0")
            )
    if metric.targets == "bits" and loss.targets == "signs":
        targets = activations.relu
        said.append("targets of 0 in place of -1")
    if said:
        notes.append(
            f"The metric {metric.name!r} reads {', and '.join(said)}. Keras gives it the numbers "
            f"as they are, so that its value there is another."
        )
    if given in ("accuracy", "acc") and isinstance(given, str) and output.independent:
        notes.append(
            f"{given!r} of {output.width} outputs that {loss.name} treats one by one is the share "
            f"of rows whose largest output is at the largest target, as in Keras. Name "
            f"'binary_accuracy' for the share of outputs that are right."
        )
    return MetricInputs(predictions, targets), notes


def constant_outputs(plan: Plan) -> list[str]:
    """What there is to be said of layers that give 1 whatever they are given."""
    return [
        f"The layer {node.name!r} takes a softmax over one output: that is 1 whatever comes, and "
        f"nothing is learned by it. Did you mean activation='sigmoid'?"
        for node in plan.nodes
        if node.output_shape[-1:] == (1,)
        and getattr(getattr(node.layer, "activation", None), "functor", None) == "Softmax"
    ]
