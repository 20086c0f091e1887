"""The base class of metrics: a small state, updated batch by batch, and a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from gpunn import initializers
from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import name_first
from gpunn.common.config import floatx
from gpunn.common.fields import field
from gpunn.common.names import snake_case
from gpunn.common.nested import found_in
from gpunn.common.overrides import is_framework
from gpunn.common.parts import Formula
from gpunn.common.result import Number
from gpunn.core.recording import recorded
from gpunn.core.storage import Parameter
from gpunn.losses.on_tensors import masked
from gpunn.losses.rows import align, check_equal
from gpunn.ops.dtypes import first_inexact
from gpunn.ops.tensor import NeedsValuesError, Tensor
from gpunn.ops.trace import Trace, current

from . import own

if TYPE_CHECKING:
    from gpunn.ops.variable import Variable

__all__ = ["Metric"]

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
    _extends: ClassVar[Any] = None
    """The class that a custom one extends by `update_state` or `result`: see `own.counter_of`."""
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
        self.dtype = self.dtype or floatx()

    # Not annotated: type checkers take annotated attributes for constructor arguments.
    output_sample = cast("tuple[int, ...] | None", None)
    """Shape of one sample of the predictions, for a metric that defines `update_state`."""

    @cached_property
    def _state(self) -> np.ndarray:
        """The metric's own state (state_size,), for `update_state`. It is created on first use,
        after the constructors of subclasses have run."""
        return np.zeros(self.state_size)

    def __init_subclass__(cls) -> None:
        ours = is_framework(cls)
        base = own.extends(cls)
        if base is not None:
            cls._reached_by = BY_ITSELF
            cls._extends = base._extends if base._of_tensors else base
        super().__init_subclass__()
        by_result = (cls._is_mean or base is not None) and "result" in vars(cls)
        for name in ("update_state", "result"):
            if ours and name in vars(cls):
                setattr(cls, name, own.by_counter(vars(cls)[name]))
        if ("update_state" in vars(cls) or by_result) and (not ours or cls._of_variables):
            cls._keeps_variables, cls._of_rows = cls._is_mean, False
            for name, value in _BY_UPDATE_STATE.items():
                if not (ours and name in vars(cls)):
                    setattr(cls, name, value)
            if base is not None:  # the metric that counts for it has what these say
                for name in ("accumulates", "elementwise", "of_largest"):
                    setattr(cls, name, getattr(Metric, name))
                cls.sparse = own.Unseen()  # type: ignore[assignment]

    @name_first("shape")
    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Create a variable that a custom `update_state` assigns to; for use in constructors."""
        from gpunn.ops.variable import Variable

        first = initializers.get(initializer or "zeros")
        variable = Variable(first, shape, dtype, name=name)
        variable.of_metric = True
        self.__dict__.setdefault("_variables", []).append(variable)
        return variable

    add_variable = add_weight

    _dtype = property(lambda self: self.dtype)  # as classes written for Keras call it

    @property
    def variables(self) -> list[Variable]:
        """The variables that `add_weight` created, in order; of a built-in mean ``total`` and
        ``count``, and of counts those of Keras, such as ``true_positives``, of what the object
        itself has counted.

        >>> from gpunn.metrics import Mean
        >>> mean = Mean()
        >>> mean.update_state([1.0, 3.0])
        >>> [(v.name, float(v)) for v in mean.variables]
        [('total', 4.0), ('count', 2.0)]
        """
        sums = [v for one in own.counters(self) for v in one._sums_as_variables()]
        return [*self._own_variables, *sums]

    @property
    def _own_variables(self) -> list[Variable]:
        """The variables that `add_weight` created, in order, and of a class of one's own others
        among its attributes, and those of such metrics there."""
        found = dict.fromkeys(vars(self).get("_variables", ()))
        for one in self._held:
            found.update(dict.fromkeys(one._own_variables if isinstance(one, Metric) else [one]))
        for variable in found:
            variable.of_metric = True
        return list(found)

    @property
    def _held(self) -> list[Any]:
        """The variables and metrics among the attributes of a class that defines `update_state`,
        also in lists and dictionaries."""
        if not self._of_tensors:
            return []

        from gpunn.ops.variable import Variable

        own.counter_of(self)  # which is an attribute from then on
        held = {name: value for name, value in vars(self).items() if name not in self._not_watched}
        found = found_in(held, (Variable, Metric))
        return [one for one in found if not isinstance(one, Parameter)]

    @property
    def _metrics_held(self) -> list[Metric]:
        """The metrics among them."""
        return [one for one in self._held if isinstance(one, Metric)]

    @property
    def _parts(self) -> Sequence[str]:
        """The names of what the state holds, for `variables`."""
        is_mean = not self._of_tensors and (self._of_rows or self._is_mean)
        return ("total", "count") if is_mean else ()

    def _part(self, state: np.ndarray, name: str) -> np.ndarray:
        """Return the part of a state with this name."""
        return np.array(state[self._parts.index(name)])

    def _put_part(self, state: np.ndarray, name: str, value: np.ndarray) -> None:
        """Write it."""
        state[self._parts.index(name)] = value

    def _sums_as_variables(self) -> list[Variable]:
        """The parts of the state as variables."""
        if not self._parts:
            return []

        from gpunn.ops.variable import StateVariable

        def of(name: str) -> StateVariable:
            def put(value: np.ndarray) -> None:
                sums = self._sums()
                self._put_part(sums, name, value)
                self._put_sums(sums)

            def read() -> np.ndarray:
                return self._part(self._sums(), name)

            return StateVariable(f"{self.name}/{name}", read().shape, "float64", read, put)

        return [of(name) for name in self._parts]

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

    @own.by_counter
    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch to this object's own state."""
        sample_weight = counting(y_pred, sample_weight)
        if (trace := taking(y_true, y_pred)) is not None:
            in_steps().add_rows(trace, self, y_true, y_pred, sample_weight)
            return
        y_pred = predictions(y_true, y_pred)
        y_true, y_pred = align(self, y_true, y_pred)
        weights = None if sample_weight is None else np.ravel(sample_weight).astype(y_pred.dtype)
        self.accumulate(get_backend("numpy"), y_true, y_pred, weights, self._state)

    @own.by_counter
    @recorded
    def result(self) -> float:
        """Return the value over all batches since the last reset; 0 before the first."""
        trace = taking()
        if trace is not None and not trace.mode.is_eager:
            return cast(float, in_steps().late_result(trace, self))
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
        return self.__dict__.setdefault("_counted", [])

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self)["dtype"] = vars(self).get("dtype") or floatx()  # a pickle of an earlier version

    @recorded
    def reset_state(self) -> None:
        """Forget all batches. A model calls it before every pass over the data, whose sums start
        at 0 in any case. A metric that keeps more than its state overrides it."""
        if taking() is not None:
            raise NeedsValuesError(f"{self.name} is reset inside a step: reset it between steps.")
        self.__dict__.pop("_state", None)
        for backend, array, _ in self._on_devices:
            backend.write(array, np.zeros(array.shape))
        for variable in self._own_variables:
            variable.reset()
        for metric in self._metrics_held:
            metric.reset_state()

    def stateless_update_state(self, metric_variables: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the state after a batch of arguments for `update_state`; this object keeps its
        own. States are arrays, one for each of `variables`, or one of a metric without; `variables`
        are a state, too, and the empty list stands for the state of this object.

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
        given, variables = [np.shape(a) for a in values], twin.variables
        if not given:
            return twin
        if given == [v.shape for v in variables]:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        elif not twin._own_variables and given == [twin._state.shape]:
            twin.__dict__["_state"] = np.array(values[0], np.float64)
        else:
            shapes = [v.shape for v in variables] or [twin._state.shape]
            raise ValueError(
                f"The state of the metric {self.name!r} has the shapes {shapes}; got {given}."
            )
        return twin

    def check(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Raise an error for shapes that do not match."""
        check_equal(self.name, y_true_shape, y_pred_shape)

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        self.update_state(*args, **kwargs)
        return self.result()


# Attributes of a custom class that defines `update_state`: see `own`.
_BY_UPDATE_STATE: dict[str, Any] = {
    "_of_tensors": True, "accumulate": own.accumulate, "compute": own.compute,
    "_sums": own.sums, "_put_sums": own.put_sums, "_value": own.value,
    "state_size": property(own.state_size), "build": own.build, "check": own.check, "functor": None,
    "sparse": None, "predictions": None, "targets": None, "remedy": None,
}


# A custom subclass may write these two: nothing else calls what they replace.
BY_ITSELF = {"update_state": ("update_state",), "result": ("result",)}


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
            "what it computes. Update it in the call of a layer or model, in train_step, or in the "
            "update_state of a metric that holds it; one of your own counts in its variables."
        )
    return None


def in_steps() -> Any:
    """Return the module that updates metrics in steps, which `fit` does not need."""
    from . import in_steps as found

    return found


def predictions(y_true: Any, y_pred: Any) -> np.ndarray:
    """Return predictions as floats: float64 if floatx would round integers in either array."""
    arrays = [a for a in (y_true, y_pred) if not hasattr(a, "__cuda_array_interface__")]
    wide = any(first_inexact(np.asarray(a), floatx()) is not None for a in arrays)
    return host_array(y_pred, "float64" if wide else None)
