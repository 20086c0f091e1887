"""Areas under curves of predictions at many thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import epsilon

from .binned import divide
from .levels import Levels

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "majoring", "minoring")


class AUC(Levels):
    """Area under the ROC or the precision-recall curve, from counts at some thresholds.

    An approximation, as in Keras, that needs one pass and little memory: the more thresholds
    there are near the predictions, the better. `gpunn.metrics.roc_auc` is exact.

    Args:
        num_thresholds: how many, evenly spread from 0 to 1.
        curve: ``"ROC"`` (true against false positive rate), ``"PR"`` (precision against
            recall) or ``"PRGAIN"`` (Flach and Kull, 2015).
        summation_method: ``"interpolation"`` (trapezoids; for precision-recall the formula
            of Davis and Goadrich, 2006), ``"minoring"`` or ``"majoring"``.
        thresholds: the thresholds themselves, from 0 to 1; two outside are added.
        multi_label: whether each output has an area of its own, which are averaged.
        num_labels: how many outputs there are, with ``multi_label``.
        label_weights: how much each output counts.
        from_logits: whether predictions are logits, not probabilities.

    >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.75
    """

    examples = (
        {},
        {"num_thresholds": 5, "curve": "PR", "summation_method": "minoring"},
        {"curve": "PRGAIN", "num_labels": 5, "multi_label": True, "label_weights": [1, 2, 0, 1, 3]},
        {"num_thresholds": 9, "from_logits": True},
    )

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        for argument, given, known in (
            ("curve", self.curve, CURVES), ("summation_method", self.summation_method, SUMMATIONS),
        ):  # fmt: skip
            if given not in known:
                raise ValueError(f"{argument} must be one of {', '.join(known)}; got {given!r}.")
        if num_labels and not multi_label:
            raise ValueError(f"num_labels={num_labels} is for multi_label=True.")
        self.given = None
        if thresholds is not None:
            inner = self.given = sorted(float(t) for t in thresholds)
            if any(not 0 <= t <= 1 for t in inner):
                raise ValueError(f"thresholds must be from 0 to 1; got {thresholds!r}.")
        elif num_thresholds > 1:
            inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        else:
            raise ValueError(f"num_thresholds must be an integer above 1; got {num_thresholds!r}.")
        self.thresholds = [-epsilon(), *inner, 1 + epsilon()]
        self.multi_label, self.from_logits = multi_label, from_logits
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self.by_output = multi_label or label_weights is not None
        self.num_labels = num_labels
        self.fixed_outputs = num_labels or (None if label_weights is None else len(label_weights))
        self.outputs = self.fixed_outputs
        super().__init__(name=name, dtype=dtype)

    @property
    def num_thresholds(self) -> int:
        return len(self.thresholds)

    def array(self, state: np.ndarray) -> Any:
        counts = self.counts(state)
        weights = None if self.label_weights is None else np.array(self.label_weights)
        if self.by_output and not self.multi_label:  # the weights are those of predictions
            counts = tuple(weights @ array for array in counts)
        areas = self._area(*counts)
        if not self.multi_label:
            return areas
        return np.mean(areas) if weights is None else divide(areas @ weights, weights.sum())

    def _area(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """The area under the curve of the last axis, from the lowest threshold to the highest."""
        recall = divide(tp, tp + fn)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated(tp, fp, fn)
        if self.curve == "ROC":
            x, y = divide(fp, fp + tn), recall
        elif self.curve == "PR":
            x, y = recall, divide(tp, tp + fp)
        else:
            odds = divide(tp + fn, tn + fp)
            x = np.where(tp == 0, 0.0, np.maximum(1 - odds * divide(fn, tp), 0))
            y = np.where(tp == 0, 1.0, 1 - odds * divide(fp, tp))
        left, right = y[..., :-1], y[..., 1:]
        if self.summation_method == "interpolation":
            heights = (left + right) / 2
        else:
            heights = (np.minimum if self.summation_method == "minoring" else np.maximum)(
                left, right
            )
        return np.sum((x[..., :-1] - x[..., 1:]) * heights, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "name": self.name,
            "thresholds": self.given,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }


def _interpolated(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Area under precision over recall, both running evenly in the counts between thresholds.

    With tp = slope p + intercept between two numbers of positives p, the integral of
    tp / p over tp is slope (change of tp + intercept log(ratio of the p)).
    """
    p = tp + fp
    change, step = tp[..., :-1] - tp[..., 1:], p[..., :-1] - p[..., 1:]
    slope = divide(change, np.maximum(step, 0))
    intercept = tp[..., 1:] - slope * p[..., 1:]
    both = (p[..., :-1] > 0) & (p[..., 1:] > 0)
    ratio = np.where(both, divide(p[..., :-1], p[..., 1:]), 1.0)
    targets = np.maximum(tp[..., 1:] + fn[..., 1:], 0)
    terms = divide(slope * (change + intercept * np.log(ratio)), targets)
    return np.sum(terms, axis=-1)
