"""Regularizers: penalties on weights, added to the loss once per batch.

``Dense(10, kernel_regularizer=L2(1e-4))`` adds 1e-4 times the sum of the squared weights
to the loss of each batch, in training and in `evaluate`, as in Keras. Only trainable
weights count. Half a sum of squares, as in some books, is ``L2(factor / 2)``.
With plain SGD, ``L2(factor)`` is the same as ``weight_decay=2 * factor``; with optimizers
that scale their steps it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .backends.contract.backend import Array, Backend
from .common import registry
from .common.arguments import choice
from .common.fields import field
from .common.importing.lazy import offer
from .common.overrides import is_framework, replaces
from .common.parts import Formula, OfOneFunction, described_as, lookups
from .ops.conversion import convert, read_in_trace
from .ops.reductions import sum_
from .ops.running.functions import ArrayFunction
from .ops.tensor import Tensor, ops

__all__ = [
    "L1", "L1L2", "L2", "FunctionRegularizer", "OrthogonalRegularizer", "Regularizer",
    "deserialize", "get", "l1", "l1_l2", "l2", "orthogonal_regularizer", "serialize",
]
offer(__name__)

LEAST_NORM = 1e-12  # the squared length of the shortest row that is scaled to length 1


class Regularizer(Formula):
    """Base class of regularizers. A custom penalty implements ``__call__`` with `gpunn.ops`.

    It receives the weights as a tensor and needs no derivative. If a class also implements
    `gradient`, both methods receive the weights as a NumPy or CuPy array.

    >>> from gpunn import ops
    >>> import numpy as np
    >>> from gpunn.regularizers import Regularizer
    >>> class _Large(Regularizer):
    ...     def __call__(self, x):
    ...         return ops.max(ops.abs(x))
    >>> float(_Large()([1.0, -2.0]))
    2.0
    >>> class _Cubes(Regularizer):
    ...     def __call__(self, x):
    ...         return np.sum(np.abs(x) ** 3)
    ...     def gradient(self, x):
    ...         return 3 * x * np.abs(x)
    >>> float(_Cubes()(np.array([1.0, -2.0])))
    9.0
    """

    _kind = "regularizer"
    _not_watched = frozenset({"_on_arrays"})
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = {"coefficients": None}
    coefficients: ClassVar[tuple[float, float] | None] = None
    """(l1, l2) of a penalty ``l1 sum(|w|) + l2 sum(w^2)``; None for any other."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if replaces(cls, "__call__"):
            ours = is_framework(cls.penalty)
            cls._of_tensors = ours and not replaces(cls, "gradient")
            if ours:
                cls.penalty = _traced_penalty if cls._of_tensors else Regularizer.penalty  # type: ignore[method-assign]

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weights ``x``, a scalar."""
        raise TypeError(f"{type(self).__name__} must define __call__(x).")

    def gradient(self, x: Any) -> Any:
        """Return the derivative with respect to the weights, by default of ``__call__``."""
        from .ops.library.derivatives import grad  # training knows it

        return grad(self)(_as_tensor(x)).numpy()

    def penalty(self, backend: Backend, w: Array, gradient: Array | None) -> Any:
        """Return the penalty of ``w``, and add its derivative to ``gradient``, if given."""
        if gradient is not None:
            backend.xp.add(gradient, self.gradient(w), out=gradient)
        return self(w)

    __repr__ = registry.call_text


def _traced_penalty(self: Any, backend: Backend, w: Array, gradient: Array | None) -> Any:
    """Compute `Regularizer.penalty` by ``__call__`` on a tensor."""
    values = backend.scratch((1,), w.dtype, "penalty")
    slopes = None
    if gradient is not None:
        slopes = backend.scratch(w.shape, w.dtype, "penalty's gradient")
    _on_arrays(self).with_gradient(backend, [w], values, slopes)
    if gradient is not None:
        backend.xp.add(gradient, slopes, out=gradient)
    return values[0]


def _on_arrays(regularizer: Any) -> ArrayFunction:
    """Return a regularizer as a function of arrays."""
    name = getattr(regularizer, "function_name", type(regularizer).__name__)
    return vars(regularizer).setdefault(
        "_on_arrays", ArrayFunction(regularizer, f"The regularizer {name!r}", regularizer)
    )


def check_factor(name: str, value: Any) -> float:
    """Return ``value`` as a finite float of at least 0."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    if not number or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}.")
    return float(value)


class _Elementwise(Regularizer):
    """The sum of `term` over all weights. `slope` is the derivative of `term`."""

    l1 = 0.0
    l2 = 0.0

    @property
    def coefficients(self) -> tuple[float, float]:  # type: ignore[override]
        return self.l1, self.l2

    def term(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def slope(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        x = read_in_trace(x)
        penalty = sum_(self.term(_as_tensor(x)))
        return penalty if isinstance(x, Tensor) else penalty.numpy()

    def gradient(self, x: Any) -> Any:
        return self.slope(_as_tensor(x)).numpy()


def _as_tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    x = np.asarray(x)
    return convert(x, x.dtype if x.dtype.kind == "f" else np.float64)


class L1(_Elementwise):
    """``l1 * sum(|w|)``: drives weights to exactly zero.

    It is added to the loss once per batch, as in Keras. With plain SGD, each update moves every
    weight by learning_rate times l1 towards 0. The weights have any shape; the penalty is a scalar.

    Args:
        l1: the factor, at least 0.

    Raises:
        ValueError: for a factor that is negative or not finite.

    >>> import numpy as np
    >>> from gpunn.regularizers import L1
    >>> float(L1(0.5)(np.array([1.0, -2.0])))
    1.5
    """

    examples = ({"l1": 0.1},)

    l1: float = field(default=0.01, check=check_factor)

    def term(self, w: Tensor) -> Tensor:
        return self.l1 * ops.abs(w)

    def slope(self, w: Tensor) -> Tensor:
        return self.l1 * ops.sign(w)  # 0 at 0


class L2(_Elementwise):
    """``l2 * sum(w^2)``: keeps weights small.

    It is added to the loss once per batch, as in Keras; its derivative is ``2 l2 w``. Half a sum of
    squares, as in some books, is ``L2(factor / 2)``. The weights have any shape; the penalty is a
    scalar. Argument and errors: as for `L1`.

    >>> import numpy as np
    >>> from gpunn.regularizers import L2
    >>> float(L2(0.5)(np.array([1.0, -2.0])))
    2.5
    """

    functor = "SquarePenalty"
    parameter_names = ("l2",)
    examples = ({"l2": 0.1},)

    l2: float = field(default=0.01, check=check_factor)

    def term(self, w: Tensor) -> Tensor:
        return self.l2 * ops.square(w)

    def slope(self, w: Tensor) -> Tensor:
        twice_l2 = 2.0 * self.l2
        return twice_l2 * w


class L1L2(_Elementwise):
    """``l1 * sum(|w|) + l2 * sum(w^2)``. By name (``"l1l2"``) both are 0.01, as in Keras.

    The penalty of the elastic net (Zou and Hastie, 2005), the sum of `L1` and `L2`. The weights
    have any shape; the penalty is a scalar. Arguments and errors: as for these two.

    >>> import numpy as np
    >>> from gpunn.regularizers import L1L2
    >>> float(L1L2(l1=0.5, l2=0.25)(np.array([1.0, -2.0])))  # 0.5 * 3 + 0.25 * 5
    2.75
    """

    functor = "BothPenalties"
    parameter_names = ("l1", "l2")
    aliases = ("l1l2", "l1_l2")
    examples = ({"l1": 0.1, "l2": 0.2},)

    l1: float = field(default=0.0, check=check_factor)
    l2: float = field(default=0.0, check=check_factor)

    def term(self, w: Tensor) -> Tensor:
        return L1.term(self, w) + L2.term(self, w)  # type: ignore[arg-type]

    def slope(self, w: Tensor) -> Tensor:
        return L1.slope(self, w) + L2.slope(self, w)  # type: ignore[arg-type]


class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of ``|cosine|`` between two different rows (or columns) of a
    matrix.

    It is 0 if all rows are at right angles and ``factor`` if they are all parallel, whatever their
    lengths. The definition is Keras's.

    Args:
        factor: weight of the penalty, at least 0.
        mode: ``"rows"`` or ``"columns"``.

    Raises:
        ValueError: for a negative factor or another mode; when called, for weights that are not a
            matrix.

    >>> import numpy as np
    >>> from gpunn.regularizers import OrthogonalRegularizer
    >>> float(OrthogonalRegularizer(1.0)(np.array([[1.0, 0.0], [3.0, 3.0]])).round(4))  # cos 45
    0.7071
    """

    examples = ({"factor": 0.1}, {"factor": 0.2, "mode": "columns"})

    factor: float = field(default=0.01, check=check_factor)
    mode: str = field(default="rows", check=choice("rows", "columns"))

    penalty = _traced_penalty

    def __call__(self, x: Any) -> Any:
        x = read_in_trace(x)
        w = _as_tensor(x)
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer takes a matrix; got the shape {w.shape}.")
        w = w if self.mode == "rows" else ops.transpose(w)
        n = w.shape[0]
        unit = w / ops.sqrt(ops.maximum(ops.sum(ops.square(w), 1, keepdims=True), LEAST_NORM))
        cosines = ops.matmul(unit, ops.transpose(unit)) * (1.0 - ops.eye(n, dtype=w.dtype))
        share = self.factor / max(1, n * (n - 1))  # each pair appears twice
        penalty = share * ops.sum(ops.abs(cosines))
        return penalty if isinstance(x, Tensor) else penalty.numpy()


class FunctionRegularizer(OfOneFunction, Regularizer):
    """Penalty from a custom function of the weights as a tensor, written with `gpunn.ops`.

    `get` creates it. Files store the name under which it was registered, see
    `gpunn.saving.register_serializable`.

    Args:
        function: the function; it takes a tensor and returns a scalar.

    >>> from gpunn import ops
    >>> from gpunn.regularizers import get
    >>> float(get(lambda w: 0.5 * ops.sum(ops.square(w)))([1.0, 3.0]))
    5.0
    """

    _abstract = True
    reads = "weights"
    penalty = _traced_penalty

    def __call__(self, x: Any) -> Any:
        return self.function(x if isinstance(x, Tensor) else convert(x))


l1, l2, orthogonal_regularizer = L1, L2, OrthogonalRegularizer  # Keras's other names


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return `L1L2` with Keras's defaults for this name, both factors 0.01.

    Arguments and errors: as for `L1L2`.

    >>> from gpunn.regularizers import l1_l2
    >>> l1_l2()
    L1L2(l1=0.01, l2=0.01)
    """
    return L1L2(l1, l2)


_get, serialize, deserialize = lookups(Regularizer)


@described_as(_get)
def get(identifier: Any) -> Regularizer | None:
    if identifier is None:
        return None
    found = _get(identifier)
    return l1_l2() if isinstance(identifier, str) and type(found) is L1L2 else found
