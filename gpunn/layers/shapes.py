"""Shapes of what layers read and give, with and without the batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Shape = tuple[int | None, ...]
"""With the batch axis first, None where it may be any number, as in Keras."""


class IntegerSample(tuple[int, ...]):
    """The shape of one sample of integers or truth values. That of floats is a plain tuple.

    Attributes:
        dtype: ``"int32"`` or ``"bool"``.

    >>> IntegerSample((2, 3), "int32") == (2, 3), dtype_of(IntegerSample((2,), "bool"))
    (True, 'bool')
    """

    dtype: str

    def __new__(cls, shape: Sequence[int], dtype: str) -> IntegerSample:
        made = super().__new__(cls, shape)
        made.dtype = dtype
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return IntegerSample, (tuple(self), self.dtype)


def sample_of(shape: Sequence[int], dtype: str | None) -> tuple[int, ...]:
    """The shape of one sample of this dtype; None, and any dtype of floats, is that of the model.

    >>> sample_of([3], "float32"), type(sample_of([3], "bool")).__name__
    ((3,), 'IntegerSample')
    """
    return IntegerSample(shape, dtype) if dtype in ("int32", "bool") else tuple(shape)


def dtype_of(sample: Sequence[int]) -> str | None:
    """``"int32"`` or ``"bool"`` for samples of these; None for those of the model's floats."""
    return sample.dtype if isinstance(sample, IntegerSample) else None


class Rows(NamedTuple):
    """How the outputs of one sample lie in that of a node, one behind the other: floats in it, and
    integers beside them, or in it where there is nothing else.

    Attributes:
        shape, dtype: of one sample of the node's output; that of the only output as it is.
        integers: how many lie beside it.
        places: of each output, where it begins, and whether among those beside.
    """

    shape: tuple[int, ...]
    dtype: str | None
    integers: int
    places: list[tuple[int, bool]]

    @classmethod
    def of(cls, outputs: Sequence[tuple[int, ...]]) -> Rows:
        """
        >>> Rows.of([(2, 3), sample_of((4,), "int32"), (5,)])
        Rows(shape=(11,), dtype=None, integers=4, places=[(0, False), (0, True), (6, False)])
        """
        if len(outputs) == 1:
            return cls(tuple(outputs[0]), dtype_of(outputs[0]), 0, [(0, False)])
        floats = [shape for shape in outputs if dtype_of(shape) is None]
        ends, places = {False: 0, True: 0}, []
        for shape in outputs:
            beside = bool(floats) and dtype_of(shape) is not None
            places.append((ends[beside], beside))
            ends[beside] += math.prod(shape)
        return cls((ends[False],), None if floats else "int32", ends[True], places)


def is_shape(x: Any) -> bool:
    """Whether ``x`` is one shape, not a list, tuple or dictionary of several."""
    return isinstance(x, (list, tuple)) and not any(isinstance(n, (list, tuple, dict)) for n in x)


def each_shape(function: Callable[[Any], Any], shapes: Any) -> Any:
    """One shape, or several in lists, tuples and dictionaries, through a function; what is no
    shape among them stays.

    >>> each_shape(len, [(2, 3), {"a": (4,)}])
    [2, {'a': 1}]
    """
    if isinstance(shapes, dict):
        return {key: each_shape(function, entry) for key, entry in shapes.items()}
    if is_shape(shapes):
        return function(shapes)
    if not isinstance(shapes, (list, tuple)):
        return shapes
    return type(shapes)(each_shape(function, entry) for entry in shapes)


def whole_shape(shape: Any) -> Any:
    """A shape of one sample, or several of them, as tuples of int."""
    return each_shape(lambda sample: tuple(int(n) for n in sample), shape)


def with_batch_axis(shape: Any) -> Any:
    """The same with the batch axis, None, in front."""
    return each_shape(lambda sample: (None, *sample), shape)


def without_batch_axis(shape: Any) -> Any:
    """The same without the first axis, of one sample."""
    return each_shape(lambda whole: tuple(int(n) for n in whole[1:] if n is not None), shape)


def check_shape(shape: Any, argument: str = "input_shape") -> tuple[int, ...]:
    """A shape of one sample as a tuple of positive integers."""
    try:
        result = tuple(int(n) for n in (shape if isinstance(shape, Sequence) else (shape,)))
        ok = all(n > 0 and n == m for n, m in zip(result, shape, strict=False))
    except (TypeError, ValueError):
        ok = False
    if not ok:
        raise ValueError(
            f"{argument} must be the shape of one sample, positive integers; got {shape!r}."
        )
    return result
