"""What an activation is: a forward pass, its gradient, a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.formula import Formula
from gpunn.common.functions import OfFunction
from gpunn.common.lookups import lookups
from gpunn.common.names import snake_case
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.primitive import Primitive, unknown_derivative
from gpunn.ops.running.functions import ArrayFunction
from gpunn.ops.tensor import Tensor

from .properties import Properties

__all__ = ["Activation", "deserialize", "get", "serialize"]


class Activation(Formula):
    """Base class. A subclass writes `forward` and `gradient`.

    Attributes:
        functor, parameter_names: see `Formula`; in ``kernels/formulas/activations.cuh``.
        saves: what `gradient` reads, the ``"output"`` or the ``"input"``.
        rowwise: True if an element depends on its whole row, as in softmax.
        zero_gradient: True if the derivative is 0 everywhere, so that nothing before it
            can be trained by its gradient.
    """

    kind = "activation"
    made_anew = True
    _not_watched = frozenset({"_on_arrays"})
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("call", "__call__"),
        "write a function of tensors, in terms of gpunn.ops, or forward(backend, x, out) and "
        "gradient(backend, saved, dy, out), its derivative",
    )
    saves = "output"
    rowwise = False
    zero_gradient = False

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        """out = f(x); ``out`` may be ``x``."""
        raise TypeError(f"{type(self).__name__} must define forward(backend, x, out).")

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        """out = dy * f'; ``out`` may be ``dy``."""
        raise TypeError(f"{type(self).__name__} must define gradient(backend, saved, dy, out).")

    @property
    def properties(self) -> Properties | None:
        """What is true of the curve; None if that is not declared."""
        return None

    @property
    def __name__(self) -> str:
        return snake_case(self.__class__.__qualname__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self))

    __repr__ = registry.call_text

    def on_tensor(self, x: Tensor) -> Tensor:
        """f(x), with its derivative, as an operation of `gpunn.ops`."""
        return _applied(convert(x, floating(x.dtype)), formula=self)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """f(x), a new NumPy array; of a tensor a tensor. Further arguments as for the class."""
        if args or kwargs:
            return type(self)(*args, **kwargs)(x)
        if isinstance(x, Tensor):
            return self.on_tensor(x)
        x = host_array(x)
        if self.rowwise and x.ndim == 0:
            raise ValueError(f"{self.__name__} needs at least one axis; x is a single number.")
        out = np.empty(x.shape, x.dtype)
        with np.errstate(all="ignore"):  # what overflows becomes infinite, its limit
            self.forward(get_backend("numpy"), x, out)
        return out


def _apply(backend: Backend, out: Array, x: Array, formula: Activation) -> None:
    backend.bias_activation(x, None, formula, out)


def _apply_gradient(
    backend: Backend, out: Array, dy: Array, saved: Array, formula: Activation
) -> None:
    backend.activation_gradient(formula, saved, dy, out)


def _gradient_of(dy: Tensor, y: Tensor, x: Tensor, formula: Activation) -> list[Tensor]:
    return [_applied_gradient(dy, x if formula.saves == "input" else y, formula=formula)]


_applied = Primitive("activation", _apply, lambda x, formula: x, lambda x, formula: x, _gradient_of)
_applied_gradient = Primitive(
    "activation's gradient",
    _apply_gradient,
    lambda dy, saved, formula: dy,
    lambda dy, saved, formula: dy,
    unknown_derivative(lambda formula: formula.__name__),
)


class FunctionActivation(OfFunction, Activation):
    """A function of yours as an activation: of a tensor (batch, ...), in terms of `gpunn.ops`.

    `get` makes one. A file holds it by the name it was registered under, see
    `gpunn.saving.register_serializable`.

    >>> from gpunn import activations, ops
    >>> swish = activations.get(lambda x: x * ops.sigmoid(x))
    >>> print(swish([0.0, 1.0]).round(3))
    [0.    0.731]
    """

    abstract = True
    has_call = True
    saves = "input"

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"function must be a function of a tensor; got {function!r}.")
        self.function = function
        self._on_arrays = ArrayFunction(self.on_tensor, f"The activation {self.__name__!r}", self)

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        self._on_arrays.forward(backend, [x], out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        self._on_arrays.gradient(backend, [saved], dy, out)

    def on_tensor(self, x: Tensor) -> Tensor:
        return self.function(x)

    @property
    def __name__(self) -> str:
        return self.function_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionActivation) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        given = x if isinstance(x, Tensor) else convert(host_array(x), host_array(x).dtype)
        found = self.function(given, *args, **kwargs)
        return found if isinstance(x, Tensor) else convert(found).numpy()


_get, serialize, deserialize = lookups(Activation)


def get(identifier: Any) -> Activation:
    """The activation for a name, an object, a class, a function, a config or None (linear).

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.

    >>> from gpunn import activations
    >>> activations.get("relu") == activations.relu, activations.get(None) == activations.linear
    (True, True)
    """
    return _get("linear" if identifier is None else identifier)
