"""The base class of metrics: a small state, updated batch by batch, and a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np

from gpunn import initializers
from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import name_first
from gpunn.common.config import floatx
from gpunn.common.fields import field
from gpunn.common.formula import Formula
from gpunn.common.functions import OfFunction
from gpunn.common.names import snake_case
from gpunn.common.overrides import is_framework
from gpunn.common.registry import Examples
from gpunn.common.result import Number
from gpunn.core.recording import recorded
from gpunn.losses.on_tensors import masked
from gpunn.losses.rows import align, check_equal
from gpunn.ops.arithmetic import equal
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import first_inexact
from gpunn.ops.elementwise import where
from gpunn.ops.reductions import mean
from gpunn.ops.running.functions import ArrayFunction
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape
from gpunn.ops.tensor import NeedsValuesError, Tensor
from gpunn.ops.trace import Trace, current
from gpunn.ops.variable import Variable

from . import own

__all__ = ["Mean", "MeanMetricWrapper", "MeanOfRows", "Metric"]

_NONE: Mapping[int, np.ndarray] = MappingProxyType({})


class Metric(Formula):
    """Base class of metrics: a float64 state on the device, read once per epoch.

    A subclass defines `accumulate` (with ``backend.xp``, adding to ``state``) and
    `compute` (from the state on the host). Most metrics are means over rows: subclass
    `MeanOfRows` for these. Outside a model, a metric keeps its own state:
    ``update_state``, ``result``, ``reset_state``.

    Args:
        name: shown in logs.
        dtype: accepted as in Keras; metrics count in float64.

    Attributes:
        state_size: length of the state, which may depend on the shape passed to `build`.
        sparse: True if ``y_true`` holds one class number per row; None if both forms work.
        functor: name of the formula of the kernels, in ``kernels/formulas/metrics.cuh``; None if
            they have none.
        parameter_names: attributes that are passed to this formula.
        accumulates: what a GPU adds to the state: ``"rows"`` (the means of rows), ``"losses"`` (of
            a loss), ``"bins"`` (counts) or ``"columns"`` (sums of targets).
        of_largest: True if only the place of each row's largest prediction matters.
        direction: ``"up"`` if higher is better, ``"down"`` if lower is.
        predictions: kind that it needs, as for `gpunn.losses.Loss.predictions`. In a model whose
            loss takes logits or scores, a metric that needs probabilities gets them. ``"numbers"``:
            class numbers; of other predictions there is a warning.
        targets: likewise; a metric that needs ``"bits"`` gets 0 instead of -1.
        remedy: what to do if the loss reads class numbers but the metric needs a target
            for each of several outputs; None if class numbers are enough.

    As in Keras, a subclass may define `update_state` and `result` with `gpunn.ops` instead:

    >>> from gpunn import ops
    >>> from gpunn.metrics import Metric
    >>> class _Worst(Metric):
    ...     def __init__(self, name="worst"):
    ...         super().__init__(name=name)
    ...         self.worst = self.add_weight()
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         error = ops.max(ops.abs(ops.subtract(y_true, y_pred)))
    ...         self.worst.assign(ops.maximum(self.worst, error))
    ...     def result(self):
    ...         return self.worst
    >>> metric = _Worst()
    >>> metric.update_state([[1.0], [2.0]], [[1.5], [5.0]])
    >>> float(metric.result())
    3.0
    """

    _kind = "metric"
    __experimental__ = frozenset(
        {"accumulates", "elementwise", "of_largest", "output_sample", "predictions", "remedy"}
        | {"sparse", "state_size", "targets"}
    )
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = {"of_largest": False}
    _not_watched = frozenset({"_state", "_counted", "_of_samples", "_of_steps"})
    _refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("update_state", "result", "stateless_update_state", "stateless_result"),
            "derive from gpunn.metrics.Metric and write update_state(y_true, y_pred, "
            "sample_weight) and result(), or accumulate(backend, y_true, y_pred, weights, state) "
            "and compute(state), or, in a subclass of MeanOfRows, rows(backend, y_true, y_pred, "
            "values)",
        ),
        "stateless_reset_state": "write reset_state()",
    }
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "update_state": ("accumulate", "compute"),
        "result": ("accumulate", "compute"),
    }
    _is_mean = False
    """True for a mean of values whose custom subclasses may write `update_state` and `result`."""
    _of_rows = False
    _ignored = cast("int | None", None)  # the class that the loss of its model ignores
    """True for a mean of the values of rows, each with its weight."""
    _keeps_variables = False
    """True for such a subclass: its sums are the variables ``total`` and ``count``, as in Keras."""
    _of_variables = False
    """True for a built-in class that is written as a user's: its `update_state` and `result`
    compute with variables, by `gpunn.ops`, on every backend."""
    state_size = 2
    elementwise = False
    # Not annotated: type checkers take annotated attributes for constructor arguments.
    sparse = cast("bool | None", False)
    accumulates = "rows"
    of_largest = False
    direction = "up"
    predictions: ClassVar[str | None] = None
    targets: ClassVar[str | None] = None
    remedy: ClassVar[str | None] = None

    name: str | None = field(default=None, kw_only=True, placed=True)
    dtype: Any = field(default=None, kw_only=True, placed=True)

    def __post_init__(self) -> None:
        self.name = self.name or snake_case(type(self).__name__)

    # Not annotated: type checkers take annotated attributes for constructor arguments.
    output_sample = cast("tuple[int, ...] | None", None)
    """Shape of one sample of the predictions, for a metric that defines `update_state`."""

    @cached_property
    def _state(self) -> np.ndarray:
        """The metric's own state (state_size,), for `update_state`. It is created on first use,
        after the constructors of subclasses have run."""
        return np.zeros(self.state_size)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ours = is_framework(cls)
        by_result = cls._is_mean and "result" in vars(cls)
        if ("update_state" in vars(cls) or by_result) and (not ours or cls._of_variables):
            cls._keeps_variables, cls._of_rows = cls._is_mean, False
            for name, value in _BY_UPDATE_STATE.items():
                if not (ours and name in vars(cls)):
                    setattr(cls, name, value)

    @name_first("shape")
    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Create a variable that a custom `update_state` assigns to; for use in constructors."""
        first = initializers.get(initializer or "zeros")
        variable = Variable(first, shape, dtype, name=name)
        variable.of_metric = True
        self.__dict__.setdefault("_variables", []).append(variable)
        return variable

    add_variable = add_weight

    @property
    def variables(self) -> list[Variable]:
        """The variables that `add_weight` created, in order."""
        return list(vars(self).get("_variables", ()))

    def build(self, output_shape: tuple[int, ...]) -> None:
        """Record the shape of the predictions, if the state depends on it."""

    def accumulate(
        self, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        """Add a batch: y_pred (rows, n), y_true (rows,) or (rows, n), weights (rows,) or None."""
        raise TypeError(f"{type(self).__name__} must define accumulate(...).")

    def compute(self, state: np.ndarray) -> float:
        """Return the value for a state on the host."""
        raise TypeError(f"{type(self).__name__} must define compute(state).")

    def _value(self, state: np.ndarray) -> Any:
        """Return what `result` returns for a state on the host: a number, or numbers by name."""
        return self.compute(state)

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch to this object's own state."""
        sample_weight = counting(y_pred, sample_weight)
        if (trace := taking(y_true, y_pred)) is not None:
            _in_steps().add_rows(trace, self, y_true, y_pred, sample_weight)
            return
        y_pred = predictions(y_true, y_pred)
        y_true, y_pred = align(self, y_true, y_pred)
        weights = None if sample_weight is None else np.ravel(sample_weight).astype(y_pred.dtype)
        self.accumulate(get_backend("numpy"), y_true, y_pred, weights, self._state)

    @recorded
    def result(self) -> float:
        """Return the value over all batches since the last reset; 0 before the first."""
        trace = taking()
        if trace is not None and not trace.mode.is_eager:
            return cast(float, _in_steps().late_result(trace, self))
        return self._result_of(_NONE)

    def _result_of(self, kept: Mapping[int, np.ndarray]) -> float:
        """Return the value, by earlier states of the arrays with these ``id``."""
        return Number(self.compute(self._sums(kept)))

    def _sums(self, kept: Mapping[int, np.ndarray] = _NONE) -> np.ndarray:
        """Return the state so far, as `compute` takes it; ``kept`` as in `_result_of`."""
        found: np.ndarray = self._state.copy()
        for backend, array, of in self._on_devices:
            state = kept.get(id(array))
            found += (backend.read(array) if state is None else state) / of
        return found

    def _show(self, state: np.ndarray) -> None:
        """Let attributes show a state that a model has counted, unless the object counts itself."""
        if not self._on_devices:
            self.__dict__["_state"] = np.array(state)

    def _put_sums(self, sums: np.ndarray) -> None:
        """Let the state be what `_sums` returned."""
        self.reset_state()
        self.__dict__["_state"] = np.array(sums, np.float64)

    @property
    def _on_devices(self) -> list[tuple[Backend, Array, int]]:
        """What steps have counted: a backend, an array, and how often it counts everything."""
        found: list[tuple[Backend, Array, int]] = self.__dict__.setdefault("_counted", [])
        return found

    def _state_on(self, backend: Backend, of: int = 1) -> Array:
        """Return the array to which the steps of a backend add ``of`` times what they count."""
        for known, array, times in self._on_devices:
            if known is backend.root and times == of:
                return array
        array = backend.zeros(self._state.shape, np.float64)
        self._on_devices.append((cast(Backend, backend.root), array, of))
        return array

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        if state.pop("_counted", ()):
            state["_state"] = Metric._sums(self)
        return state

    @recorded
    def reset_state(self) -> None:
        """Forget all batches. A model calls it before every pass over the data, whose sums start
        at 0 in any case. A metric that keeps more than its state overrides it."""
        if taking() is not None:
            raise NeedsValuesError(f"{self.name} is reset inside a step: reset it between steps.")
        self.__dict__.pop("_state", None)
        for backend, array, _ in self._on_devices:
            backend.write(array, np.zeros(array.shape))
        for variable in self.variables:
            variable.reset()

    def stateless_update_state(self, metric_variables: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the state after a batch of arguments for `update_state`; this object keeps its
        own. States are arrays, one for each of `variables`, or one if there are none; the empty
        list stands for the state of this object.

        Raises:
            ValueError: if such a metric has other arrays.

        >>> from gpunn.metrics import Mean
        >>> m = Mean()
        >>> state = m.stateless_update_state(m.stateless_reset_state(), [1, 3])
        >>> m.stateless_result(state), m.result()
        (2.0, 0.0)
        """
        twin = self._at(metric_variables)
        twin.update_state(*args, **kwargs)
        return twin._arrays()

    def stateless_result(self, metric_variables: Any) -> Any:
        """Return the value for a state; see `stateless_update_state`."""
        return self._at(metric_variables).result()

    def stateless_reset_state(self) -> list[Any]:
        """Return the state before the first batch; see `stateless_update_state`."""
        twin = self._at(())
        twin.reset_state()
        return twin._arrays()

    def _arrays(self) -> list[Any]:
        return [v.numpy() for v in self.variables] or [self._state]

    def _at(self, values: Any) -> Metric:
        """Return a copy with these arrays as its state."""
        if _step() is not None:
            raise NeedsValuesError(f"{self.name} has no stateless calls inside a step.")
        twin = deepcopy(self)
        shapes = [np.shape(a) for a in twin._arrays()]
        if len(values) and [np.shape(a) for a in values] != shapes:
            raise ValueError(
                f"The state of the metric {self.name!r} has the shapes {shapes}; got "
                f"{[np.shape(a) for a in values]}."
            )
        for variable, value in zip(twin.variables, values, strict=False):
            variable.assign(value)
        if len(values) and not twin.variables:
            twin.__dict__["_state"] = np.array(values[0], np.float64)
        return twin

    def check(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Raise an error for shapes that do not match."""
        check_equal(self.name, y_true_shape, y_pred_shape)

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "dtype"}


# Attributes of a custom class that defines `update_state`: see `own`.
_BY_UPDATE_STATE: dict[str, Any] = {
    "_of_tensors": True, "accumulate": own.accumulate, "compute": own.compute,
    "_sums": own.sums, "_put_sums": own.put_sums, "_value": own.value,
    "state_size": property(own.state_size), "build": own.build, "check": own.check, "functor": None,
    "sparse": None, "predictions": None, "targets": None, "remedy": None,
}


# A custom subclass may write these two: nothing else calls what they replace.
_BY_ITSELF = {"update_state": ("update_state",), "result": ("result",)}


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
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = _BY_ITSELF
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
            _in_steps().add_values(trace, self, values, sample_weight)
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
        sums = _in_steps().sums_of(values, sample_weight)
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
            _in_steps().add_rows(trace, self, y_true, y_pred, sample_weight)
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
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = _BY_ITSELF
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
        return ArrayFunction(self._means, f"The metric {self.name!r}", self)

    @cached_property
    def _of_steps(self) -> ArrayFunction:
        means = partial(self._means, of_steps=True)
        return ArrayFunction(means, f"The metric {self.name!r}", self)

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


def counting(y_pred: Any, weight: Any) -> Any:
    """Return the weights of rows, by which steps that the mask of ``y_pred`` leaves out do not
    count, as in Keras."""
    mask = getattr(y_pred, "_keras_mask", None)
    return weight if mask is None else masked(mask, weight)


def _step() -> Trace | None:
    """Return the trace of the step that is being traced, if any."""
    trace = current()
    return trace if trace is not None and trace.mode.is_step else None


def taking(*given: Any) -> Trace | None:
    """Return the trace of a step, or of the call of a layer, in which metrics may be updated.

    Raises:
        NeedsValuesError: for tensors without values in another trace, which updates nothing.
    """
    trace = current()
    if trace is None or trace.takes_metrics:
        return trace
    if any(isinstance(x, Tensor) and not x.has_values for x in given):
        raise NeedsValuesError(
            "A metric is updated in a function that steps do not call, such as a loss: they repeat "
            "what it computes. Update it in the call of a layer or model, or in train_step."
        )
    return None


def _in_steps() -> Any:
    from . import in_steps  # which `fit` does not need

    return in_steps


def predictions(y_true: Any, y_pred: Any) -> np.ndarray:
    """Return predictions as floats: float64 if floatx would round integers in either array."""
    arrays = [a for a in (y_true, y_pred) if not hasattr(a, "__cuda_array_interface__")]
    wide = any(first_inexact(np.asarray(a), floatx()) is not None for a in arrays)
    return host_array(y_pred, "float64" if wide else None)


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
