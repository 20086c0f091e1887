"""What of loss, activation and metrics belongs together."""

from __future__ import annotations

from typing import Any

from .. import metrics as metrics_module
from ..losses import Loss


def fuse(loss: Loss, activation: Any) -> tuple[Loss, bool]:
    """The loss that the step uses, and whether it takes over the output's activation.

    Raises:
        ValueError: if loss and activation contradict each other about logits.
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
    if functor == loss.fuses:
        return loss.on_logits(), True  # type: ignore[attr-defined]
    if functor in ("Linear", "Tanh", "Relu"):
        raise ValueError(
            f"{loss.name} takes probabilities, but the model ends in {functor.lower()}. End it "
            f"with activation={loss.fuses.lower()!r}, or, if its outputs are logits, pass "
            f"{type(loss).__name__}(from_logits=True)."
        )
    return loss, False


def resolve_metric(given: Any, loss: Loss, output_shape: tuple[int, ...]) -> tuple[Any, str]:
    """The metric object for what ``compile`` was given, and the name it is reported under.

    ``"accuracy"`` becomes the accuracy that fits the loss and the output.
    """
    if given in ("accuracy", "acc") and isinstance(given, str):
        if loss.sparse:
            return metrics_module.SparseCategoricalAccuracy(), given
        if output_shape[-1] == 1:
            return metrics_module.BinaryAccuracy(), given
        return metrics_module.CategoricalAccuracy(), given
    metric = metrics_module.get(given)
    return metric, given if isinstance(given, str) else metric.name
