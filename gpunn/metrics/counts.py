"""Positives and negatives, precision, recall and F scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_count, check_positive_integer, optional
from gpunn.common.config import epsilon
from gpunn.common.fields import field
from gpunn.common.registry import Examples

from .binned import divide
from .levels import COUNTS, Levels

BELOW_ALL = -1e10  # a threshold that every prediction exceeds unless it is left out


def _thresholds(given: Any, default: float) -> list[float]:
    if given is None:
        return [default]
    thresholds = list(given) if isinstance(given, (Sequence, np.ndarray)) else [given]
    wrong = [t for t in thresholds if t is None or not 0 <= t <= 1]
    if wrong or not thresholds:
        raise ValueError(
            f"Threshold values must be in [0, 1]. Received: {wrong}, in thresholds={given!r}."
        )
    return [float(t) for t in thresholds]


class _AtThresholds(Levels):
    """Counts at one or several thresholds, given as an argument."""

    thresholds: Any = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        default = 0.5 if self.top_k is None else BELOW_ALL
        self.given, self.thresholds = self.thresholds, _thresholds(self.thresholds, default)


class _Condition(_AtThresholds):
    """One of the four counts."""

    number: ClassVar[int]

    @property
    def _kinds(self) -> Mapping[str, int]:  # type: ignore[override]
        return {"accumulator": self.number}

    def array(self, state: np.ndarray) -> np.ndarray:
        found = self.counts(state)[self.number]
        return found[0] if len(found) == 1 else found


class TruePositives(_Condition):
    """How many (or what weight of) predictions above a threshold have a nonzero target.

    ``y_true`` and ``y_pred`` (probabilities) have the same shape, and each element counts. With
    ``sample_weight`` the count is the sum of the weights. The definition is Keras's.

    Args:
        thresholds: one number from 0 to 1, 0.5 by default; or several, and the result is an array
            (thresholds,), whose mean is logged.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for a threshold outside of 0 to 1.

    >>> from gpunn.metrics import TruePositives
    >>> TruePositives()([0, 1, 1, 1], [1, 0, 1, 1])
    2.0
    """

    number = 0
    examples = ({}, {"thresholds": [0.0, 1.0]})


class FalsePositives(_Condition):
    """How many predictions above a threshold have a target of 0.

    Inputs, arguments and errors: as for `TruePositives`.

    >>> from gpunn.metrics import FalsePositives
    >>> FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1])
    2.0
    """

    number = 1
    direction = "down"


class TrueNegatives(_Condition):
    """How many predictions not above a threshold have a target of 0.

    Inputs, arguments and errors: as for `TruePositives`.

    >>> from gpunn.metrics import TrueNegatives
    >>> TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0])
    2.0
    """

    number = 2


class FalseNegatives(_Condition):
    """How many predictions not above a threshold have a nonzero target.

    Inputs, arguments and errors: as for `TruePositives`.

    >>> from gpunn.metrics import FalseNegatives
    >>> FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0])
    2.0
    """

    number = 3
    direction = "down"
    examples = ({}, {"thresholds": [0.7, 0.3]})


class _Ratio(_AtThresholds):
    """True positives divided by a total, at each threshold; 0 where the total is 0."""

    other: ClassVar[int]

    @property
    def _kinds(self) -> Mapping[str, int]:  # type: ignore[override]
        return {COUNTS[number]: number for number in (0, self.other)}

    thresholds: Any = None
    top_k: int | None = field(default=None, check=optional(check_positive_integer))
    class_id: int | None = field(default=None, check=optional(check_count))

    def array(self, state: np.ndarray) -> np.ndarray:
        counts = self.counts(state)
        found = divide(counts[0], counts[0] + counts[self.other])
        return found[0] if len(found) == 1 else found


class Precision(_Ratio):
    """True positives / predicted positives: the share of positive predictions that are correct.

    ``TP / (TP + FP)``, and 0 if nothing is predicted positive, as in Keras. ``y_true`` (0 or 1) and
    ``y_pred`` (probabilities) have the same shape, and each element counts.

    Args:
        thresholds: predictions above a threshold count as positive; 0.5 by default, or one or
            several numbers from 0 to 1. With several, the result is an array (thresholds,), whose
            mean is logged.
        top_k: count as positive only the ``top_k`` largest of each row.
        class_id: consider only this output.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for a threshold outside of 0 to 1, or a bad ``top_k`` or ``class_id``.

    >>> from gpunn.metrics import Precision
    >>> round(Precision()([0, 1, 1, 1], [1, 0, 1, 1]), 3)  # 2 of 3
    0.667
    """

    other = 1
    examples = ({}, {"thresholds": [0.7, 0.3]}, {"top_k": 2}, {"class_id": 1})


class Recall(_Ratio):
    """True positives / positive targets: the share of positives that are found.

    ``TP / (TP + FN)``, and 0 if there is no positive target, as in Keras. ``y_true`` (0 or 1) and
    ``y_pred`` (probabilities) have the same shape, and each element counts.

    Arguments and errors: as for `Precision`.

    >>> from gpunn.metrics import Recall
    >>> round(Recall()([0, 1, 1, 1], [1, 0, 1, 1]), 3)  # 2 of 3
    0.667
    """

    other = 3
    examples = ({}, {"top_k": 2, "class_id": 0})


def _refused(name: str, wanted: str, value: Any, of: str = "") -> ValueError:
    """Return the error for an argument of an F score, in Keras's words."""
    return ValueError(f"Invalid `{name}` argument value. {wanted}. Received: {name}={value}{of}.")


def _check_average(name: str, value: Any) -> Any:
    if value not in (None, "micro", "macro", "weighted"):
        raise _refused(name, "Expected one of: {None, 'micro', 'macro', 'weighted'}", value)
    return value


def _float(limit: str, kinds: Any, holds: Callable[[float], bool]) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise _refused(name, "It should be a Python float", value, f" of type '{type(value)}'")
        if not holds(value):
            raise _refused(name, f"It should {limit}", value)
        return value

    return check


_check_beta = _float("be > 0", (int, float), lambda value: value > 0)
_check_threshold = _float("verify 0 < threshold <= 1", float, lambda value: 0 < value <= 1)


class FBetaScore(Levels):
    """``(1 + beta^2) precision recall / (beta^2 precision + recall)`` of each output.

    A weighted harmonic mean of precision and recall (van Rijsbergen, Information Retrieval, 1979),
    as in Keras. ``y_true`` (0 or 1) and ``y_pred`` have the shape (rows, outputs); the result is a
    number, or (outputs,) with ``average=None``.

    Args:
        average: None for one score per output (their mean is logged), "micro" for the score
            of all counts together, "macro" for the mean of the scores, "weighted" for their
            mean weighted by positive targets.
        beta: how many times as important recall is as precision, above 0.
        threshold: predictions above it count as positive; by default, the largest of each
            row does.
        name, dtype: see `Metric`.

    Raises:
        ValueError: for another ``average``, ``beta`` or ``threshold``.

    >>> from gpunn.metrics import FBetaScore
    >>> round(FBetaScore("micro", 2.0, threshold=0.5)([[1], [0], [1]], [[0.9], [0.8], [0.7]]), 4)
    0.9091
    """

    aliases = ("fbeta_score",)
    remedy = None  # a row has one largest prediction, as it has one class number
    examples: ClassVar[Examples] = ({}, {"average": "weighted", "beta": 2.0})

    average: str | None = field(default=None, check=_check_average)
    beta: float = field(default=1.0, check=_check_beta)
    threshold: float | None = field(default=None, check=optional(_check_threshold))
    name = "fbeta_score"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.thresholds = [0.5 if self.threshold is None else self.threshold]
        self.largest = self.threshold is None
        self.by_output = self.average != "micro"

    def array(self, state: np.ndarray) -> np.ndarray:
        tp, fp, _, fn = (counts[..., 0] for counts in self.counts(state))
        small, square = epsilon(), self.beta**2
        precision, recall = tp / (tp + fp + small), tp / (tp + fn + small)
        scores = (1 + square) * precision * recall / (square * precision + recall + small)
        if self.average == "weighted":
            return np.sum(scores * (tp + fn)) / (np.sum(tp + fn) + small)
        return scores if self.average is None else np.mean(scores)


class F1Score(FBetaScore):
    """``2 precision recall / (precision + recall)`` of each output: `FBetaScore` with beta = 1.

    The harmonic mean of precision and recall, as in Keras; shapes are as in `FBetaScore`.

    Args:
        average, threshold: as for `FBetaScore`.
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import F1Score
    >>> round(F1Score("micro", threshold=0.5)([[1], [0], [1]], [[0.9], [0.8], [0.7]]), 4)
    0.8
    """

    examples = ({}, {"average": "macro"}, {"average": "micro", "threshold": 0.25})

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name=name, dtype=dtype)
