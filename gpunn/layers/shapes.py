"""Shapes of what layers read and give, with and without the batch axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Shape = tuple[int | None, ...]
"""With the batch axis first, None where it may be any number, as in Keras."""


def whole_shape(shape: Any) -> Any:
    """A shape of one sample, or a list of such, as tuples of int."""
    if isinstance(shape, list) and any(isinstance(entry, (tuple, list)) for entry in shape):
        return [whole_shape(tuple(entry)) for entry in shape]
    return tuple(int(n) for n in shape)


def with_batch_axis(shape: Any) -> Any:
    """The same with the batch axis, None, in front."""
    return [(None, *s) for s in shape] if isinstance(shape, list) else (None, *shape)


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
