"""Shapes of what layers read and give, with and without the batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Shape = tuple[int | None, ...]
"""With the batch axis first, None where it may be any number, as in Keras."""


def is_shape(x: Any) -> bool:
    """Whether ``x`` is one shape, not a list, tuple or dictionary of several."""
    return isinstance(x, (list, tuple)) and not any(isinstance(n, (list, tuple, dict)) for n in x)


def each_shape(function: Callable[[Any], Any], shapes: Any) -> Any:
    """One shape, or several in lists, tuples and dictionaries, through a function.

    >>> each_shape(len, [(2, 3), {"a": (4,)}])
    [2, {'a': 1}]
    """
    if isinstance(shapes, dict):
        return {key: each_shape(function, entry) for key, entry in shapes.items()}
    if is_shape(shapes):
        return function(shapes)
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
