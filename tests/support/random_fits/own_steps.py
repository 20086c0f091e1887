"""gpunn with models that define their own steps, each doing what `fit` does."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunn
from gpunn import ops


class _TrainStep:
    """Keras's guide, with the weights of rows."""

    def train_step(self: Any, data: Any) -> Any:
        x, y, weight = (*data, None)[:3]
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, weight)
            scaled = loss * (self.optimizer.loss_scale_factor or 1.0)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.shape(y)[0])
        return {**self.compute_metrics(x, y, y_pred, weight)}


class _AroundTrainStep:
    def train_step(self: Any, data: Any) -> Any:
        return super().train_step(data)  # type: ignore[misc]


class _InPython:
    def train_step(self: Any, data: Any) -> Any:
        found = super().train_step(data)  # type: ignore[misc]
        assert np.isfinite(float(found["loss"]))
        return found


class _TestStep:
    def test_step(self: Any, data: Any) -> Any:
        return super().test_step(data)  # type: ignore[misc]

    def predict_step(self: Any, data: Any) -> Any:
        return super().predict_step(data)  # type: ignore[misc]


class _AllSteps(_TrainStep, _TestStep):
    pass


class _ComputeLoss:
    def compute_loss(
        self: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight)  # type: ignore[misc]


class _ComputeMetrics:
    def compute_metrics(self: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, sample_weight)  # type: ignore[misc]


KINDS: dict[str, type] = {
    "train_step": _TrainStep,
    "around train_step": _AroundTrainStep,
    "train_step in Python": _InPython,
    "test_step": _TestStep,
    "all steps": _AllSteps,
    "compute_loss": _ComputeLoss,
    "compute_metrics": _ComputeMetrics,
}


class WithSteps:
    """gpunn, but that `Model` and `Sequential` are classes with steps of their own."""

    def __init__(self, steps: type) -> None:
        self.Model = type("Model", (steps, gpunn.Model), {})
        self.Sequential = type("Sequential", (steps, gpunn.Sequential), {})

    def __getattr__(self, name: str) -> Any:
        return getattr(gpunn, name)


def noting(into: list[Any]) -> WithSteps:
    """gpunn with models that note the batches of each training step, in the order used."""

    class Noting(_AroundTrainStep):
        def train_step(self: Any, data: Any) -> Any:
            into.append([[np.array(a) for a in _flat(part)] for part in data])
            return super().train_step(data)

    return WithSteps(Noting)


def _flat(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [*part.values()]
    return [*part] if isinstance(part, (list, tuple)) else [part]
