"""Metrics that are means: of numbers, and of a value for each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, cast

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.names import snake_case
from gpunn.common.parts import OfFunction
from gpunn.common.registry import Examples
from gpunn.core.recording import recorded
from gpunn.losses.rows import align
from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import where
from gpunn.ops.reductions import mean
from gpunn.ops.running.functions import ArrayFunction
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape
from gpunn.ops.tensor import Tensor

from .metric import BY_ITSELF, Metric, counting, in_steps, predictions, taking

__all__ = ["Mean", "MeanMetricWrapper", "MeanOfRows"]


class Mean(Metric):
    """The weighted mean of the given values: ``sum w v / sum w``.

    Unlike other metrics, it takes values instead of targets and predictions, such as the losses of
    the batches of a custom training loop. Values are a number, or an array with one entry per
    sample, (batch,) or (batch, ...). The result is 0 before the first value.

    Args:
        name, dtype: see `Metric`.

    >>> from gpunn.metrics import Mean
    >>> m = Mean()
    >>> m.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    >>> m.result()
    2.0
    """

    direction = "down"
    _is_mean = True
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = BY_ITSELF
    examples: ClassVar[Examples] = ({}, {"name": "average"})

    name = cast("str | None", "mean")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("total", "count") if self._keeps_variables else ():
            setattr(self, name, self.add_weight(dtype="float64", name=name))

    @recorded
    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add values: a number, or an array with one entry (or several, averaged) per sample."""
        if self._keeps_variables:
            self._add(values, sample_weight)
            return
        if (trace := taking(values)) is not None:
            in_steps().add_values(trace, self, values, sample_weight)
            return
        add_samples(self._state, np.asarray(values, np.float64), sample_weight)

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        raise TypeError(
            f"{type(self).__name__} is updated with values, not with targets and predictions: do "
            f"it in train_step or in the call of a layer, and leave it out of metrics."
        )

    def _add(self, values: Any, sample_weight: Any) -> None:
        sums = in_steps().sums_of(values, sample_weight)
        for name, added in zip(("total", "count"), sums, strict=True):
            getattr(self, name).assign_add(convert(added, "float64"))

    @recorded
    def result(self) -> Any:
        if not self._keeps_variables:
            return super().result()
        total, count = (convert(getattr(self, name)) for name in ("total", "count"))
        return where(equal(count, 0.0), 0.0, total / where(equal(count, 0.0), 1.0, count))

    def compute(self, state: np.ndarray) -> float:
        return float(state[0] / state[1]) if state[1] else 0.0


class MeanOfRows(Mean):
    """Base class of means over rows; `rows` computes the value of each row.

    A subclass writes (rows,) values from ``y_true`` and ``y_pred`` (rows, n), with ``backend.xp``
    or NumPy's functions. Sample weights and the sums over batches are computed here.

    Args:
        name, dtype: see `Metric`.

    Attributes:
        elementwise: True if elements count separately (as in binary accuracy);
            a row's value is then the mean over its elements.

    >>> from gpunn.metrics import MeanOfRows
    >>> class _Largest(MeanOfRows):
    ...     def rows(self, backend, y_true, y_pred, values):
    ...         backend.xp.max(abs(y_true - y_pred), axis=-1, out=values)
    >>> _Largest()([[0.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [1.0, 3.0]])  # the mean of 4 and 2
    3.0
    """

    _abstract = True
    _is_mean = False
    _of_rows = True
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = Metric._reached_by
    direction = "up"
    elementwise = False
    _refused: ClassVar[Mapping[str, str]] = {
        "values": "write rows(backend, y_true, y_pred, values)"
    }

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        """values (rows,) = the value of each row; y_pred (rows, n)."""
        raise TypeError(f"{type(self).__name__} must define rows(...).")

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        values = backend.scratch((len(y_pred),), y_pred.dtype, "metric")
        self.rows(backend, y_true, y_pred, values)
        self._add_rows(backend, values, weights, state)

    @staticmethod
    def _add_rows(backend: Backend, values: Array, weights: Array | None, state: Array) -> None:
        """state += (sum of weighted values, sum of weights), of (rows,) each."""
        xp, rows = backend.xp, len(values)
        added = backend.scratch((2,), np.float64, "metric added")
        if weights is None:
            sums = backend.scratch((2, rows), np.float64, "metric", lambda array: array.fill(1))
            xp.copyto(sums[0], values)
        else:
            sums = backend.scratch((2, rows), np.float64, "weighted metric")
            xp.copyto(sums[0], values)
            xp.copyto(sums[1], weights)
            xp.multiply(sums[0], sums[1], out=sums[0])
        backend.row_sums(sums, added)
        xp.add(state, added, out=state)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch: y_pred (..., n) and y_true of the same shape, or (...) of class numbers."""
        sample_weight = counting(y_pred, sample_weight)
        if (trace := taking(y_true, y_pred)) is not None:
            in_steps().add_rows(trace, self, y_true, y_pred, sample_weight)
            return
        add_samples(self._state, self.values(y_true, y_pred).astype(np.float64), sample_weight)

    def values(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """Return the value of each row, or of each element if elements count separately."""
        y_true, y_pred = align(self, y_true, predictions(y_true, y_pred))
        if self.elementwise:
            shape, width = y_pred.shape, 1
        else:
            shape, width = y_pred.shape[:-1], y_pred.shape[-1]
        rows = y_pred.reshape(-1, width)
        values = np.empty(len(rows), y_pred.dtype)
        targets = y_true.reshape(-1) if self.sparse else y_true.reshape(rows.shape)
        self.rows(get_backend("numpy"), targets, rows, values)
        return values.reshape(shape)


class MeanMetricWrapper(OfFunction, MeanOfRows):
    """The mean over rows of a custom function ``fn(y_true, y_pred)``.

    The function takes tensors (batch, ...) and returns one value per sample, or several, which
    are averaged. Write it with `gpunn.ops`.

    Args:
        fn: the function of ``(y_true, y_pred)``.
        name: shown in logs; by default the name of the function.
        dtype: accepted as in Keras; metrics count in float64.
        **kwargs: further arguments of ``fn``.

    Raises:
        TypeError: if ``fn`` is not a function.

    >>> from gpunn.metrics import MeanMetricWrapper
    >>> m = MeanMetricWrapper(lambda t, p: abs(t - p), name="mae")
    >>> float(m([[1.0], [2.0]], [[2.0], [4.0]]))
    1.5
    """

    _of_tensors = _is_mean = True
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = BY_ITSELF
    sparse = None
    direction = "down"
    examples = ()
    function_argument = "fn"

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be a function of (y_true, y_pred); got {fn!r}.")
        own = getattr(fn, "__name__", None) or snake_case(type(fn).__name__)
        super().__init__(name=name or own.strip("<>"), dtype=dtype)  # "lambda", as in Keras
        self.fn = fn
        self.options = kwargs

    @cached_property
    def _of_samples(self) -> ArrayFunction:
        return ArrayFunction(self._means, f"The metric {self.name!r}", self, adds_loss=False)

    @cached_property
    def _of_steps(self) -> ArrayFunction:
        means = partial(self._means, of_steps=True)
        return ArrayFunction(means, f"The metric {self.name!r}", self, adds_loss=False)

    def build(self, output_shape: tuple[int, ...]) -> None:
        self.output_sample = output_shape

    def _means(self, y_true: Tensor, y_pred: Tensor, of_steps: bool = False) -> Tensor:
        """Return the function's value for each sample (batch,), or for each of its steps (batch,
        steps). Steps are the entries along all axes but the last. Further values are averaged."""
        rows = y_pred.shape[0]
        sample = self.output_sample or y_pred.shape[1:]
        values = convert(
            self.fn(y_true, reshape(y_pred, (rows, *sample)), **self.options), y_pred.dtype
        )
        shape = (rows, math.prod(sample[:-1])) if of_steps else (rows,)
        if values.shape[: len(sample)] == (rows, *sample[:-1]):
            return mean(reshape(values, (*shape, -1)), -1)
        if values.ndim and values.shape[0] == rows:
            values = mean(reshape(values, (rows, -1)), 1)
            values = expand_dims(values, 1) if of_steps else values
        return broadcast_to(values, shape)

    def rows(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self._of_samples.forward(backend, [y_true, y_pred], values)

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        if weights is None or weights.ndim == 1:
            super().accumulate(backend, y_true, y_pred, weights, state)
            return
        values = backend.scratch(weights.shape, y_pred.dtype, "metric")
        self._of_steps.forward(backend, [y_true, y_pred], values)
        self._add_rows(backend, values.reshape(-1), weights.reshape(-1), state)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch."""
        sample_weight = counting(y_pred, sample_weight)
        as_floats = taking() is None and not self._keeps_variables
        y_pred = predictions(y_true, y_pred) if as_floats else convert(y_pred)
        values = self.fn(convert(y_true), convert(y_pred, y_pred.dtype), **self.options)
        Mean.update_state(self, convert(values).numpy() if as_floats else values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "name": self.name, **self.options}


def add_samples(state: np.ndarray, values: np.ndarray, sample_weight: Any) -> None:
    """state += (sum of weighted values, sum of weights), one value per sample.

    As in Keras, values and weights are averaged over further axes.
    """
    if sample_weight is None:
        sample_weight = np.ones(values.shape[:1])
    weights = np.asarray(sample_weight, np.float64)
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if values.ndim == weights.ndim + 1 and values.shape[-1] == 1 and weights.ndim:
        values = values[..., 0]
    if values.ndim > weights.ndim:
        values = values.mean(axis=tuple(range(weights.ndim, values.ndim)))
    try:
        weights = np.broadcast_to(weights, values.shape)
    except ValueError:
        raise ValueError(
            f"sample_weight of shape {np.shape(sample_weight)} does not fit values of shape "
            f"{values.shape}."
        ) from None
    values = values * weights
    if values.ndim > 1:
        axes = tuple(range(1, values.ndim))
        values, weights = values.mean(axis=axes), weights.mean(axis=axes)
    state[0] += values.sum()
    state[1] += weights.sum()
