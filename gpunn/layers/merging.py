"""Layers that make one array of several: sums, products, concatenation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gpunn.common.fields import field
from gpunn.ops.elementwise import counting, elementwise
from gpunn.ops.primitive import Gradients
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .layer import Layer
from .shapes import Shape

__all__ = [
    "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract",
    "add", "average", "concatenate", "maximum", "minimum", "multiply", "subtract",
]  # fmt: skip


class Merging(Layer):
    """Base class: a layer called on a list of inputs of one shape, element by element."""

    abstract = True
    refused: ClassVar[Mapping[str, str]] = {
        "_merge_function": "write call(xs), in terms of gpunn.ops"
    }
    takes_list = True
    may_add_losses = False
    least = 1
    most: int | None = None

    def check(self, xs: Sequence[Tensor]) -> None:
        """Refuse what is no list of tensors, too few or many, or those whose shapes do not fit."""
        if not isinstance(xs, (list, tuple)):
            raise ValueError(f"{self.name} takes a list of tensors; got {xs!r}.")
        for x in xs:
            if not isinstance(x, Tensor):
                raise TypeError(f"{self.name}: tensors and arrays cannot be mixed; got {x!r}.")
        if not self.least <= len(xs) <= (self.most or len(xs)):
            wanted = f"{self.least}" if self.most else f"{self.least} or more"
            raise ValueError(f"{self.name} takes a list of {wanted} inputs; got {len(xs)}.")
        self.check_shapes([x.shape for x in xs])

    def check_shapes(self, shapes: Sequence[Shape]) -> None:
        """Refuse inputs (batch, ...) of shapes that do not fit."""
        for i, shape in enumerate(shapes):
            if tuple(shape[1:]) != tuple(shapes[0][1:]):
                first, other = (None, *shapes[0][1:]), (None, *shape[1:])
                raise ValueError(
                    f"{self.name}: inputs of one shape are expected, nothing is broadcast; input "
                    f"0 has the shape {first}, input {i} {other}."
                )


class _InTurn(Merging):
    """y = an operation of two, done with one input after the other."""

    abstract = True
    reads_integers = True

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define both(a, b).")

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        self.check(xs)
        y = counting(xs[0])  # truth values count 0 and 1
        for x in xs[1:]:
            y = self.both(y, x)
        return y


class Add(_InTurn):
    """y = x1 + x2 + ... With what a layer was given, a residual connection: x + f(x).

    Every input gets the gradient of the output (He et al., 2016).

    >>> Add()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[11.0, 22.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Subtract(_InTurn):
    """y = x1 - x2.

    >>> Subtract()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[-9.0, -18.0]]
    """

    least = most = 2

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


class Average(Add):
    """y = (x1 + ... + xn) / n.

    >>> Average()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[2.0, 4.0]]
    """

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        return super().call(xs) * (1.0 / len(xs))


class Multiply(_InTurn):
    """y = x1 x2 ..., element by element; dxk = dy times the product of the others.

    >>> Multiply()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 12.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class Maximum(_InTurn):
    """y = the largest of the inputs, element by element; equal ones share the gradient.

    >>> Maximum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 9.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return _larger(a, b)


class Minimum(_InTurn):
    """y = the smallest of the inputs, element by element; equal ones share the gradient.

    >>> Minimum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[1.0, 6.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return _smaller(a, b)


def _larger_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    half = ops.where(a == b, dy * 0.5, 0.0)
    return ops.where(a > b, dy, half), ops.where(a < b, dy, half)


def _smaller_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    return tuple(reversed(_larger_gradient(dy, y, a, b)))


# As `ops.maximum` and `ops.minimum`, whose gradient is that of the first of two that are equal.
_larger = elementwise("maximum", _larger_gradient)
_smaller = elementwise("minimum", _smaller_gradient)


def _check_axis(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value == 0:
        raise ValueError(f"{name} must be an integer other than 0, the batch; got {value!r}.")
    return int(value)


class Concatenate(Merging):
    """y = the inputs one after the other along an axis.

    Args:
        axis: along which; not the batch axis, 0.

    >>> Concatenate()([[[1.0, 2.0]], [[3.0]]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    reads_integers = True
    examples = ({}, {"axis": 1})

    axis: int = field(default=-1, check=_check_axis)

    def _place(self, shape: Shape) -> int:
        axis = self.axis + (len(shape) if self.axis < 0 else 0)
        if not 1 <= axis < len(shape):
            raise ValueError(f"{self.name}: axis {self.axis} is none of the shape {tuple(shape)}.")
        return axis

    def check_shapes(self, shapes: Sequence[Shape]) -> None:
        first = (None, *shapes[0][1:])
        axis = self.axis + (len(first) if self.axis < 0 else 0)
        if not 1 <= axis < len(first):
            raise ValueError(f"{self.name}: axis {self.axis} is none of the shape {first}.")
        for i, shape in enumerate(shapes):
            alike = len(shape) == len(first) and all(
                n == m for k, (n, m) in enumerate(zip(shape, shapes[0], strict=True)) if k != axis
            )
            if not alike:
                raise ValueError(
                    f"{self.name}: inputs may differ in axis {axis} alone; input 0 has the shape "
                    f"{first}, input {i} {(None, *shape[1:])}."
                )

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        self.check(xs)
        return ops.concatenate(xs, self.axis)


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Add` of a list of tensors or arrays; keyword arguments are the layer's."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Subtract` of a list of two; keyword arguments are the layer's."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Multiply` of a list; keyword arguments are the layer's."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Average` of a list; keyword arguments are the layer's."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Maximum` of a list; keyword arguments are the layer's."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Minimum` of a list; keyword arguments are the layer's."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate` of a list along ``axis``; keyword arguments are the layer's."""
    return Concatenate(axis, **kwargs)(inputs)
