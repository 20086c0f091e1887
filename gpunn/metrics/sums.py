"""The sum of values as a metric."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunn.common.registry import Examples
from gpunn.core.recording import recorded
from gpunn.ops.conversion import convert, floats
from gpunn.ops.reductions import sum_
from gpunn.ops.shapes import broadcast_to, expand_dims, squeeze

from . import own
from .means import Mean
from .metric import Metric, counting


class Sum(Metric):
    """The weighted sum of the given values: ``sum w v``.

    It takes values instead of targets and predictions, as `Mean` does: a number, or an array with
    one entry per sample, (batch,) or (batch, ...), whose further entries are added up. The result
    is 0 before the first value.

    Args:
        name, dtype: see `Metric`.

    Raises:
        TypeError: in ``metrics`` of `compile`.

    >>> from gpunn.metrics import Sum
    >>> m = Sum()
    >>> m.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    >>> m.result()
    4.0
    """

    _of_variables = True
    examples: ClassVar[Examples] = ({}, {"name": "total"})

    name = "sum"
    accumulate = Mean.accumulate

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = self.add_weight(dtype="float64", name="total")

    @recorded
    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add values: a number, or an array with one entry (or several, added up) per sample."""
        sample_weight = counting(values, sample_weight)
        values = floats(convert(values))
        if sample_weight is not None:
            weight = convert(sample_weight, values.dtype)
            if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
                weight = squeeze(weight, -1)
            for _ in range(values.ndim - weight.ndim):
                weight = expand_dims(weight, -1)
            values = values * broadcast_to(weight, values.shape)
        self.total.assign_add(sum_(convert(values, "float64")))

    @recorded
    def result(self) -> Any:
        return own.number(self.total.as_tensor())
