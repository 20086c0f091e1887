"""Plot a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .scores import Scores, class_names, class_numbers
from .style import FONT, INK, dress, new_axes

__all__ = ["confusion_matrix"]


def confusion_matrix(
    y_true: Any,
    y_pred: Any = None,
    y: Any = None,
    *,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plot the confusion matrix: counts of true classes (rows) by predicted classes (columns).

    A darker cell has a larger share of its row. The shade follows the square root of the share, so
    that rare mistakes are visible.

    Args:
        y_true: true labels (rows,) or one-hot rows; or, without ``y_pred``, the counts
            themselves (true classes, predicted classes); or a model, as in `decision_boundary`.
        y_pred: predicted labels (rows,), or scores (rows, classes), of which the largest counts;
            with a model, its inputs x (rows, ...).
        y: with a model, the true labels.
        classes, ax: as for `points`.
        title: title of the plot; by default the accuracy.

    Returns:
        The figure.

    >>> from gpunn.plots import confusion_matrix
    >>> figure = confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2])
    >>> figure.axes[0].get_title()
    '75.0% of 4 right'
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '', '', '1', '', '', '', '1']
    >>> figure = confusion_matrix(lambda x: x[:, 0] > 1, [[0.0], [1.5], [2.0]], [0, 0, 1])
    >>> figure.axes[0].get_title()
    '66.7% of 3 right'
    """
    if callable(y_true) or hasattr(y_true, "predict"):
        y_true, y_pred = _answers(y_true, y_pred, y)
    elif y is not None:
        raise TypeError("y is for confusion_matrix(model, x, y); the first argument is no model.")
    if y_pred is None:
        counts = np.asarray(y_true)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(
                f"Without y_pred, y_true must be counts (classes, classes); got {counts.shape}."
            )
        labels = np.arange(len(counts))
    else:
        labels, counts = _count(y_true, y_pred)
    names = class_names(labels, classes)
    total = counts.sum()
    side = max(3.4, 0.46 * len(labels) + 1.4)
    ax = new_axes(ax, (side + 0.3, side))
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1.15)
    for row, column in np.ndindex(*counts.shape):
        number = counts[row, column]
        ax.text(
            column,
            row,
            f"{number:,}" if number else "",
            ha="center",
            va="center",
            fontsize=FONT - 1,
            color="white" if shares[row, column] > 0.6 else INK,
        )
    default = f"{np.trace(counts) / max(1, total):.1%} of {total:,} right"
    dress(ax, default if title is None else title, "predicted class", "true class", grid=False)
    long = max(map(len, names)) > 3
    ax.set_xticks(
        range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center"
    )
    ax.set_yticks(range(len(names)), names)
    return ax.figure


def _answers(model: Any, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the true labels, and those that a model gives for the inputs."""
    if x is None or y is None:
        raise TypeError("With a model, pass inputs and labels: confusion_matrix(model, x, y).")
    x, (labels, numbers) = np.asarray(x), class_numbers(y)
    if len(x) != len(numbers):
        raise ValueError(f"x has {len(x)} rows, y {len(numbers)}; they must be equal.")
    scores = Scores(model, labels)
    answers = scores.classify(x)
    return labels[numbers], scores.labels[answers]


def _count(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels, and the count of each pair of them."""
    pairs = [class_numbers(y_true, "y_true"), class_numbers(y_pred, "y_pred")]
    if len(pairs[0][1]) != len(pairs[1][1]):
        raise ValueError(
            f"y_true has {len(pairs[0][1])} rows, y_pred {len(pairs[1][1])}; they must be equal."
        )
    labels = np.union1d(pairs[0][0], pairs[1][0])
    true, predicted = (np.searchsorted(labels, own)[numbers] for own, numbers in pairs)
    flat = np.bincount(true * len(labels) + predicted, minlength=len(labels) ** 2)
    return labels, flat.reshape(len(labels), -1)
