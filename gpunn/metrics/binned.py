"""Metrics based on counts: each prediction falls into a bin, and its weight is added there.

Counts are exact, and sums of weights are taken in a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import numpy as np

from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.result import Number
from gpunn.core.recording import recorded
from gpunn.losses.rows import align
from gpunn.ops.conversion import tensors_of
from gpunn.ops.tensor import NeedsValuesError

from .metric import Metric, in_steps, taking


class Binned(Metric):
    """Base class of metrics whose state holds weights in bins; a subclass chooses the bins.

    Its result may be an array. A model's logs hold numbers and so show the summary by
    `compute`. After ``fit`` or ``evaluate``, ``result()`` returns the array of the last
    pass that was read.

    Attributes:
        outputs: width of the predictions, if there are bins for each of them.
        fixed_outputs: the required width, if it was given.
    """

    _abstract = True
    accumulates = "bins"
    sparse = cast("bool | None", None)
    by_output = False
    outputs = cast("int | None", None)
    fixed_outputs = cast("int | None", None)

    def build(self, output_shape: tuple[int, ...]) -> None:
        """Record the number of outputs; a change resets the state.

        Raises:
            ValueError: if the metric was created for a different number.
        """
        width = int(output_shape[-1])
        if self.fixed_outputs not in (None, width):
            raise ValueError(
                f"{self.name} is for {self.fixed_outputs} outputs; the predictions have {width}."
            )
        if not self.by_output or self.outputs == width:
            return
        if taking() is None:
            self.outputs = width
            self.reset_state()
        elif self.outputs is None:
            self.outputs = width
            self.__dict__.pop("_state", None)  # of no outputs
        else:
            raise ValueError(
                f"{self.name} counts {self.outputs} outputs; a call updates it with {width}. Keep "
                f"a metric for each."
            )

    @property
    def bins(self) -> int:
        """The total number of bins."""
        raise TypeError(f"{type(self).__name__} must define bins.")

    @property
    def state_size(self) -> int:  # type: ignore[override]
        if self.by_output and self.outputs is None:
            raise ValueError(
                f"{self.name} counts per output: set the number of outputs with "
                f"build((None, outputs)) before passing it to compile."
            )
        return self.bins

    @cached_property
    def _state(self) -> np.ndarray:
        known = self.outputs is not None or not self.by_output
        return np.zeros(self.bins if known else 0)

    def width(self, classes: int) -> int:
        """Return the number of predictions that are counted per row."""
        return classes

    def place(self, backend: Backend, y_true: Array, y_pred: Array, bins: Array) -> None:
        """bins (rows, width) = the bin of each prediction; y_true (rows,) or like y_pred."""
        raise TypeError(f"{type(self).__name__} must define place(...).")

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        rows, classes = y_pred.shape
        shape = rows, self.width(classes)
        bins = backend.scratch(shape, np.int64, "bins")
        self.place(backend, y_true, y_pred, bins)
        if weights is None:
            amounts = backend.scratch(shape, np.float64, "ones", lambda array: array.fill(1))
        else:
            amounts = backend.scratch(shape, np.float64, "amounts")
            backend.xp.copyto(amounts, weights if weights.ndim == 2 else weights[:, np.newaxis])
        backend.add_to_bins(bins.reshape(-1), amounts.reshape(-1), state)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: y_pred (...) or (..., n); y_true likewise, or (...) of class numbers.

        ``sample_weight`` has one value per row or per prediction.
        """
        trace = taking(y_true, y_pred)
        if trace is not None and not trace.mode.is_eager:
            in_steps().add_bins(trace, self, y_true, y_pred, sample_weight)
            return
        y_pred = host_array(y_pred)
        y_true = np.asarray(y_true)
        one_less = y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] > 1
        labels = one_less and self.sparse is None
        if not labels:
            y_true, y_pred = align(self, y_true, y_pred)
        width = y_pred.shape[-1] if y_pred.ndim > 1 else 1
        self.build((None, width))  # type: ignore[arg-type]
        rows = np.ascontiguousarray(y_pred.reshape(-1, width))
        targets = y_true.reshape(-1) if labels else y_true.reshape(rows.shape)
        weights = self._weights(sample_weight, y_pred, rows.shape)
        if weights is not None and weights.shape[1] > self.width(width):
            raise ValueError(
                f"{self.name}: sample_weight of shape {np.shape(sample_weight)} has one value "
                f"per prediction; expected one per row."
            )
        with np.errstate(all="ignore"):
            self.accumulate(get_backend("numpy"), targets, rows, weights, self._state)

    def _weights(
        self, sample_weight: Any, y_pred: np.ndarray, shape: tuple[int, int]
    ) -> np.ndarray | None:
        """Return weights (rows, 1) or (rows, width), one per row or per prediction."""
        if sample_weight is None:
            return None
        weights = np.asarray(sample_weight, np.float64)
        whole = (*y_pred.shape[:-1], shape[1])
        if y_pred.ndim == 1:
            whole = (len(y_pred), shape[1])
        if 0 < weights.ndim < len(whole):
            weights = weights.reshape(*weights.shape, *(1,) * (len(whole) - weights.ndim))
        by_row = weights.ndim == 0 or weights.shape[-1] == 1
        try:
            weights = np.broadcast_to(weights, (*whole[:-1], 1) if by_row else whole)
        except ValueError:
            raise ValueError(
                f"{self.name}: sample_weight of shape {np.shape(sample_weight)} does not fit "
                f"predictions of shape {y_pred.shape}."
            ) from None
        return weights.reshape(shape[0], -1)

    def array(self, state: np.ndarray) -> np.ndarray:
        """Return the metric, a number or an array, for a state on the host."""
        raise TypeError(f"{type(self).__name__} must define array(state).")

    def compute(self, state: np.ndarray) -> float:
        self._show(state)
        return float(np.mean(self.array(state)))

    @recorded
    def result(self) -> Any:
        """Return the number or array over all batches since the last reset."""
        trace = taking()
        if trace is None or trace.mode.is_eager:
            return self._result_of({})
        if self._state.size and np.ndim(self.array(self._state)):
            raise NeedsValuesError(
                f"the metric {self.name!r} has several results, which are known after a step. Give "
                f"it one, such as by average='macro' or one threshold, or leave its result out of "
                f"what the step returns, and read it after the epoch."
            )
        return in_steps().late_result(trace, self)

    def _result_of(self, kept: Mapping[int, np.ndarray]) -> Any:
        state = self._sums(kept)
        if not state.size:
            return Number(0.0)
        found = self.array(state)
        return Number(found) if np.ndim(found) == 0 else tensors_of(np.array(found))


def divide(a: Any, b: Any) -> np.ndarray:
    """Return a / b, and 0 where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)
