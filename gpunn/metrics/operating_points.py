"""The best of one rate where another is at least as large as asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_count, check_fraction, check_positive_integer, optional
from gpunn.common.fields import field

from .binned import divide
from .levels import Levels

Rate = Callable[[Any, Any, Any, Any], np.ndarray]
"""Takes true and false positives, and true and false negatives, at each threshold."""


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
        default=200, check=check_positive_integer, kw_only=True, placed=True
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

    specificity: float = field(check=check_fraction)


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

    sensitivity: float = field(check=check_fraction)


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

    recall: float = field(check=check_fraction)


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

    precision: float = field(check=check_fraction)
