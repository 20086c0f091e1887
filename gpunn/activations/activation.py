"""What an activation is: a forward pass, its gradient, a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.formula import Formula
from gpunn.common.names import snake_case

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
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("call", "__call__"),
        "write forward(backend, x, out) and gradient(backend, saved, dy, out), its derivative",
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

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """f(x) as a new NumPy array; further arguments as for the class."""
        if args or kwargs:
            return type(self)(*args, **kwargs)(x)
        x = host_array(x)
        if self.rowwise and x.ndim == 0:
            raise ValueError(f"{self.__name__} needs at least one axis; x is a single number.")
        out = np.empty(x.shape, x.dtype)
        with np.errstate(all="ignore"):  # what overflows becomes infinite, its limit
            self.forward(get_backend("numpy"), x, out)
        return out


_get, serialize, deserialize = registry.lookups(Activation)


def get(identifier: Any) -> Activation:
    """The activation for a name, an object, a class, a config dictionary or None (linear).

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.
        TypeError: for a bare function, which has no gradient.

    >>> from gpunn import activations
    >>> activations.get("relu") == activations.relu, activations.get(None) == activations.linear
    (True, True)
    """
    if callable(identifier) and not isinstance(identifier, (type, Activation)):
        raise TypeError(
            f"activation is a bare function ({getattr(identifier, '__name__', identifier)!r}): "
            f"its gradient is not known. Write a subclass of gpunn.activations.Activation with "
            f"forward(backend, x, out) and gradient(backend, saved, dy, out)."
        )
    return _get("linear" if identifier is None else identifier)
