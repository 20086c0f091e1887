"""Layers that merge several arrays into one: sums, products, concatenation."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from gpunn.common.fields import field
from gpunn.common.parts import fill_in
from gpunn.ops.elementwise import counting, elementwise
from gpunn.ops.primitive import Gradients, broadcast_shape
from gpunn.ops.tensor import Tensor, ops

from .layer import Layer
from .shapes import Shape, without_batch_axis

__all__ = [
    "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract",
    "add", "average", "concatenate", "maximum", "minimum", "multiply", "subtract",
]


class Merging(Layer):
    """Base class of layers that take a list of inputs."""

    supports_masking = True
    _abstract = True
    _refused: ClassVar[Mapping[str, str]] = {
        "_merge_function": "write call(xs), in terms of gpunn.ops"
    }
    takes_list = True
    least = 1
    most: ClassVar[int | None] = None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where a step of any input counts; None unless all inputs have a mask.

        Raises:
            ValueError: for inputs or masks that are no lists, or for another number of masks.
        """
        self._check_masks(inputs, mask)
        if mask is None or any(m is None for m in mask):
            return None
        return functools.reduce(ops.logical_or, mask)

    def _check_masks(self, inputs: Any, mask: Any) -> None:
        if mask is None:
            return
        for name, given in (("`mask`", mask), ("`inputs`", inputs)):
            if not isinstance(given, (list, tuple)):
                kind = type(given).__name__
                raise ValueError(
                    f"{self.name}.compute_mask: {name} should be a list. Got {kind}."
                )
        if len(mask) != len(inputs):
            raise ValueError(
                f"{self.name}.compute_mask: `inputs` and `mask` should have the same length. Got "
                f"{len(inputs)} and {len(mask)}."
            )

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


class _InTurn(Merging):
    """y = an operation of two inputs, applied to one input after the other; samples broadcast."""

    _reads_integers = True

    def check_shapes(self, shapes: Sequence[Shape]) -> None:
        for i, shape in enumerate(shapes):
            try:
                broadcast_shape(*(without_batch_axis(s) for s in shapes[: i + 1]))
            except ValueError:
                first, other = (None, *shapes[0][1:]), (None, *shape[1:])
                raise ValueError(
                    f"{self.name}: the samples of all inputs must have the same shape, or shapes "
                    f"that broadcast to one; input 0 has the shape {first}, input {i} {other}."
                ) from None

    both: ClassVar[Any]
    """The operation."""

    def _aligned(self, xs: Sequence[Tensor]) -> list[Tensor]:
        """Return inputs with equally many axes, of which there is at least one."""
        self.check(xs)
        most = max(x.ndim for x in xs)  # axes of length 1 follow the batch axis of shorter ones
        xs = [ops.reshape(x, (len(x), *(1,) * (most - x.ndim), *x.shape[1:])) for x in xs]
        return [counting(xs[0]), *xs[1:]]  # booleans count as 0 and 1

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(self.both, self._aligned(xs))


class _InTurnWithMasks(_InTurn):
    """The same, where a masked step of one input leaves the other inputs as they are."""

    def call(self, xs: Sequence[Tensor], mask: Sequence[Any] | None = None) -> Tensor:
        if mask is None or all(m is None for m in mask):
            return super().call(xs)
        whole = self._aligned(xs)
        most = whole[0].ndim
        valid = [
            None if m is None else _along_steps(ops.cast(m, "bool"), x.ndim, most)
            for x, m in zip(xs, mask, strict=True)
        ]
        return self._merged(whole, valid)

    def _merged(self, xs: Sequence[Tensor], valid: Sequence[Any]) -> Tensor:
        """Return the result for aligned inputs, and where steps of each count: None, everywhere."""
        y, of_y = xs[0], valid[0]
        for x, of_x in zip(xs[1:], valid[1:], strict=True):
            x = x if of_x is None else ops.where(of_x, x, y)
            y = self.both(y if of_y is None else ops.where(of_y, y, x), x)
            of_y = None if of_x is None or of_y is None else ops.logical_or(of_y, of_x)
        return y


def _along_steps(mask: Tensor, ndim: int, most: int) -> Tensor:
    """Return the mask of an input of ``ndim`` axes, with the axes of the aligned input."""
    shape = mask.shape  # (batch, steps)
    before, after = (1,) * (most - ndim), (1,) * (ndim - len(shape))
    return ops.reshape(mask, (shape[0], *before, *shape[1:], *after))


class Add(_InTurn):
    """Add a list of inputs element by element: ``y = x1 + x2 + ...``

    With the input of a layer it makes a residual connection, ``x + f(x)``. Every input gets the
    gradient of the output. Source: He, Zhang, Ren and Sun, "Deep residual learning for image
    recognition", 2016.

    Shapes: a list of inputs ``(batch, ...)`` -> y of the shape that they broadcast to.

    Raises:
        ValueError: for inputs whose samples do not broadcast to one shape.

    >>> Add()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[11.0, 22.0]]
    """

    both = staticmethod(operator.add)


class Subtract(_InTurn):
    """Subtract the second of two inputs from the first, element by element: ``y = x1 - x2``.

    The inputs get the gradients ``dy`` and ``-dy``. Shapes and errors: as for `Add`.

    >>> Subtract()([[[1.0, 2.0]], [[10.0, 20.0]]]).tolist()
    [[-9.0, -18.0]]
    """

    least = most = 2

    both = staticmethod(operator.sub)


class Average(Add):
    """Average a list of n inputs element by element: ``y = (x1 + ... + xn) / n``.

    Each input gets the gradient ``dy / n``.

    Shapes and errors: as for `Add`.

    >>> Average()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[2.0, 4.0]]
    """

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        return super().call(xs) * (1.0 / len(xs))


class Multiply(_InTurnWithMasks):
    """Multiply a list of inputs element by element: ``y = x1 x2 ...``

    Each input gets the gradient dy times the product of the others. A step that the mask of an
    input hides counts as 1, and as 0 if it is hidden in all of them.

    Shapes and errors: as for `Add`.

    >>> Multiply()([[[1.0, 2.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 12.0]]
    """

    both = staticmethod(operator.mul)

    def _merged(self, xs: Sequence[Tensor], valid: Sequence[Any]) -> Tensor:
        given = zip(xs, valid, strict=True)
        y = functools.reduce(self.both, [x if v is None else ops.where(v, x, 1) for x, v in given])
        if any(v is None for v in valid):
            return y
        return ops.where(functools.reduce(ops.logical_or, valid), y, 0)


def _larger_gradient(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    half = ops.where(a == b, dy * 0.5, 0.0)
    return ops.where(a > b, dy, half), ops.where(a < b, dy, half)


class Maximum(_InTurnWithMasks):
    """Take the element-wise maximum of a list of inputs: ``y = max(x1, x2, ...)``.

    The largest input gets the gradient; two equal inputs get half of it each. A step
    that the mask of an input hides is left to the others.

    Shapes and errors: as for `Add`.

    >>> Maximum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[3.0, 9.0]]
    """

    # Unlike `ops.maximum`, which gives the gradient to the first of two equal inputs.
    both = staticmethod(elementwise("maximum", _larger_gradient))


class Minimum(_InTurnWithMasks):
    """Take the element-wise minimum of a list of inputs: ``y = min(x1, x2, ...)``.

    The smallest input gets the gradient; two equal inputs get half of it each. A step
    that the mask of an input hides is left to the others.

    Shapes and errors: as for `Add`.

    >>> Minimum()([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
    [[1.0, 6.0]]
    """

    both = staticmethod(
        elementwise("minimum", lambda *given: tuple(reversed(_larger_gradient(*given))))
    )


def _check_axis(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value == 0:
        raise ValueError(f"{name} must be an integer other than 0, the batch; got {value!r}.")
    return int(value)


class Concatenate(Merging):
    """Concatenate a list of inputs along one axis; the other axes must have equal lengths.

    Shapes, for the last axis: inputs ``(batch, ..., a)``, ``(batch, ..., b)``, ... -> y
    ``(batch, ..., a + b + ...)``.

    Args:
        axis: the axis, counted with the batch axis; not the batch axis itself, 0.

    Raises:
        ValueError: for axis 0, and for inputs that differ in another axis.

    >>> Concatenate()([[[1.0, 2.0]], [[3.0]]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    _reads_integers = True
    examples = ({}, {"axis": 1})

    axis: int = field(default=-1, check=_check_axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the masks one after the other, or along features, where any input counts; an
        input without a mask counts as a whole."""
        self._check_masks(inputs, mask)
        if mask is None or all(m is None for m in mask):
            return None
        whole = [
            ops.ones_like(x, dtype="bool")
            if m is None
            else ops.logical_or(ops.expand_dims(m, -1), ops.zeros_like(x, dtype="bool"))
            for x, m in zip(inputs, mask, strict=True)
        ]
        return ops.any(ops.concatenate(whole, self.axis), axis=-1)

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


class _Function(Protocol):
    def __call__(self, inputs: Sequence[Any], **kwargs: Any) -> Any: ...


def _function(layer: type[Merging], result: list[list[float]]) -> _Function:
    """Return a function that merges inputs with a new layer; ``result`` is its example's."""

    def merge(inputs: Sequence[Any], **kwargs: Any) -> Any:
        """{what}, with a new `{layer}` layer.

        Args:
            inputs: tensors, symbolic tensors or arrays (batch, ...) that broadcast.
            kwargs: arguments of the layer, such as ``name``.

        Returns:
            The result, a tensor of the shape that they broadcast to.

        >>> {name}([[[1.0, 9.0]], [[3.0, 6.0]]]).tolist()
        {result}
        """
        return layer(**kwargs)(inputs)

    name, what = layer.__name__.lower(), (layer.__doc__ or "").partition(":")[0]
    merge.__name__ = merge.__qualname__ = name
    words = {"what": what, "layer": layer.__name__, "name": name, "result": str(result)}
    fill_in(merge, words)
    return merge


add = _function(Add, [[4.0, 15.0]])
subtract = _function(Subtract, [[-2.0, 3.0]])
multiply = _function(Multiply, [[3.0, 54.0]])
average = _function(Average, [[2.0, 7.5]])
maximum = _function(Maximum, [[3.0, 9.0]])
minimum = _function(Minimum, [[1.0, 6.0]])


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Concatenate a list of inputs along one axis, with a new `Concatenate` layer.

    Args:
        inputs: tensors, symbolic tensors or arrays that differ only along ``axis``.
        axis: the axis, not the batch axis, 0.
        kwargs: arguments of the layer, such as ``name``.

    Returns:
        One tensor, whose length along ``axis`` is the sum of theirs.

    >>> concatenate([[[1.0, 2.0]], [[3.0]]]).tolist()
    [[1.0, 2.0, 3.0]]
    """
    return Concatenate(axis, **kwargs)(inputs)
