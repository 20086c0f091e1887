"""A model's description of its training data, and its use for other data.

It is part of the model file (`docs/reference/file-format.md`) and is checked when the file is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.names import significant
from gpunn.common.stored import ByName, FieldSchema, Integer, Number, Several, Text
from gpunn.training.data_facts import doubt

KEPT: dict[str, FieldSchema] = {
    "range": Several(Number(finite=True), 2),
    "data": Text(),
    "prepared": Text(),  # "mnist" or "scaled"
    "scale": Several(Number(finite=True), 2),
    "classes": Several(Text()),
    "decision": ByName(),  # see `gpunn.apps.decisions`
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


def doubt_note(
    probabilities: np.ndarray, labels: np.ndarray, rows: str = "held-out rows", scaled: bool = False
) -> str:
    """Return a sentence about the result of `doubt` for the same rows.

    Args:
        rows: What the rows are.
        scaled: Whether the probabilities come from `Decision.weighed`.
    """
    below = doubt(probabilities, labels)["unsure_below"]
    right = (probabilities.argmax(axis=1) == labels).all()
    share = float((probabilities.max(axis=1) < below).mean())
    because = "none of which was misclassified" if right else "including half of the mistakes"
    return (
        f"Predictions with a probability below {below:.4f}"
        f"{', scaled so that the threshold is a half,' if scaled else ''} are called unsure: "
        f"{share:.1%} of the {len(probabilities):,} {rows}, {because}"
    )


def strange_range(found: tuple[float, float], trained: list[float] | None) -> str:
    """Describe a range of values that differs from training's; empty if it does not.

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


def scaled(pixels: np.ndarray, known: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Scale an image's bytes as the training data were, and list what was done.

    Without a recorded scale it follows from the range, if that is about 0 to 1 or -1 to 1; else
    the bytes are returned.

    Args:
        pixels: uint8, light ink on dark.
        known: what `known` returned.

    >>> scaled(np.array([[0, 255]], np.uint8), {"range": [0.0, 1.0]})[0].tolist()
    [[0.0, 1.0]]
    >>> scaled(np.array([[0, 255]], np.uint8), {"scale": [-1.0, 255.0]})
    (array([[255.,   0.]], dtype=float32), ['inverted, as in training'])
    """
    factor, offset = known.get("scale", (1.0, 0.0))
    if "range" in known and "scale" not in known:
        least, most = known["range"]
        for low in (0.0, -1.0):
            if abs(least - low) < 0.1 and 0.5 < most <= 1.0:
                factor, offset = (1 - low) / 255, low
    if (factor, offset) == (1, 0):
        return pixels, []
    numbers = pixels.astype(np.float32) * factor + offset
    low, high = sorted((offset, factor * 255 + offset))
    done = []
    if factor < 0:
        done.append("inverted, as in training")
    if (low, high) != (0, 255):
        limits = f"{significant(low, 3)} to {significant(high, 3)}"
        done.append(f"scaled to values from {limits}, as in training")
    return numbers, done
