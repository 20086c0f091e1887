"""A model's description of its training data, and its use for other data.

It is part of the model file (`docs/file-format.md`) and is checked when the file is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.names import significant
from gpunn.common.stored import FieldSchema, Integer, Number, Several, Text

KEPT: dict[str, FieldSchema] = {
    "range": Several(Number(finite=True), 2),
    "data": Text(),
    "prepared": Text(),  # "mnist" or "scaled"
    "classes": Several(Text()),
    "unsure_below": Number(0, finite=True),
    "validated_on": Integer(),
}


def known(model: Any) -> dict[str, Any]:
    """Return the entries of ``model.trained_on`` that are declared here.

    Raises:
        ValueError: if an entry is invalid.
    """
    found = model.trained_on
    return {
        name: kept.check(found[name], f"trained_on/{name}")
        for name, kept in KEPT.items()
        if name in found
    }


def doubt(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the probability below which a prediction is unsure, from held-out rows.

    It is the median of the largest probabilities of wrong predictions: half of the mistakes are
    below it. Without mistakes it is 0.5.

    Args:
        probabilities: (rows, classes).
        labels: (rows,), the true classes.

    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    >>> doubt(p, np.array([0, 1, 1, 0]))
    {'unsure_below': 0.6, 'validated_on': 4}
    """
    wrong = probabilities.argmax(axis=1) != labels
    below = float(np.median(probabilities[wrong].max(axis=1))) if wrong.any() else 0.5
    return {"unsure_below": below, "validated_on": len(labels)}


def doubt_note(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Return a sentence about the result of `doubt` for the same rows."""
    below = doubt(probabilities, labels)["unsure_below"]
    right = (probabilities.argmax(axis=1) == labels).all()
    share = float((probabilities.max(axis=1) < below).mean())
    because = "none of which was misclassified" if right else "including half of the mistakes"
    return (
        f"Predictions with a probability below {below:.4f} are called unsure: {share:.1%} of the "
        f"{len(probabilities):,} held-out rows, {because}"
    )


def strange_range(found: tuple[float, float], trained: list[float] | None) -> str:
    """Describe a range of values that differs from that of training; empty if it does not.

    >>> strange_range((0, 255), [0.0, 1.0])
    'values from 0 to 255, but the model was trained on values from 0 to 1'
    >>> strange_range((0, 0.9), [0.0, 1.0])
    ''
    """
    if trained is None:
        return ""
    span = trained[1] - trained[0]
    beyond = max(trained[0] - found[0], found[1] - trained[1]) > span / 2
    narrow = 0 < found[1] - found[0] < span / 20
    if not beyond and not narrow:
        return ""
    return (
        f"values from {significant(found[0], 6)} to {significant(found[1], 6)}, but the model was "
        f"trained on values from {significant(trained[0], 6)} to {significant(trained[1], 6)}"
    )


def scaled(pixels: np.ndarray, trained: list[float] | None) -> tuple[np.ndarray, list[str]]:
    """Scale an image's bytes to 0 to 1, or to -1 to 1, if the model was trained on such values.

    >>> scaled(np.array([[0, 255]], np.uint8), [0.0, 1.0])[0].tolist()
    [[0.0, 1.0]]
    """
    for low in (0.0, -1.0):
        if trained is not None and abs(trained[0] - low) < 0.1 and 0.5 < trained[1] <= 1.0:
            numbers = pixels.astype(np.float32) * ((1 - low) / 255) + low
            return numbers, [f"scaled to values from {low:g} to 1, as in training"]
    return pixels, []
