"""What a model says of the data it was trained on, and what follows for other data.

It stands in the model file (`docs/file-format.md`) and is checked when it is read, as all of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    """The entries of ``model.trained_on`` that are declared here.

    Raises:
        ValueError: if one is not what it should be.
    """
    found = model.trained_on
    return {
        name: kept.check(found[name], f"trained_on/{name}")
        for name, kept in KEPT.items()
        if name in found
    }


def doubt(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The probability below which an answer is unsure, by rows that were held out.

    It is the median of the largest probabilities where the answer was wrong: half of the mistakes
    are below it. Without a mistake it is 0.5.

    Args:
        probabilities: (rows, classes).
        labels: (rows,), the right classes.

    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    >>> doubt(p, np.array([0, 1, 1, 0]))
    {'unsure_below': 0.6, 'validated_on': 4}
    """
    wrong = probabilities.argmax(axis=1) != labels
    below = float(np.median(probabilities[wrong].max(axis=1))) if wrong.any() else 0.5
    return {"unsure_below": below, "validated_on": len(labels)}


def said_of_doubt(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """The sentence about `doubt`, for the same rows."""
    below = doubt(probabilities, labels)["unsure_below"]
    right = (probabilities.argmax(axis=1) == labels).all()
    share = float((probabilities.max(axis=1) < below).mean())
    because = "among which no answer was wrong" if right else "with half of the mistakes on them"
    return (
        f"Answers of a probability below {below:.4f} are called unsure: {share:.1%} of the "
        f"{len(probabilities):,} rows held out are, {because}"
    )


def strange_range(found: tuple[float, float], trained: list[float] | None) -> str:
    """What is wrong with the values' range, if it is not that of training; else nothing.

    >>> strange_range((0, 255), [0.0, 1.0])
    'values from 0 to 255, and the model was trained on values from 0 to 1'
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
        f"values from {found[0]:g} to {found[1]:g}, and the model was trained on values from "
        f"{trained[0]:g} to {trained[1]:g}"
    )


def scaled(pixels: np.ndarray, trained: list[float] | None) -> tuple[np.ndarray, list[str]]:
    """An image's bytes as numbers from 0 to 1, or from -1 to 1, if the model was trained on such.

    >>> scaled(np.array([[0, 255]], np.uint8), [0.0, 1.0])[0].tolist()
    [[0.0, 1.0]]
    """
    for low in (0.0, -1.0):
        if trained is not None and abs(trained[0] - low) < 0.1 and 0.5 < trained[1] <= 1.0:
            numbers = pixels.astype(np.float32) * ((1 - low) / 255) + low
            return numbers, [f"scaled to values from {low:g} to 1, as in training"]
    return pixels, []
