"""Shapes of inputs and outputs of layers, with and without the batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Shape = tuple[int | None, ...]
"""With the batch axis first; None for any length, as in Keras."""


class IntegerSample(tuple[int, ...]):
    """The shape of one sample of integers or booleans. That of floats is a plain tuple.

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
    """Return the shape of one sample of this dtype; None and float dtypes mean the model's dtype.

    >>> sample_of([3], "float32"), type(sample_of([3], "bool")).__name__
    ((3,), 'IntegerSample')
    """
    return IntegerSample(shape, dtype) if dtype in ("int32", "bool") else tuple(shape)


def dtype_of(sample: Sequence[int]) -> str | None:
    """Return ``"int32"`` or ``"bool"`` for samples of these; None for the model's floats."""
    return sample.dtype if isinstance(sample, IntegerSample) else None


class Rows(NamedTuple):
    """Layout of several outputs of one sample in the output of a node, one after the other: floats
    in it, and integers beside it, or in it if there are only integers.

    Attributes:
        shape, dtype: of one sample of the node's output; a single output keeps its own.
        integers: how many integers are beside it.
        places: for each output, where it begins, and whether it is beside the node's output.
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
    """Apply a function to one shape, or to several in lists, tuples and dictionaries; other values
    are kept.

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
    """Return a shape of one sample, or several of them, as tuples of int."""
    return each_shape(lambda sample: tuple(int(n) for n in sample), shape)


def with_batch_axis(shape: Any) -> Any:
    """Return the shapes with the batch axis, None, in front."""
    return each_shape(lambda sample: (None, *sample), shape)


def without_batch_axis(shape: Any) -> Any:
    """Return the shapes without the first axis, of one sample."""
    return each_shape(lambda whole: tuple(int(n) for n in whole[1:] if n is not None), shape)


def check_spec(layer: Any, samples: Sequence[Any], floats: str) -> None:
    """Raise an error if inputs with these shapes of one sample are not what a layer's
    ``input_spec`` expects; see `InputSpec`. ``floats``: the dtype of those that are floats."""
    given = layer.input_spec
    if given is None:
        return
    given = list(given.values()) if isinstance(given, dict) else given
    specs = given if isinstance(given, (list, tuple)) else [given]
    if len(specs) != len(samples):
        raise ValueError(f"{layer.name}: {len(specs)} inputs are expected; got {len(samples)}.")
    for k, (spec, sample) in enumerate(zip(specs, samples, strict=True)):
        shape = (None, *sample)
        wanted = spec and spec.expected(shape, dtype_of(sample) or floats)
        if wanted:
            which = "inputs" if len(specs) == 1 else f"as input {k}, tensors"
            raise ValueError(f"{layer.name}: {which} of {wanted} are expected; got shape {shape}.")


def check_shape(shape: Any, argument: str = "input_shape") -> tuple[int, ...]:
    """Return a shape of one sample as a tuple of positive integers."""
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
