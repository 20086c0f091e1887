"""Metrics that models and layers hold as attributes, and their values in the logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.common.nested import found_in
from gpunn.common.registry import Entry
from gpunn.distribution.communicator import ALONE, Communicator


def metrics_of_layer(layer: Any) -> list[Any]:
    """Return the metrics that a layer and those inside it hold, at any depth."""
    return _once(m for holder in layer._with_layers_inside() for m in _tracked_by(holder))


def metrics_of_layers(model: Any, layers: Iterable[Any]) -> list[Any]:
    """Return the metrics that a model and its layers hold, in Keras's order.

    As in Keras, a model among the layers is passed over, but not the layers in it. These come in
    the reverse order.

    Args:
        model: None if it holds none.
        layers: Its layers, without those inside them.
    """
    found = [] if model is None else _tracked_by(model)
    waiting = deque(layers)
    while waiting:
        layer = waiting.popleft()
        if not hasattr(layer, "_training"):
            found += metrics_of_layer(layer)
        waiting.extendleft(getattr(layer, "_layers_inside", ()))
    return _once(found)


def logs_of(metrics: Sequence[Any], ranks: Communicator = ALONE) -> dict[str, float]:
    """Return the values of metrics by their names, of the rows of all ranks, which all call this.
    As in Keras, the last one of several with the same name counts."""
    found: dict[str, Any] = {}
    for metric in metrics:
        value = metric.result() if ranks.size == 1 else _of_all(metric, ranks)
        found.update(value if isinstance(value, Mapping) else {metric.name: value})
    return {name: float(np.mean(np.asarray(value, np.float64))) for name, value in found.items()}


def _of_all(metric: Any, ranks: Communicator) -> Any:
    sums = metric._sums()
    ranks.sum(sums)
    return metric._value(sums)


def _tracked_by(holder: Any) -> list[Any]:
    return [part for part in found_in(vars(holder), Entry) if part._kind == "metric"]


def _once(metrics: Iterable[Any]) -> list[Any]:
    """Return each of the metrics once: two may be equal, so these are compared by identity."""
    return list({id(metric): metric for metric in metrics}.values())
