"""What `fit` records about its data in ``model.trained_on``, to prepare other data alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.feeding.arrays import value_range
from gpunn.feeding.batches import Batches
from gpunn.feeding.rows import Rows

from .trainer import Trainer

RECORDED = ("range", "prepared", "scale", "unsure_below", "validated_on")  # by `fit`
SOME = 256  # rows looked at
HELD_OUT = 5000  # maximum rows that are predicted for `doubt`


def record_data(model: Any, trainer: Trainer, x: Any, rows: Rows | Batches) -> None:
    """Record the range of the input, and how pictures in the form of MNIST's digits were scaled.

    It replaces what an earlier `fit` recorded. Only some rows are read, of batches only the
    first. ``x`` is the input as the user passed it.
    """
    some = _some_rows(trainer, x, rows)
    found: dict[str, Any] = {}
    if some is not None and (limits := value_range(some)):
        found["range"] = limits
        scale = None
        if math.prod(some.shape[1:]) == 28 * 28:
            from gpunn.feeding import mnist_form  # which only such rows may have

            scale = mnist_form.scale_of(some)
        if scale is not None:
            found |= {"prepared": "mnist", "scale": scale}
    kept = {name: fact for name, fact in model.trained_on.items() if name not in RECORDED}
    if model.trained_on.get("prepared", "mnist") != "mnist":  # of a folder of pictures
        found = {"prepared": model.trained_on["prepared"], **found}
    if {**found, **kept} != model.trained_on:  # setting an attribute takes time
        model.trained_on = {**found, **kept}


def _some_rows(trainer: Trainer, x: Any, rows: Rows | Batches) -> np.ndarray | None:
    """Return some evenly spaced rows of a single input of numbers, else None."""
    if type(x) in (np.ndarray, np.memmap):
        return x[:: -(-len(x) // SOME) or 1] if x.dtype.kind in "biuf" else None
    spec = trainer.spec
    if spec is None or spec.host is not None or len(spec.given) != 1:
        return None
    found = rows if isinstance(rows, Rows) else rows.first()
    return found.read(trainer.backend, "x", SOME)


def record_doubt(model: Any, trainer: Trainer, validation: Rows | Batches) -> None:
    """Record below which probability a classifier of MNIST's digits is unsure, from held-out rows.

    Only `gpunn predict` and the pages for drawings use it, so it is not computed for other data.
    """
    if not isinstance(validation, Rows) or model.trained_on.get("prepared") != "mnist":
        return
    if "x_1" in validation.arrays or "y_1" in validation.arrays or "y" not in validation.arrays:
        return
    x, y = (validation.read(trainer.backend, name, HELD_OUT) for name in "xy")
    outputs = model.predict(x, verbose=0)
    if not are_probabilities(outputs):
        return
    labels = y.reshape(-1) if y.size == len(y) else y.argmax(axis=-1)
    if labels.shape == (len(outputs),):
        model.trained_on = {**model.trained_on, **doubt(outputs, labels)}


def are_probabilities(outputs: Any) -> bool:
    """Whether a model's outputs are probabilities of two or more classes, in rows.

    >>> are_probabilities(np.array([[0.9, 0.1]])), are_probabilities(np.array([[2.0, -1.0]]))
    (True, False)
    """
    if getattr(outputs, "ndim", 0) != 2 or outputs.shape[1] < 2 or outputs.min() < 0:
        return False
    return bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def doubt(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the probability below which a prediction is unsure, from those (rows, classes) and the
    true classes (rows,) of held-out rows.

    It is the median of the largest probabilities of wrong predictions: half of the mistakes are
    below it. Without mistakes it is 0.5.

    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    >>> doubt(p, np.array([0, 1, 1, 0]))
    {'unsure_below': 0.6, 'validated_on': 4}
    """
    wrong = probabilities.argmax(axis=1) != labels
    below = float(np.median(probabilities[wrong].max(axis=1))) if wrong.any() else 0.5
    return {"unsure_below": below, "validated_on": len(labels)}
