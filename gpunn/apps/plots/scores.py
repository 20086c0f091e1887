"""Class scores of any kind of classifier for given points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def class_numbers(y: Any, argument: str = "y") -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted labels in ``y``, and the index of each row's label.

    The labels of one-hot rows are their column indices.
    """
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return np.arange(labels.shape[1]), labels.argmax(axis=1)
    if labels.ndim == 2:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"{argument} must be labels (rows,) or one-hot rows; got {np.shape(y)}.")
    values, numbers = np.unique(labels, return_inverse=True)
    return values, numbers


def class_names(labels: np.ndarray, names: Sequence[str] | None, form: str = "{}") -> list[str]:
    """Return the names of the classes: ``names``, or by default the formatted labels."""
    if names is None:
        return [form.format(label) for label in labels.tolist()]
    if len(names) != len(labels):
        raise ValueError(f"classes has {len(names)} names; there are {len(labels)} classes.")
    return list(map(str, names))


class Scores:
    """A classifier as a function from points to a score per class; the largest score wins.

    Args:
        model: a gpunn model, any object with scikit-learn's methods (``predict_proba``,
            ``decision_function``, ``predict``), or a function of points (rows, inputs) that
            returns labels (rows,), scores (rows,) of the second of two classes, or
            (rows, classes).
        labels: labels of the classes, in order.
        threshold: a single score above it means the second class. By default 0 for a
            decision function and for logits, else half way between the two labels (0.5 for
            classes 0 and 1, 0 for -1 and 1).
    """

    def __init__(self, model: Any, labels: np.ndarray, threshold: float | None = None) -> None:
        self.model = model
        known = getattr(model, "classes_", None)
        self.labels = labels if known is None else np.asarray(known)
        self.threshold = threshold

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return scores (rows, classes) for the points ``x`` (rows, inputs)."""
        outputs, threshold, may_be_labels = self._outputs(x)
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            outputs = outputs[:, 0]
        if outputs.shape[:1] != (len(x),) or outputs.ndim > 2:
            raise ValueError(
                f"model gave outputs of shape {outputs.shape} for {len(x)} points; "
                f"expected ({len(x)},) or ({len(x)}, classes)."
            )
        if outputs.ndim == 2:
            if outputs.shape[1] > len(self.labels) and self.labels.dtype.kind in "iub":
                self.labels = np.arange(outputs.shape[1])  # a class that no point has
            if outputs.shape[1] != len(self.labels):
                raise ValueError(
                    f"model gives {outputs.shape[1]} scores per point, y has {len(self.labels)} "
                    f"classes: {self.labels.tolist()}."
                )
            return outputs.astype(np.float64)
        if may_be_labels and outputs.dtype.kind != "f":
            self.labels = np.union1d(self.labels, outputs)
        if may_be_labels and np.isin(outputs, self.labels).all():
            return (outputs[:, np.newaxis] == self.labels).astype(np.float64)
        if len(self.labels) != 2:
            raise ValueError(
                f"model gives a single score per point, y has {len(self.labels)} classes; "
                f"a single score can only separate two."
            )
        if threshold is None:
            low, high = self.labels if self.labels.dtype.kind in "iubf" else (0, 1)
            threshold = (float(low) + float(high)) / 2
        above = outputs.astype(np.float64) - threshold
        return np.column_stack([-above, above])

    def classify(self, x: np.ndarray) -> np.ndarray:
        """Return each point's class index; from the model's own ``predict`` if it gives labels."""
        scores = self(x)
        if hasattr(self.model, "predict") and not hasattr(self.model, "train_on_batch"):
            predicted = np.asarray(self.model.predict(x))
            if predicted.shape == (len(x),) and np.isin(predicted, self.labels).all():
                return np.searchsorted(self.labels, predicted)
        return scores.argmax(axis=1)

    def _outputs(self, x: np.ndarray) -> tuple[np.ndarray, float | None, bool]:
        """Return the model's outputs, the threshold for a single score, and whether the outputs
        may be labels."""
        model, threshold = self.model, self.threshold
        if hasattr(model, "train_on_batch"):
            if threshold is None and getattr(model.loss, "from_logits", False):
                threshold = 0.0
            return model.predict(x, verbose=0), threshold, False
        if hasattr(model, "predict_proba"):
            return np.asarray(model.predict_proba(x)), threshold, False
        if hasattr(model, "decision_function"):
            return np.asarray(model.decision_function(x)), threshold or 0.0, False
        if hasattr(model, "predict"):
            return np.asarray(model.predict(x)), threshold, True
        if callable(model):
            return np.asarray(model(x)), threshold, True
        raise TypeError(
            f"model must be a gpunn model, have predict, or be a function of points; got {model!r}."
        )


def probabilities(model: Any, x: Any) -> np.ndarray:
    """Return a classifier's probabilities (rows, classes), two columns for a single output. Other
    outputs raise ValueError."""
    if hasattr(model, "predict_proba"):
        outputs = np.asarray(model.predict_proba(x), np.float64)
    elif hasattr(model, "train_on_batch"):
        outputs = model.predict(x, verbose=0).astype(np.float64)
        if getattr(model.loss, "from_logits", False):
            others = np.zeros_like(outputs) if outputs.shape[1] == 1 else outputs[:, :0]
            logits = np.hstack([outputs, others])
            outputs = np.exp(outputs - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    else:
        outputs = np.asarray(model(x) if callable(model) else model.predict(x), np.float64)
    outputs = outputs.reshape(len(outputs), -1)
    if outputs.shape[1] == 1:
        outputs = np.hstack([1 - outputs, outputs])
    sums = outputs.sum(axis=1)
    if outputs.min() < 0 or outputs.max() > 1 + 1e-4 or not np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            "model must give probabilities of classes (a softmax or sigmoid at its end, or a "
            "loss with from_logits=True)."
        )
    return outputs
