"""Constraints on weights, applied after each update.

``Dense(10, kernel_constraint=MaxNorm(3))`` keeps the norm of the weights that lead into
each unit at 3 or below. A norm is computed over ``axis``: 0 for a kernel (inputs, units),
[0, 1, 2] for a kernel of a convolution (height, width, channels, filters).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from . import activations
from .backends import get_backend
from .backends.contract.backend import Array, Backend
from .common import registry
from .common.arguments import check_fraction, check_not_negative, check_number
from .common.fields import field
from .common.importing.lazy import offer
from .common.parts import Formula, OfOneFunction, described_as, lookups
from .ops.conversion import convert
from .ops.fusion.in_place import Function, Stated, function
from .ops.running.functions import ArrayFunction
from .ops.tensor import Tensor, ops

__all__ = [
    "Constraint", "FunctionConstraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm",
    "deserialize", "get", "max_norm", "min_max_norm", "non_neg", "serialize", "unit_norm",
]
offer(__name__)

EPSILON = 1e-7  # added to a norm before dividing by it, as in Keras


class Constraint(Formula):
    """Base class of constraints, and the constraint that changes nothing.

    A custom constraint implements ``__call__``, which receives a NumPy or CuPy array.

    >>> import numpy as np
    >>> from gpunn.constraints import Constraint
    >>> class _Rounded(Constraint):
    ...     def __call__(self, w):
    ...         return w.round()
    >>> _Rounded()(np.array([0.4, 1.6])).tolist()
    [0.0, 2.0]
    """

    _kind = "constraint"
    _not_watched = frozenset({"_on_arrays"})
    _refused: ClassVar[Mapping[str, str]] = {
        "__call__": "write apply(backend, w), which changes w in place"
    }
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"__call__": ("apply",)}

    def __call__(self, w: Any) -> Any:
        """Return the array nearest to ``w``, or near it, that meets the constraint."""
        return w

    def apply(self, backend: Backend, w: Array) -> None:
        """Apply the constraint to ``w`` in place."""
        backend.xp.copyto(w, self(w))

    __repr__ = registry.call_text


class _BuiltIn(Constraint):
    """Constraint whose formula is `apply`."""

    def __call__(self, w: Any) -> Any:
        w = np.array(w, dtype=np.result_type(np.asarray(w), np.float32))
        self.apply(get_backend("numpy"), w)
        return w


class NonNeg(_BuiltIn):
    """No weight below 0: ``max(w, 0)``.

    After each update, negative weights become 0. It works for any shape, has no arguments, and is
    Keras's.

    >>> from gpunn.constraints import NonNeg
    >>> NonNeg()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    functor = "Relu"  # its kernels compute it

    def apply(self, backend: Backend, w: Array) -> None:
        flat = w.reshape(-1)
        backend.bias_activation(flat, None, activations.Relu(), flat)


def _as_list(axis: Any) -> list[int]:
    return list(axis) if isinstance(axis, (tuple, list)) else [axis]


def _check_axis(name: str, value: Any) -> int | list[int]:
    for number in _as_list(value):
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise TypeError(f"axis must be an integer or a list of them; got {value!r}.")
    return _as_list(value) if isinstance(value, (tuple, list)) else value


class _Norm(Stated, _BuiltIn):
    """w scaled by a factor of |w|, so that |w| lies between ``low`` and ``high``."""

    functor = "NormLimits"
    parameter_names = ("low", "high", "rate", "epsilon")
    low = high = rate = 1.0
    epsilon = EPSILON
    # Without an annotation: each constraint has it as its last argument.
    axis = field(default=0, check=_check_axis)

    def lines(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Return ``shape`` as (outer, n, inner): a norm for each of outer x inner lines of n.

        Raises:
            ValueError: for axes that ``shape`` does not have, or that are not adjacent.
        """
        axes = sorted({a + len(shape) if a < 0 else a for a in _as_list(self.axis)})
        if not axes or axes[0] < 0 or axes[-1] >= len(shape):
            raise ValueError(
                f"{type(self).__name__}: axis={self.axis!r} does not fit weights of shape "
                f"{tuple(shape)}."
            )
        if axes[-1] - axes[0] != len(axes) - 1:
            raise ValueError(f"{type(self).__name__}: axis={self.axis!r} must name adjacent axes.")
        first, stop = axes[0], axes[-1] + 1
        return math.prod(shape[:first]), math.prod(shape[first:stop]), math.prod(shape[stop:])

    def factor(self, norm: Tensor) -> Tensor:
        """Return the factor by which a line of weights with this norm is multiplied."""
        wanted = self.rate * ops.clip(norm, self.low, self.high) + (1.0 - self.rate) * norm
        return wanted / (norm + self.epsilon)

    def _functions(self, dtype: str) -> tuple[Function]:
        from .ops.fusion.formulas import recorded  # few models have a constraint

        factor = recorded(self, "factor", ["norm"])
        return (function(factor, ["norm"], {"factor": "factors"}, over={"factor": "norm"}),)

    def apply(self, backend: Backend, w: Array) -> None:
        xp = backend.xp
        outer, n, inner = self.lines(w.shape)
        lines = w.reshape(outer, n, inner)
        squares = backend.scratch(lines.shape, np.float64, "square")  # finite for any float32
        norms = backend.scratch((outer, 1, inner), np.float64, "norms")
        factors = backend.scratch((outer, 1, inner), w.dtype, "factors")
        xp.copyto(squares, lines)
        xp.square(squares, out=squares)
        xp.sum(squares, axis=1, keepdims=True, out=norms)
        xp.sqrt(norms, out=norms)
        (write_factors,) = self.in_place("float64")
        write_factors(backend, norms, norms)
        xp.copyto(factors, norms, casting="same_kind")
        xp.multiply(lines, factors, out=lines)


class MaxNorm(_Norm):
    """Norms of at most ``max_value``; longer ones are scaled down to it.

    Srivastava et al., "Dropout", 2014, section 5.1. As in Keras, the norm is Euclidean, and with
    ``axis=0`` it is taken of the weights that lead into each unit.

    Args:
        max_value: the largest norm, at least 0.
        axis: the axis of a norm, or several adjacent ones: 0 for a kernel (inputs, units),
            [0, 1, 2] for a kernel of a convolution (height, width, channels, filters).

    Raises:
        ValueError: when applied, for an axis that the weights do not have.

    >>> from gpunn.constraints import MaxNorm
    >>> MaxNorm(2.0)([[3.0, 1.0], [4.0, 0.0]]).round(4).tolist()  # norms of 5 and 1
    [[1.2, 1.0], [1.6, 0.0]]
    """

    examples = ({"max_value": 0.5}, {"max_value": 0.25, "axis": 1})

    max_value: float = field(default=2, check=check_not_negative)
    axis: Any = 0
    low = 0.0

    high = property(attrgetter("max_value"))


class UnitNorm(_Norm):
    """Norms of 1.

    After each update, the weights that lead into each unit are divided by their Euclidean norm, as
    in Keras; weights that are all 0 stay 0. Argument and errors: as for `MaxNorm`.

    >>> from gpunn.constraints import UnitNorm
    >>> UnitNorm()([[3.0], [4.0]]).round(4).tolist()
    [[0.6], [0.8]]
    """

    examples = ({}, {"axis": [0, 1]})

    axis: Any = 0


class MinMaxNorm(_Norm):
    """Norms from ``min_value`` to ``max_value``.

    Weights whose Euclidean norm is outside of these limits are scaled towards the nearest one, as
    in Keras: to the norm ``rate * limit + (1 - rate) * norm``.

    Args:
        min_value, max_value: the limits, at least 0.
        rate: fraction of the way to the nearest limit that one update takes; 1 is all of it.
        axis: as for `MaxNorm`.

    Raises:
        ValueError: for limits in the wrong order or a rate outside of 0 to 1; when applied, for an
            axis that the weights do not have.

    >>> from gpunn.constraints import MinMaxNorm
    >>> MinMaxNorm(0.5, 1.0)([[0.3], [0.4]]).round(4).tolist()  # a norm of 0.5
    [[0.3], [0.4]]
    >>> MinMaxNorm(0.5, 1.0)([[3.0], [4.0]]).round(4).tolist()  # a norm of 5
    [[0.6], [0.8]]
    """

    examples = ({"min_value": 0.5, "max_value": 0.75}, {"rate": 0.5, "axis": -1})

    min_value: float = field(default=0.0, check=check_not_negative)
    max_value: float = field(default=1.0, check=check_number)
    rate: float = field(default=1.0, check=check_fraction)
    axis: Any = 0

    def __post_init__(self) -> None:
        check_number("max_value", self.max_value, self.min_value)

    low = property(attrgetter("min_value"))
    high = property(attrgetter("max_value"))


class FunctionConstraint(OfOneFunction, Constraint):
    """Constraint from a custom function of the weights as a tensor, written with `gpunn.ops`.

    `get` creates it. Files store the name under which it was registered, see
    `gpunn.saving.register_serializable`.

    Args:
        function: the function; it takes a tensor and returns one of the same shape.

    >>> from gpunn import ops
    >>> from gpunn.constraints import get
    >>> get(lambda w: ops.maximum(w, 0.0))([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    _abstract = True
    reads = "weights"
    _of_tensors = True

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._on_arrays = ArrayFunction(
            self._of_tensor, f"The constraint {self.function_name!r}", self, adds_loss=False
        )

    def _of_tensor(self, w: Any) -> Any:
        return self.function(w)

    def __call__(self, w: Any) -> np.ndarray:
        w = np.asarray(w)
        return convert(self.function(convert(w, w.dtype))).numpy()

    def apply(self, backend: Backend, w: Array) -> None:
        self._on_arrays.forward(backend, [w], w)


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


_get, serialize, deserialize = lookups(Constraint)


@described_as(_get)
def get(identifier: Any) -> Constraint | None:
    return None if identifier is None else _get(identifier)
