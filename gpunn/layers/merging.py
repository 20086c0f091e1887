"""Layers that make one array of several: sums, products, concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gpunn.backends.contract.backend import Array
from gpunn.common.fields import field
from gpunn.core.plan import Call
from gpunn.ops.table import ops

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
        "_merge_function": "write forward(call) and backward(call), with call.xs and call.dxs"
    }
    takes_list = True
    least = 1
    most: int | None = None

    def _count(self, shapes: Sequence[Shape]) -> None:
        if not self.least <= len(shapes) <= (self.most or len(shapes)):
            wanted = f"{self.least}" if self.most else f"{self.least} or more"
            raise ValueError(f"{self.name} takes a list of {wanted} inputs; got {len(shapes)}.")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        self._count(input_shape)
        for i, shape in enumerate(input_shape):
            if tuple(shape[1:]) != tuple(input_shape[0][1:]):
                raise ValueError(
                    f"{self.name}: inputs of one shape are expected, nothing is broadcast; input "
                    f"0 has the shape {tuple(input_shape[0])}, input {i} {tuple(shape)}."
                )
        return tuple(input_shape[0])


class _WeightedSum(Merging):
    """y = the sum of each input times its factor."""

    def factors(self, n: int) -> list[float]:
        """What each of n inputs is multiplied by."""
        raise TypeError(f"{type(self).__name__} must define factors(n).")

    def forward(self, call: Call) -> None:
        for k, (x, factor) in enumerate(zip(call.xs, self.factors(len(call.xs)), strict=True)):
            call.backend.affine(x, factor, 0.0, call.y, accumulate=k > 0)

    def backward(self, call: Call) -> None:
        factors = self.factors(len(call.xs))
        for dx, factor, accumulate in zip(call.dxs, factors, call.accumulate_dxs, strict=True):
            if dx is not None:
                call.backend.affine(call.dy, factor, 0.0, dx, accumulate=accumulate)


def _in_turn(name: str) -> Any:
    """`of_integers` of a layer that does an operation of two, one input after the other."""

    def of_integers(self: Any, xs: Sequence[Any]) -> Any:
        y = ops.add(xs[0], 0)  # truth values count 0 and 1
        for x in xs[1:]:
            y = getattr(ops, name)(y, x)
        return y

    return of_integers


class Add(_WeightedSum):
    """y = x1 + x2 + ... With what a layer was given, a residual connection: x + f(x).

    Every input gets the gradient of the output (He et al., 2016).

    >>> Add()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[11.0, 22.0]]
    """

    of_integers = _in_turn("add")

    def factors(self, n: int) -> list[float]:
        return [1.0] * n


class Subtract(_WeightedSum):
    """y = x1 - x2.

    >>> Subtract()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[-9.0, -18.0]]
    """

    least = most = 2
    of_integers = _in_turn("subtract")

    def factors(self, n: int) -> list[float]:
        return [1.0, -1.0]


class Average(_WeightedSum):
    """y = (x1 + ... + xn) / n.

    >>> Average()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[2.0, 4.0]]
    """

    def factors(self, n: int) -> list[float]:
        return [1.0 / n] * n


class Multiply(Merging):
    """y = x1 x2 ..., element by element; dxk = dy times the product of the others.

    >>> Multiply()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 12.0]]
    """

    of_integers = _in_turn("multiply")

    def forward(self, call: Call) -> None:
        _product(call, call.xs, call.y)

    def backward(self, call: Call) -> None:
        for k, (dx, accumulate) in enumerate(zip(call.dxs, call.accumulate_dxs, strict=True)):
            if dx is not None:
                _product(call, [*call.xs[:k], *call.xs[k + 1 :], call.dy], dx, accumulate)


def _product(call: Call, factors: Sequence[Array], out: Array, accumulate: bool = False) -> None:
    if len(factors) == 1:
        call.backend.affine(factors[0], 1.0, 0.0, out, accumulate=accumulate)
        return
    first = factors[0]
    for factor in factors[1:-1]:
        product = call.array("product", out.shape)
        call.backend.combine("Product", first, factor, product)
        first = product
    call.backend.combine("Product", first, factors[-1], out, accumulate=accumulate)


class _Extreme(Merging):
    """The largest or smallest; where several are, each gets an equal part of the gradient."""

    choice = ""

    def forward(self, call: Call) -> None:
        call.backend.affine(call.xs[0], 1.0, 0.0, call.y)
        for x in call.xs[1:]:
            call.backend.combine(self.choice, call.y, x, call.y)

    def backward(self, call: Call) -> None:
        combine, shape = call.backend.combine, call.y.shape
        same, count = call.array("same", shape), call.array("count", shape)
        for k, x in enumerate(call.xs):
            combine("Same", x, call.y, count, accumulate=k > 0)
        combine("Quotient", call.dy, count, call.dy)
        for x, dx, accumulate in zip(call.xs, call.dxs, call.accumulate_dxs, strict=True):
            if dx is not None:
                combine("Same", x, call.y, same)
                combine("Kept", call.dy, same, dx, accumulate=accumulate)


class Maximum(_Extreme):
    """y = the largest of the inputs, element by element.

    >>> Maximum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 9.0]]
    """

    choice = "Larger"
    of_integers = _in_turn("maximum")


class Minimum(_Extreme):
    """y = the smallest of the inputs, element by element.

    >>> Minimum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[1.0, 6.0]]
    """

    choice = "Smaller"
    of_integers = _in_turn("minimum")


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

    examples = ({}, {"axis": 1})

    axis: int = field(default=-1, check=_check_axis)

    def _place(self, shape: Shape) -> int:
        axis = self.axis + (len(shape) if self.axis < 0 else 0)
        if not 1 <= axis < len(shape):
            raise ValueError(f"{self.name}: axis {self.axis} is none of the shape {tuple(shape)}.")
        return axis

    def compute_output_shape(self, input_shape: Any) -> Shape:
        self._count(input_shape)
        first = tuple(input_shape[0])
        axis = self._place(first)
        for i, shape in enumerate(map(tuple, input_shape)):
            alike = len(shape) == len(first) and all(
                n == m
                for k, (n, m) in enumerate(zip(shape, first, strict=True))
                if k not in (0, axis)
            )
            if not alike:
                raise ValueError(
                    f"{self.name}: inputs may differ in axis {axis} alone; input 0 has the shape "
                    f"{first}, input {i} {shape}."
                )
        return (*first[:axis], sum(int(shape[axis]) for shape in input_shape), *first[axis + 1 :])

    def of_integers(self, xs: Sequence[Any]) -> Any:
        return ops.concatenate(xs, self.axis)

    def _columns(self, array: Array) -> Array:
        """As rows, each with what belongs to one place of the axes before."""
        axis = self._place(array.shape)
        return array.reshape(math.prod(array.shape[:axis]), -1)

    def forward(self, call: Call) -> None:
        y, at = self._columns(call.y), 0
        for x in map(self._columns, call.xs):
            call.backend.copy_columns(x, 0, y, at, x.shape[1])
            at += x.shape[1]

    def backward(self, call: Call) -> None:
        dy, at = self._columns(call.dy), 0
        for x, dx, accumulate in zip(call.xs, call.dxs, call.accumulate_dxs, strict=True):
            width = self._columns(x).shape[1]
            if dx is not None:
                call.backend.copy_columns(dy, at, self._columns(dx), 0, width, accumulate)
            at += width


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
