"""Areas under curves of rates at many thresholds, and the best point of such a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import (
    check_choice,
    check_count,
    check_number,
    check_positive_integer,
    optional,
)
from gpunn.common.config import epsilon
from gpunn.common.fields import field

from .binned import divide
from .levels import Levels, check_thresholds

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "majoring", "minoring")


def _spelt(form: Callable[[str], str], known: tuple[str, ...]) -> Callable[[str, Any], str]:
    return lambda name, value: check_choice(name, form(str(value)), known)


def _as_floats(name: str, value: Any) -> list[float]:
    return [float(number) for number in value]


def _check_thresholds(name: str, value: Any) -> list[float]:
    thresholds = sorted(_as_floats(name, value))
    if any(not 0 <= t <= 1 for t in thresholds):
        raise ValueError(f"{name} must be from 0 to 1; got {value!r}.")
    return thresholds


class AUC(Levels):
    """Area under the ROC or the precision-recall curve, from counts at some thresholds.

    An approximation, as in Keras, that needs one pass and little memory: the more thresholds
    there are near the predictions, the better. `gpunn.metrics.roc_auc` is exact.
    ``y_true`` (0 or 1) and ``y_pred`` have the shape (rows,) or (rows, outputs).

    Args:
        num_thresholds: number of thresholds, evenly spaced from 0 to 1.
        curve: ``"ROC"`` (true against false positive rate), ``"PR"`` (precision against
            recall) or ``"PRGAIN"`` (Flach and Kull, 2015).
        summation_method: ``"interpolation"`` (trapezoids; for precision-recall the formula
            of Davis and Goadrich, 2006), ``"minoring"`` or ``"majoring"``.
        thresholds: the thresholds themselves, from 0 to 1; two outside this range are added.
        multi_label: whether to average the separate areas of the outputs.
        num_labels: number of outputs, with ``multi_label``.
        label_weights: the weight of each output.
        from_logits: whether predictions are logits, not probabilities.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for an unknown curve or summation method, or a threshold outside of 0 to 1.

    >>> from gpunn.metrics import AUC
    >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.75
    """

    examples = (
        {},
        {"num_thresholds": 5, "curve": "PR", "summation_method": "minoring"},
        {"curve": "PRGAIN", "num_labels": 5, "multi_label": True, "label_weights": [1, 2, 0, 1, 3]},
        {"num_thresholds": 9, "from_logits": True},
    )

    num_thresholds: int = field(default=200)
    curve: str = field(default="ROC", check=_spelt(str.upper, CURVES))
    summation_method: str = field(default="interpolation", check=_spelt(str.lower, SUMMATIONS))
    name: str | None = None
    dtype: Any = None
    thresholds: Any = field(default=None, check=optional(_check_thresholds))
    multi_label: bool = field(default=False)
    num_labels: int | None = field(default=None, check=optional(check_positive_integer))
    label_weights: Any = field(default=None, check=optional(_as_floats))
    from_logits: bool = field(default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_labels and not self.multi_label:
            raise ValueError(f"num_labels={self.num_labels} requires multi_label=True.")
        inner, n = self.thresholds, self.num_thresholds
        if inner is None:
            n = check_thresholds("num_thresholds", n, above=1)
            inner = [(i + 1) / (n - 1) for i in range(n - 2)]
        self.given, self.thresholds = self.thresholds, [-epsilon(), *inner, 1 + epsilon()]
        self.num_thresholds = len(self.thresholds)
        self.by_output = self.multi_label or self.label_weights is not None
        weighed = None if self.label_weights is None else len(self.label_weights)
        self.outputs = self.fixed_outputs = self.num_labels or weighed

    def array(self, state: np.ndarray) -> Any:
        counts = self.counts(state)
        weights = None if self.label_weights is None else np.array(self.label_weights)
        if self.by_output and not self.multi_label:  # the weights belong to predictions
            counts = tuple(weights @ array for array in counts)
        areas = self._area(*counts)
        if not self.multi_label:
            return areas
        return np.mean(areas) if weights is None else divide(areas @ weights, weights.sum())

    def _area(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """Return the area under the curve of the last axis, from the lowest threshold upwards."""
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


def _interpolated(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Area under precision over recall, with counts interpolated linearly between thresholds.

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


Rate = Callable[[Any, Any, Any, Any], np.ndarray]
"""Takes true and false positives, and true and false negatives, at each threshold."""


def _check_rate(name: str, value: Any) -> float:
    if not 0 <= check_number(name, value) <= 1:
        raise ValueError(f"`{name}` must be in the range [0, 1]; got {value!r}.")
    return float(value)


def _sensitivity(tp: Any, fp: Any, tn: Any, fn: Any) -> np.ndarray:  # also the recall
    return divide(tp, tp + fn)


def _specificity(tp: Any, fp: Any, tn: Any, fn: Any) -> np.ndarray:
    return divide(tn, tn + fp)


def _precision(tp: Any, fp: Any, tn: Any, fn: Any) -> np.ndarray:
    return divide(tp, tp + fp)


class _AtOnePoint(Levels):
    """Base class of metrics that choose among thresholds by one rate, and report another."""

    asked: ClassVar[str]  # the argument that the first of the rates must reach
    rates: ClassVar[tuple[Rate, Rate]]  # the one that is asked for, and the one that is reported

    num_thresholds: int = field(
        default=200, check=check_thresholds, kw_only=True, placed=True
    )
    class_id: int | None = field(
        default=None, check=optional(check_count), kw_only=True, placed=True
    )
    name: str | None = field(default=None, kw_only=True, placed=True)
    dtype: Any = field(default=None, kw_only=True, placed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.num_thresholds
        self.thresholds = [0.5] if n == 1 else [i / (n - 1) for i in range(n)]

    def array(self, state: np.ndarray) -> Any:
        tp, fp, tn, fn = self.counts(state)
        asked, reported = (rate(tp, fp, tn, fn) for rate in self.rates)
        reached = asked >= getattr(self, self.asked)
        return reported[reached].max() if reached.any() else np.float64(0.0)


class SensitivityAtSpecificity(_AtOnePoint):
    """The largest sensitivity, tp / (tp + fn), where the specificity, tn / (tn + fp), is at least
    as large as asked; 0 if it is nowhere.

    The rates are known at evenly spaced thresholds from 0 to 1, which predictions exceed.

    Args:
        specificity: from 0 to 1.
        num_thresholds: number of thresholds.
        class_id: the only output that counts; all by default.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for a rate outside of 0 to 1, and other numbers.

    >>> from gpunn.metrics import SensitivityAtSpecificity
    >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    asked, rates = "specificity", (_specificity, _sensitivity)
    examples = ({"specificity": 0.5}, {"specificity": 0.8, "num_thresholds": 7, "class_id": 1})

    specificity: float = field(check=_check_rate)


class SpecificityAtSensitivity(_AtOnePoint):
    """The largest specificity where the sensitivity is at least as large as asked: see
    `SensitivityAtSpecificity`.

    Args:
        sensitivity: from 0 to 1.
        num_thresholds, class_id, name, dtype: as for `SensitivityAtSpecificity`.

    >>> from gpunn.metrics import SpecificityAtSensitivity
    >>> print(f"{SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]):.4f}")
    0.6667
    """

    asked, rates = "sensitivity", (_sensitivity, _specificity)
    examples = ({"sensitivity": 0.5}, {"sensitivity": 0.8, "num_thresholds": 7})

    sensitivity: float = field(check=_check_rate)


class PrecisionAtRecall(_AtOnePoint):
    """The largest precision, tp / (tp + fp), where the recall, tp / (tp + fn), is at least as large
    as asked: see `SensitivityAtSpecificity`.

    Args:
        recall: from 0 to 1.
        num_thresholds, class_id, name, dtype: as for `SensitivityAtSpecificity`.

    >>> from gpunn.metrics import PrecisionAtRecall
    >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    asked, rates = "recall", (_sensitivity, _precision)
    examples = ({"recall": 0.5}, {"recall": 0.8, "num_thresholds": 7})

    recall: float = field(check=_check_rate)


class RecallAtPrecision(_AtOnePoint):
    """The largest recall where the precision is at least as large as asked: see
    `PrecisionAtRecall`.

    Args:
        precision: from 0 to 1.
        num_thresholds, class_id, name, dtype: as for `SensitivityAtSpecificity`.

    >>> from gpunn.metrics import RecallAtPrecision
    >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.5
    """

    asked, rates = "precision", (_precision, _sensitivity)
    examples = ({"precision": 0.5}, {"precision": 0.8, "num_thresholds": 7})

    precision: float = field(check=_check_rate)
