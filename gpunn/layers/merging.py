"""Layers that merge several arrays into one: sums, products, concatenation."""

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
    """Base class of element-wise layers that take a list of inputs of one shape."""

    abstract = True
    _refused: ClassVar[Mapping[str, str]] = {
        "_merge_function": "write call(xs), in terms of gpunn.ops"
    }
    takes_list = True
    may_add_losses = False
    least = 1
    most: int | None = None

    def check(self, xs: Sequence[Tensor]) -> None:
        """Raise an error unless ``xs`` is a list of tensors of fitting number and shapes."""
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
        """Raise an error for inputs (batch, ...) whose shapes do not fit."""
        for i, shape in enumerate(shapes):
            if tuple(shape[1:]) != tuple(shapes[0][1:]):
                first, other = (None, *shapes[0][1:]), (None, *shape[1:])
                raise ValueError(
                    f"{self.name}: all inputs must have the same shape, without broadcasting; "
                    f"input 0 has the shape {first}, input {i} {other}."
                )


class _InTurn(Merging):
    """y = an operation of two inputs, applied to one input after the other."""

    abstract = True
    reads_integers = True

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define both(a, b).")

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        self.check(xs)
        y = counting(xs[0])  # booleans count as 0 and 1
        for x in xs[1:]:
            y = self.both(y, x)
        return y


class Add(_InTurn):
    """y = x1 + x2 + ... With the input of a layer, a residual connection: x + f(x).

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
    """y = x1 x2 ..., element-wise; dxk = dy times the product of the others.

    >>> Multiply()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 12.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class Maximum(_InTurn):
    """y = the element-wise maximum of the inputs; equal inputs share the gradient.

    >>> Maximum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 9.0]]
    """

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return _larger(a, b)


class Minimum(_InTurn):
    """y = the element-wise minimum of the inputs; equal inputs share the gradient.

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


# Like `ops.maximum` and `ops.minimum`, which give the gradient to the first of two equal inputs.
_larger = elementwise("maximum", _larger_gradient)
_smaller = elementwise("minimum", _smaller_gradient)


def _check_axis(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value == 0:
        raise ValueError(f"{name} must be an integer other than 0, the batch; got {value!r}.")
    return int(value)


class Concatenate(Merging):
    """y = the inputs concatenated along an axis.

    Args:
        axis: the axis; not the batch axis, 0.

    >>> Concatenate()([[[1.0, 2.0]], [[3.0]]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    reads_integers = True
    examples = ({}, {"axis": 1})

    axis: int = field(default=-1, check=_check_axis)

    def check_shapes(self, shapes: Sequence[Shape]) -> None:
        first = (None, *shapes[0][1:])
        axis = self.axis + (len(first) if self.axis < 0 else 0)
        if not 1 <= axis < len(first):
            raise ValueError(f"{self.name}: axis {self.axis} does not fit shape {first}.")
        for i, shape in enumerate(shapes):
            alike = len(shape) == len(first) and all(
                n == m for k, (n, m) in enumerate(zip(shape, shapes[0], strict=True)) if k != axis
            )
            if not alike:
                raise ValueError(
                    f"{self.name}: inputs may differ only in axis {axis}; input 0 has the shape "
                    f"{first}, input {i} {(None, *shape[1:])}."
                )

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        self.check(xs)
        return ops.concatenate(xs, self.axis)


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Add` to a list of tensors or arrays; keyword arguments go to the layer."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Subtract` to a list of two; keyword arguments go to the layer."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Multiply` to a list; keyword arguments go to the layer."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Average` to a list; keyword arguments go to the layer."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Maximum` to a list; keyword arguments go to the layer."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Apply `Minimum` to a list; keyword arguments go to the layer."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Apply `Concatenate` to a list along ``axis``; keyword arguments go to the layer."""
    return Concatenate(axis, **kwargs)(inputs)
