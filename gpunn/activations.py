"""Activation functions: forward and gradient side by side.

Each is an object that is called on an array (``relu(x)``) and registers itself:
``Dense(16, activation="relu")`` finds it by name. The formulas are written with
``backend.xp``; where ``functor`` names a C++ functor of ``kernels/activations.cuh``,
the card runs that one, fused with the addition of the bias.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from . import registry
from .backends import get_backend, host_array
from .backends.base import Array, Backend

SMALL = 4096  # elements: of fewer, to convert truth values takes longer than to find signs


class Activation(registry.Entry):
    """Base class. A subclass writes `forward` and `gradient`.

    Attributes:
        functor: name of the functor in ``kernels/activations.cuh``, or None.
        saves: what `gradient` reads, the ``"output"`` or the ``"input"``.
        rowwise: True if an element depends on its whole row, as in softmax.
        parameters: numbers that the functor takes.
    """

    kind = "activation"
    functor: str | None = None
    saves = "output"
    rowwise = False
    parameters: tuple[float, ...] = ()

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        """out = f(x); ``out`` may be ``x``."""
        raise TypeError(f"{type(self).__name__} must define forward(backend, x, out).")

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        """out = dy * f'; ``out`` may be ``dy``."""
        raise TypeError(f"{type(self).__name__} must define gradient(backend, saved, dy, out).")

    @property
    def __name__(self) -> str:
        return registry.snake_case(self.__class__.__qualname__)

    def get_config(self) -> dict[str, Any]:
        names = [p for p in inspect.signature(type(self)).parameters]
        return {name: getattr(self, name) for name in names}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """f(x) as a new NumPy array; further arguments as for the class."""
        if args or kwargs:
            return type(self)(*args, **kwargs)(x)
        x = host_array(x)
        out = np.empty(x.shape, x.dtype)
        self.forward(get_backend("numpy"), x, out)
        return out


class Linear(Activation):
    """f(x) = x.

    >>> linear([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """

    functor = "Linear"

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        if out is not x:
            backend.xp.copyto(out, x)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        if out is not dy:
            backend.xp.copyto(out, dy)


class Sigmoid(Activation):
    """f(x) = 1 / (1 + exp(-x)), f' = f (1 - f).

    >>> sigmoid([0.0, 1e4, -1e4]).round(9).tolist()
    [0.5, 1.0, 0.0]
    """

    functor = "Sigmoid"

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        # exp of more overflows, or its reciprocal is subnormal, which is slow.
        largest = 87.0 if x.dtype.itemsize == 4 else 708.0
        xp.negative(x, out=out)
        xp.minimum(out, largest, out=out)
        xp.exp(out, out=out)
        xp.add(out, 1.0, out=out)
        xp.reciprocal(out, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.subtract(1.0, saved, out=slope)
        xp.multiply(slope, saved, out=slope)
        xp.multiply(dy, slope, out=out)


class Tanh(Activation):
    """f(x) = tanh(x), f' = 1 - f^2.

    >>> tanh([0.0, 1e4]).tolist()
    [0.0, 1.0]
    """

    functor = "Tanh"

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        backend.xp.tanh(x, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        slope = backend.scratch(saved.shape, saved.dtype, "slope")
        xp.multiply(saved, saved, out=slope)
        xp.subtract(1.0, slope, out=slope)
        xp.multiply(dy, slope, out=out)


class Relu(Activation):
    """f(x) = max(x, 0); its derivative at 0 is taken as 0.

    Args:
        negative_slope: slope below ``threshold``.
        max_value: the largest output; None for no limit.
        threshold: where the slope changes from ``negative_slope`` to 1: below it
            f(x) = negative_slope * (x - threshold).

    >>> relu([-2.0, 0.0, 3.0]).tolist()
    [0.0, 0.0, 3.0]
    >>> relu([-2.0, 9.0], negative_slope=0.5, max_value=6).tolist()
    [-1.0, 6.0]
    """

    aliases = ("ReLU",)

    def __init__(
        self,
        negative_slope: float = 0.0,
        max_value: float | None = None,
        threshold: float = 0.0,
    ) -> None:
        for name, value in (("negative_slope", negative_slope), ("max_value", max_value)):
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0; got {value!r}.")
        self.negative_slope = negative_slope
        self.max_value = max_value
        self.threshold = threshold
        self.plain = negative_slope == 0 and max_value is None and threshold == 0
        self.functor = "Relu" if self.plain else None
        self.saves = "output" if self.plain else "input"

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        if self.plain:
            xp.maximum(x, 0.0, out=out)
            return
        y = xp.where(x > self.threshold, x, self.negative_slope * (x - self.threshold))
        xp.copyto(out, y if self.max_value is None else xp.minimum(y, self.max_value))

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        if self.plain:
            if saved.size <= SMALL:
                slope = backend.scratch(saved.shape, saved.dtype, "slope")
                xp.sign(saved, out=slope)  # of an output, which is not negative
            else:  # a sign is found one by one
                slope = backend.scratch(saved.shape, bool, "positive")
                xp.greater(saved, 0.0, out=slope)
            xp.multiply(dy, slope, out=out)
            return
        slope = xp.where(saved > self.threshold, 1.0, self.negative_slope)
        if self.max_value is not None:
            slope = xp.where(saved >= self.max_value, 0.0, slope)
        xp.multiply(dy, slope.astype(dy.dtype), out=out)


class Softmax(Activation):
    """f(x)_i = exp(x_i) / sum_j exp(x_j), along the last axis.

    The largest x of the row is subtracted first, so that nothing overflows. With
    dy the gradient of the output y: dx = y (dy - sum_j dy_j y_j).

    Args:
        axis: the axis of the sum, or several. Layers take -1 only.

    >>> softmax([[1e4, 1e4]]).tolist()
    [[0.5, 0.5]]
    """

    functor = "Softmax"
    rowwise = True

    def __init__(self, axis: int | tuple[int, ...] = -1) -> None:
        self.axis = axis

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        if args or kwargs:
            return type(self)(*args, **kwargs)(x)
        x = host_array(x)
        if x.ndim == 0:
            raise ValueError("softmax needs at least one axis; x is a single number.")
        axes = self.axis if isinstance(self.axis, (tuple, list)) else (self.axis,)
        last = tuple(range(x.ndim - len(axes), x.ndim))
        moved = np.moveaxis(x, axes, last)
        rows = np.ascontiguousarray(moved).reshape(*moved.shape[: -len(axes)], -1)
        out = np.empty_like(rows)
        self.forward(get_backend("numpy"), rows, out)
        return np.ascontiguousarray(np.moveaxis(out.reshape(moved.shape), last, axes))

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        xp = backend.xp
        row = backend.scratch((*x.shape[:-1], 1), x.dtype, "row")
        backend.row_max(x, row)
        xp.subtract(x, row, out=out)
        xp.exp(out, out=out)
        backend.row_sums(out, row)
        xp.divide(out, row, out=out)

    def gradient(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        xp = backend.xp
        product = backend.scratch(saved.shape, saved.dtype, "product")
        row = backend.scratch((*saved.shape[:-1], 1), saved.dtype, "row")
        xp.multiply(dy, saved, out=product)
        backend.row_sums(product, row)
        xp.subtract(dy, row, out=out)
        xp.multiply(out, saved, out=out)


linear = Linear()
sigmoid = Sigmoid()
tanh = Tanh()
relu = Relu()
softmax = Softmax()


def get(identifier: Any) -> Activation:
    """The activation for a name, an object, a config dictionary or None (linear).

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.
        TypeError: for a bare function, which has no gradient.

    >>> get("relu") == relu, get(None) == linear
    (True, True)
    """
    if identifier is None:
        return linear
    if callable(identifier) and not isinstance(identifier, (type, Activation)):
        raise TypeError(
            f"activation is a bare function ({getattr(identifier, '__name__', identifier)!r}): "
            f"its gradient is not known. Write a subclass of gpunn.activations.Activation with "
            f"forward(backend, x, out) and gradient(backend, saved, dy, out)."
        )
    return registry.get("activation", identifier)


def serialize(activation: Activation) -> dict[str, Any] | None:
    """The activation as a dictionary that `get` takes."""
    return registry.serialize(activation)


def deserialize(config: dict[str, Any]) -> Activation:
    """The activation that `serialize` described."""
    return registry.deserialize(config, "activation")
