"""What a network learns instead of a table's target: scaled numbers, or their logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.common.names import counted, either, significant
from gpunn.common.numeric.moments import deviation, mean
from gpunn.layers import Activation, ReLU, Rescaling

from .reading.markers import APART, FAR

MOST_OUTLIERS = 0.01  # of all rows, but three of them in any case
VARIED = 0.1  # of all rows, if more than half have one value: fewer others show no scale
BEYOND = 0.1  # of the range of logarithms
SKEWED = 1.0  # skewness of positive targets from which on their logarithms are tried


@dataclass(frozen=True)
class Outliers:
    """Targets far from all others, such as typing errors.

    Attributes:
        low, high: range of the others.
        scale: robust standard deviation of all targets; of those that are not the median, where
            more than half are; 0 if these are few.
        middle: median of all targets.
    """

    count: int
    rows: int
    low: float
    high: float
    scale: float
    middle: float = 0.0

    @classmethod
    def of(cls, y: np.ndarray) -> Outliers:
        """Find the outliers: at most one in a hundred, at least ten robust deviations away, and
        three times as far as any other target.

        >>> Outliers.of(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 1000.0])).count
        1
        >>> Outliers.of(2.0 ** np.arange(20)).count  # a heavy tail has no gap
        0
        >>> Outliers.of(np.array([0.0] * 9 + [1, 2, 3, 1000])).count
        1
        """
        y = np.asarray(y, np.float64)
        middle = float(np.median(y))
        away = np.abs(y - middle)
        varied = away if np.median(away) else away[away > 0]  # as where most targets are 0
        enough = len(varied) >= VARIED * len(y)  # the largest of few may be far from the others
        scale = 1.4826 * float(np.median(varied)) if enough else 0.0
        count, order = 0, np.sort(away)[::-1]
        if scale and order[0] > FAR * scale:
            most = min(max(3, int(MOST_OUTLIERS * len(y))), len(y) // 4)
            for i in range(most):
                if order[i] > FAR * scale and order[i] > APART * max(order[i + 1], scale):
                    count = i + 1
        near = y[away <= order[count]] if len(y) else y
        return cls(count, len(y), float(near.min()), float(near.max()), scale, middle)

    def clip(self, y: np.ndarray) -> np.ndarray:
        """Return targets within the range of those that are no outliers."""
        return np.clip(y, self.low, self.high) if self.count else y

    def are_far(self, y: np.ndarray) -> np.ndarray:
        """Return which of any targets are as far from the others as an outlier is.

        >>> Outliers.of(np.arange(20.0)).are_far(np.array([25.0, 1000.0])).tolist()
        [False, True]
        """
        if not self.scale:
            return np.zeros(len(y), bool)
        others = max(self.high - self.middle, self.middle - self.low, self.scale)
        away: np.ndarray = np.abs(y - self.middle)
        return away > max(FAR * self.scale, APART * others)

    def note(self) -> str:
        """Say what is done about them; "" without outliers."""
        if not self.count:
            return ""
        are = either(self.count, "lies", "lie")
        return (
            f"{self.count:,} of {counted(self.rows, 'target')} {are} far from all others, which go "
            f"from {significant(self.low, 6)} to {significant(self.high, 6)}: "
            f"{either(self.count, 'it counts', 'they count')} as the nearest of these, and models "
            f"are compared by Huber's loss"
        )


def is_skewed(y: np.ndarray) -> bool:
    """Whether targets are positive with a long upper tail, so that logarithms may be better.

    >>> is_skewed(np.array([1.0, 2.0, 3.0])), is_skewed(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 50.0]))
    (False, True)
    """
    if y.min() <= 0:
        return False
    away = (y - mean(y)) / (deviation(y) or 1.0)
    return float((away**3).mean()) > SKEWED


@dataclass(frozen=True)
class TargetScale:
    """Targets of mean 0 and deviation 1: (y - middle) / spread, or of log y.

    Attributes:
        middle, spread: mean and deviation of the targets, or of their logarithms.
        logs: whether logarithms are learned.
        factor: what predictions are multiplied by: the exponential of a mean logarithm is less
            than the mean (Duan 1983, "Smearing estimate").
        low, high: limits of the logarithms of predictions: a little beyond the targets', since the
            exponential of a line that goes on is without limit.
    """

    middle: float = 0.0
    spread: float = 1.0
    logs: bool = False
    factor: float = 1.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, y: np.ndarray, logs: bool = False) -> TargetScale:
        values = np.log(y) if logs else y
        middle, spread = float(mean(values)), float(deviation(values)) or 1.0
        beyond = BEYOND * float(np.ptp(values))
        return cls(
            middle, spread, logs,
            low=float(values.min()) - beyond, high=float(values.max()) + beyond,
        )

    def learned(self, y: np.ndarray) -> np.ndarray:
        """Return what the network learns for targets y, (rows, 1)."""
        values = np.log(y) if self.logs else y
        return ((values - self.middle) / self.spread)[:, None]

    def undone(self, outputs: np.ndarray) -> np.ndarray:
        """Return the targets (rows,) for a network's outputs (rows, 1)."""
        values = outputs[:, 0].astype(np.float64) * self.spread + self.middle
        return np.exp(np.clip(values, self.low, self.high)) * self.factor if self.logs else values

    def layers(self, x: Any, free: Any) -> Any:
        """Return the tensor of targets for a tensor of outputs; ``free`` makes layer names."""
        if not self.logs:
            return Rescaling(self.spread, self.middle, name=free("in the target's units"))(x)
        x = Rescaling(self.spread, self.middle - self.low, name=free("logarithms of the target"))(x)
        x = ReLU(max_value=self.high - self.low, name=free("within what was seen"))(x)
        low = self.low + float(np.log(self.factor))
        x = Rescaling(1.0, low, name=free("logarithms of the answer"))(x)
        return Activation("exponential", name=free("in the target's units"))(x)
