"""Correlation of predictions and targets, row by row, as in Keras."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunn.common.arguments import check_integer
from gpunn.common.fields import field
from gpunn.common.registry import Examples
from gpunn.core.recording import recorded
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor

from . import own, row_functions
from .means import Mean
from .metric import counting, predictions


def _check_axes(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(check_integer(name, axis, -32) for axis in value)
    return check_integer(name, value, -32)


class _Correlation(Mean):
    """Base class of means over rows of a correlation along an axis; ``of`` is its function."""

    _of_variables = True
    direction = "up"
    sparse = False
    of: ClassVar[str]

    axis: Any = field(default=-1, check=_check_axes, after="dtype")

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch: y_true and y_pred (batch, ..., n)."""
        sample_weight = counting(y_pred, sample_weight)
        if not isinstance(y_pred, Tensor):
            y_pred = predictions(y_true, y_pred)
        y_pred = convert(y_pred, y_pred.dtype)
        self._add(getattr(row_functions, self.of)(y_true, y_pred, self.axis), sample_weight)

    @recorded
    def result(self) -> Any:
        return own.number(super().result())


class PearsonCorrelation(_Correlation):
    """The mean over rows of Pearson's correlation of targets and predictions, from -1 to 1.

    ``y_true`` and ``y_pred`` have the shape (batch, ..., n), n at least 2: the entries of each row
    are compared with one another. A row whose targets or predictions are all equal gives NaN. The
    definition is Keras's; see `gpunn.metrics.pearson_correlation`.

    Args:
        name, dtype: see `Metric`.
        axis: the axis, or several, along which they are compared.

    >>> from gpunn.metrics import PearsonCorrelation
    >>> m = PearsonCorrelation()
    >>> m.update_state([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])
    >>> round(m.result(), 4)
    0.9967
    """

    of = "pearson_correlation"
    examples: ClassVar[Examples] = ({}, {"axis": [1]})
    name = "pearson_correlation"


class ConcordanceCorrelation(_Correlation):
    """The mean over rows of the concordance of targets and predictions, from -1 to 1.

    It is 1 only for predictions that equal the targets. Shapes are those of `PearsonCorrelation`;
    see `gpunn.metrics.concordance_correlation`.

    Args:
        name, dtype, axis: as for `PearsonCorrelation`.

    >>> from gpunn.metrics import ConcordanceCorrelation
    >>> m = ConcordanceCorrelation()
    >>> m.update_state([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])
    >>> round(m.result(), 4)
    0.9816
    """

    of = "concordance_correlation"
    name = "concordance_correlation"
